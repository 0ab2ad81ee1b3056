"""Peak memory of the cases that could need much of it: one huge transaction, and thousands of tables."""
import shutil
from pathlib import Path

import following
from prepared import Prepared
from processes import peak_resident
from tailrace import Tailrace
from workloads import ROW, TABLE, Workload


def huge_transaction(server, directory, rows):
    """One transaction of so many rows is followed."""
    workload = Workload("huge", "inserts in one transaction", rows, TABLE,
                        f"INSERT INTO events SELECT {ROW} FROM generate_series(1, {rows}) g")
    with Prepared(server, workload, directory) as prepared:
        return following.measure(prepared)


def many_tables(server, directory, tables, at_once):
    """Peak resident bytes of copying so many tables and then changing each: one a transaction, or all at once."""
    database = "bench_tables"
    home = Path(directory) / "tables"
    home.mkdir()
    server.create_database(database)
    try:
        # In parts: one transaction cannot hold the locks of so many new tables.
        for first in range(1, tables + 1, 100):
            server.execute(
                f"DO $$ BEGIN FOR i IN {first} .. {min(first + 99, tables)} LOOP"
                " EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, name text, at timestamptz)', i);"
                " EXECUTE format('INSERT INTO t%s SELECT g, ''name '' || g, now()"
                " FROM generate_series(1, 100) g', i);"
                " END LOOP; END $$", database)
        with Tailrace(server.url(database), home, database) as mirror:
            mirror.wait_streaming(timeout=900)
            commit = "" if at_once else "COMMIT;"
            server.execute(f"DO $$ BEGIN FOR i IN 1 .. {tables} LOOP"
                           f" EXECUTE format('UPDATE t%s SET name = ''new'' WHERE id <= 10', i); {commit}"
                           " END LOOP; END $$", database)
            mirror.wait_caught_up(server, timeout=900)
            resident = peak_resident(mirror.process.pid)
            mirror.stop(timeout=120)
        return resident
    finally:
        server.drop_database(database)
        shutil.rmtree(home)
