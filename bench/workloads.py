"""The backlogs that are read: what is in the tables before, and what happens to them then."""
import subprocess
from dataclasses import dataclass

from server import program

TABLE = """CREATE TABLE events (
    id bigint PRIMARY KEY, number int, name text, at timestamptz, amount numeric(12, 2))"""
ROW = """g, (g % 1000)::int, 'name of event ' || lpad(g::text, 9, '0'),
         '2026-01-01 00:00:00+00'::timestamptz + g * interval '1 second', (g % 1000000) / 100.0"""

INSERTS = """DO $$ BEGIN
    FOR i IN 0 .. {count} / {size} - 1 LOOP
        INSERT INTO events SELECT {row} FROM generate_series(i * {size} + 1, (i + 1) * {size}) g;
        COMMIT;
    END LOOP; END $$"""
# 611953 is prime to the table's size: every row at most once, and in no order.
UPDATES = """DO $$ BEGIN
    FOR i IN 0 .. {count} / 100 - 1 LOOP
        UPDATE events SET number = number + 1, at = at + interval '1 hour', amount = amount + 1
        FROM generate_series(i * 100 + 1, (i + 1) * 100) g WHERE id = g * 611953::bigint % {rows} + 1;
        COMMIT;
    END LOOP; END $$"""
DELETES = """DO $$ BEGIN
    FOR i IN 0 .. {count} / 100 - 1 LOOP
        DELETE FROM events USING generate_series(i * 100 + 1, (i + 1) * 100) g WHERE id = 2 * g;
        COMMIT;
    END LOOP; END $$"""
WIDE = """DO $$ BEGIN
    FOR i IN 0 .. {count} / 100 - 1 LOOP
        INSERT INTO wide
        SELECT g, (SELECT string_agg(md5((g * 1000 + k)::text), '') FROM generate_series(1, 250) k)
        FROM generate_series(i * 100 + 1, (i + 1) * 100) g;
        COMMIT;
    END LOOP; END $$"""
# 2 kB of jsonb that stay in the row, 8 kB of text beside it that no compression makes smaller.
DOCUMENTS = """CREATE TABLE documents (id bigint PRIMARY KEY, number int, attributes jsonb, body text)"""
DOCUMENT = """g, 0, (SELECT jsonb_object_agg('key' || k, md5((g * 100 + k)::text)) FROM generate_series(1, 42) k),
         (SELECT string_agg(encode(sha512((g * 1000 + k)::text::bytea), 'base64'), '') FROM generate_series(1, 92) k)"""
INSERT_DOCUMENTS = """DO $$ BEGIN
    FOR i IN 0 .. {count} / 100 - 1 LOOP
        INSERT INTO documents SELECT {row} FROM generate_series(i * 100 + 1, (i + 1) * 100) g;
        COMMIT;
    END LOOP; END $$"""
UPDATE_DOCUMENTS = """DO $$ BEGIN
    FOR i IN 0 .. {count} / 100 - 1 LOOP
        UPDATE documents SET number = number + 1
        FROM generate_series(i * 100 + 1, (i + 1) * 100) g WHERE id = g * 611953::bigint % {rows} + 1;
        COMMIT;
    END LOOP; END $$"""
BY_KEY = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;"


@dataclass
class Workload:
    """`tables` runs before the slot stands, `backlog` after it; `changes` is what the backlog changes."""
    name: str
    title: str
    changes: int
    tables: str
    backlog: str
    receive: bool = True
    follow: bool = True
    large: bool = False  # transactions beyond logical_decoding_work_mem
    compressed: bool = False  # values that are wide enough for the server to try
    limit: float = 0  # following at most so many times decoding alone
    faster: float = 0  # into PostgreSQL at least so many times as fast as a subscription; 0: not measured

    def fill(self, server, database):
        server.execute(self.tables, database)

    def run(self, server, database):
        with server.connect(database) as connection:
            for statement in self.backlog.split("\n;\n"):
                connection.execute(statement)


class Pgbench(Workload):
    """TPC-B: three updates and an insert a transaction."""

    def fill(self, server, database):
        self.pgbench(server, database, "-i", "-q", "-s", "10")

    def run(self, server, database):
        clients = 8
        self.pgbench(server, database, "-n", "-M", "prepared", "-c", clients,
                     "-t", self.changes // 4 // clients)

    @staticmethod
    def pgbench(server, database, *options):
        subprocess.run([program(server, "pgbench"), *map(str, options), server.url(database)], check=True,
                       capture_output=True)


def filled(rows):
    return f"{TABLE}; INSERT INTO events SELECT {ROW} FROM generate_series(1, {rows}) g; ANALYZE events"


def workloads(scale):
    def sized(count):
        return max(int(count * scale) // 1000 * 1000, 1000)

    inserts, one, updates, deletes = sized(2_000_000), sized(1_000_000), sized(500_000), sized(900_000)
    wide, tpcb = sized(100_000), sized(800_000)

    def in_one(count):
        return f"INSERT INTO events SELECT {ROW} FROM generate_series(1, {count}) g"

    return [
        Workload("inserts", "inserts, transactions of 100", inserts, TABLE,
                 INSERTS.format(count=inserts, size=100, row=ROW), limit=1.25, faster=1.5),
        Workload("one", "inserts in one transaction", one, TABLE, in_one(one), follow=False, large=True),
        Workload("one-large", "inserts in one transaction", 2 * one, TABLE, in_one(2 * one), receive=False,
                 limit=1.25, faster=1.9),
        Workload("updates", "key updates, transactions of 100", updates, filled(2 * updates),
                 f"{BY_KEY}\n;\n{UPDATES.format(count=updates, rows=2 * updates)}", limit=2, faster=2.5),
        Workload("deletes", "deletes, transactions of 100", deletes, filled(2 * deletes),
                 f"{BY_KEY}\n;\n{DELETES.format(count=deletes)}", limit=2, faster=2.5),
        Pgbench("tpcb", "pgbench TPC-B, row changes", tpcb, "", "", limit=1.5, faster=2.5),
        Workload("wide", "inserts of 8 kB rows", wide, "CREATE TABLE wide (id bigint PRIMARY KEY, text text);"
                 " ALTER TABLE wide ALTER text SET STORAGE EXTERNAL", WIDE.format(count=wide), follow=False),
        Workload("documents", "inserts of 10 kB rows, transactions of 100", wide, DOCUMENTS,
                 INSERT_DOCUMENTS.format(count=wide, row=DOCUMENT), receive=False, follow=False, compressed=True,
                 faster=1.25),
        Workload("document-updates", "updates of 10 kB rows but not of their TOASTed values", 2 * wide,
                 f"{DOCUMENTS}; INSERT INTO documents SELECT {DOCUMENT} FROM generate_series(1, {wide}) g",
                 f"{BY_KEY}\n;\n{UPDATE_DOCUMENTS.format(count=2 * wide, rows=wide)}", receive=False, follow=False,
                 faster=1.3),
    ]
