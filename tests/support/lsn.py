"""LSNs as PostgreSQL writes them, as numbers that compare."""


def lsn(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)
