"""Copying: a filled database goes from one PostgreSQL server to another, by tailrace and by what it is measured
against."""
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

from comparison import Run
from processes import ServerCpu, run_timed
from rivals import drop_subscriptions, keyword_url
from server import program
from templates import DATABASE, Templates, contents, difference
from waiting import wait_until
from workloads import ROW, TABLE

SOURCE = "bench_copy"
READERS = 2
TIMEOUT = 900


class Copying:
    """`tables` with `rows` and a key each. The target of a subscription and of plain COPY has the tables before."""

    def __init__(self, pair, tables, rows, directory):
        self.pair, self.rows = pair, rows
        self.tables = [f"events{number}" for number in range(1, tables + 1)]
        self.directory = directory / f"copy-{tables}"
        self.templates = Templates(pair.target)
        self.definitions = "; ".join(TABLE.replace("events", table) for table in self.tables)

    def __enter__(self):
        self.directory.mkdir()
        self.pair.source.create_database(SOURCE)
        self.pair.source.execute(self.definitions, SOURCE)
        for table in self.tables:
            self.pair.source.execute(f"INSERT INTO {table} SELECT {ROW} FROM generate_series(1, {self.rows}) g", SOURCE)
        self.pair.source.execute("VACUUM ANALYZE", SOURCE)
        self.expected = contents(self.pair.source, SOURCE)
        self.pair.source.execute(f"CREATE PUBLICATION bench FOR TABLE {', '.join(self.tables)}", SOURCE)
        return self

    def __exit__(self, *_):
        self.templates.close()
        self.pair.source.drop_database(SOURCE)
        shutil.rmtree(self.directory)

    def ways(self):
        """{name: (what is done, None or why it cannot be)}; the subscription first, all others compare with it."""
        old = None if self.pair.version <= 15 else "the installed pg_dump is too old for this server"
        missing = None if shutil.which("pgcopydb") else "pgcopydb is not installed: apt-get install pgcopydb"
        return {
            "native": (self.subscription, None),
            "COPY | COPY": (self.plain_copy, None),
            "pg_dump | pg_restore": (self.dump, old),
            "pgcopydb": (self.pgcopydb, old or missing),
            "tailrace": (self.snapshot, None),
        }

    def measure(self, way):
        """From an empty database until all is there; `way` gives (its own CPU seconds, peak resident bytes)."""
        self.templates.empty()
        if way in (self.subscription, self.plain_copy):
            self.pair.target.execute(self.definitions, DATABASE)
        if way == self.plain_copy:
            for table in self.tables:
                self.pair.target.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey", DATABASE)
        for server in (self.pair.source, self.pair.target):
            server.execute("CHECKPOINT")
        source_cpu, target_cpu = ServerCpu(self.pair.source), ServerCpu(self.pair.target)
        start = time.monotonic()
        try:
            own_cpu, resident = way()
            run = Run(time.monotonic() - start, source_cpu.seconds(), target_cpu.seconds(), own_cpu, resident)
        finally:
            drop_subscriptions(self.pair.target, DATABASE)
            self.drop_slots()
        wrong = difference(self.pair.target, DATABASE, self.expected)
        if wrong:
            raise RuntimeError(f"the target is not as the source: {wrong}")
        return run

    def drop_slots(self):
        """Those that a subscription made, and left without it."""
        wait_until(lambda: not self.pair.source.execute("SELECT 1 FROM pg_replication_slots WHERE active"),
                   what="the end of the walsenders")
        self.pair.source.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")

    def subscription(self):
        """Until the last row is visible: before the tables are `ready`, which the server looks after at its leisure."""
        with self.pair.target.connect(DATABASE) as target:
            target.execute(f"CREATE SUBSCRIPTION bench CONNECTION '{keyword_url(self.pair.source, SOURCE)}'"
                           " PUBLICATION bench")
            wait_until(lambda: not target.execute("SELECT 1 FROM pg_subscription_rel WHERE srsubstate IN ('i', 'd')"
                                                  ).fetchone(), timeout=TIMEOUT, what="the copy", poll=0.02)
        return 0, 0

    def plain_copy(self):
        """The practical limit: binary COPY from psql to psql, two at a time, the keys afterwards."""
        if len(self.tables) > 1:
            pieces = [(table, f"SELECT * FROM {table}", True) for table in self.tables]
        else:
            table, = self.tables
            pages = self.pair.source.value(f"SELECT pg_relation_size('{table}') / 8192", SOURCE)
            middle, end = pages // 2, pages + 1
            pieces = [(table, f"SELECT * FROM {table} WHERE ctid >= '({first},0)' AND ctid < '({last},0)'", False)
                      for first, last in ((0, middle), (middle, end))]
        with ThreadPoolExecutor(READERS) as pool:
            cpu = sum(pool.map(self.copy_piece, pieces))
        return cpu + (self.add_key(self.tables[0]) if len(self.tables) == 1 else 0), 0

    def copy_piece(self, piece):
        table, query, whole = piece
        psql = program(self.pair.source, "psql")
        _, cpu, _, _ = run_timed([
            "bash", "-o", "pipefail", "-c", '"$0" -qX "$1" -c "$2" | "$0" -qX "$3" -c "$4"', psql,
            self.pair.source.url(SOURCE), f"COPY ({query}) TO STDOUT (FORMAT binary)",
            self.pair.target.url(DATABASE), f"COPY {table} FROM STDIN (FORMAT binary)"])
        return cpu + (self.add_key(table) if whole else 0)

    def add_key(self, table):
        psql = program(self.pair.target, "psql")
        _, cpu, _, _ = run_timed([psql, "-qX", self.pair.target.url(DATABASE), "-c",
                                  f"ALTER TABLE {table} ADD PRIMARY KEY (id)"])
        return cpu

    def dump(self):
        tools = [program(self.pair.source, name) for name in ("pg_dump", "pg_restore")]
        _, cpu, resident, _ = run_timed([
            "bash", "-o", "pipefail", "-c", '"$0" -Fc -Z0 --no-publications "$2" | "$1" -d "$3"', *tools,
            self.pair.source.url(SOURCE), self.pair.target.url(DATABASE)])
        return cpu, resident

    def pgcopydb(self):
        work = self.directory / "pgcopydb"
        _, cpu, resident, _ = run_timed([
            "pgcopydb", "clone", "--dir", work, "--table-jobs", READERS, "--index-jobs", READERS,
            "--source", self.pair.source.url(SOURCE), "--target", self.pair.target.url(DATABASE)])
        shutil.rmtree(work)
        return cpu, resident

    def snapshot(self):
        config = self.directory / "snapshot.yaml"
        config.write_text(json.dumps({
            "name": "bench_snapshot", "source": self.pair.source.url(SOURCE), "target": self.pair.target.url(DATABASE),
            "tables": ["public.*"], "snapshot": {"readers": READERS},
            "control_socket": str(self.directory / "control.sock")}), encoding="utf-8")
        _, cpu, resident, _ = run_timed([os.environ["TAILRACE_BIN"], "snapshot", "-c", config])
        return cpu, resident
