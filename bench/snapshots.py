"""Copying a table into DuckDB, against as many readers that only COPY it to /dev/null."""
import os
import shutil
import subprocess
import time
from pathlib import Path

from processes import run_timed
from receiving import Reading
from workloads import filled

DATABASE = "bench_snapshot"


class Snapshots:
    def __init__(self, server, rows, directory):
        self.server, self.rows = server, rows
        self.directory = Path(directory) / "snapshot"

    def __enter__(self):
        self.directory.mkdir()
        self.server.create_database(DATABASE)
        # Vacuumed, so that the first reader does not pay for the hint bits of all the others; analyzed, as the
        # tables of a server with autovacuum are.
        self.server.execute(filled(self.rows), DATABASE)
        self.server.execute("VACUUM ANALYZE events", DATABASE)
        self.pages = self.server.value("SELECT pg_relation_size('events') / 8192", DATABASE)
        return self

    def __exit__(self, *_):
        self.server.drop_database(DATABASE)
        shutil.rmtree(self.directory)

    def copy(self, readers):
        """One psql a reader, each with its share of the table's pages."""
        share = -(-self.pages // readers)
        start = time.monotonic()
        processes = []
        for first in range(0, self.pages, share):
            query = (f"COPY (SELECT * FROM events WHERE ctid >= '({first},0)' AND ctid < '({first + share},0)')"
                     " TO STDOUT (FORMAT binary)")
            command = [self.server.bin / "psql", "-qX", self.server.url(DATABASE), "-c", query]
            processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        cpu = 0.0
        for process in processes:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu += usage.ru_utime + usage.ru_stime
        if any(process.returncode for process in processes):
            raise RuntimeError("psql failed to copy")
        return Reading(time.monotonic() - start, cpu, 0)

    def snapshot(self, readers):
        config = self.directory / "snapshot.yaml"
        file = self.directory / "snapshot.duckdb"
        config.write_text(f"name: bench\nsource: {self.server.url(DATABASE)}\ntarget: duckdb:{file}\n"
                          f"snapshot:\n  readers: {readers}\n", encoding="utf-8")
        seconds, cpu, resident, _ = run_timed([os.environ["TAILRACE_BIN"], "snapshot", "-c", config])
        for left in self.directory.glob("snapshot.duckdb*"):
            left.unlink()
        return Reading(seconds, cpu, 0, resident)
