"""LSNs as PostgreSQL writes them, as numbers that compare."""


def lsn(text):
    """None, a position that is not known yet, comes before all others."""
    if text is None:
        return 0
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)
