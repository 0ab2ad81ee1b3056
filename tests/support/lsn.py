"""LSNs as PostgreSQL writes them, as numbers that compare."""


def lsn(text):
    """None, a position that is not known yet, comes before all others."""
    if text is None:
        return 0
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


PAGE, SEGMENT = 8192, 16 << 20


def end_of_record(position):
    """pg_current_wal_insert_lsn() is where the next record goes: behind a page's header, which nothing reaches until
    it is written, if the last one filled its page."""
    if position % SEGMENT == 40:
        return position - 40
    return position - 24 if position % PAGE == 24 else position


def fill_page(connection, most=60):
    """Writes WAL until the last record ends with its page. Somebody else may write meanwhile."""
    def next_record():
        return lsn(connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()[0])

    def write(size):
        connection.execute("SELECT pg_logical_emit_message(false, 'x', repeat('x', %s::int))", [size])

    overhead = None
    for _ in range(most):
        at = next_record()
        room = PAGE - at % PAGE
        if end_of_record(at) != at:
            return
        # The data of a record has a longer header from 256 bytes on.
        if overhead is None or not 400 < room < 7000:
            write(1000)
            written = next_record() - at
            overhead = written - 1000 if written < 1500 and room > 1200 else overhead
            continue
        write(room - overhead)
    raise AssertionError("no record ended with its page")
