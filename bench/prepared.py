"""Prepared: a database with a mirror that was in step with it, and a backlog that nobody has read yet."""
import os
import shutil
from pathlib import Path

import server as servers
from tailrace import Tailrace


class Prepared:
    """`slot` is copied for every reader; `file` is copied for every follower."""

    def __init__(self, server, workload, directory):
        self.server, self.workload = server, workload
        self.database = "bench_" + workload.name.replace("-", "_")
        self.slot = self.publication = self.database
        self.original_slot = f"{self.slot}_original"
        self.directory = Path(directory) / workload.name
        self.slots = None

    def __enter__(self):
        self.directory.mkdir()
        self.server.create_database(self.database)
        self.workload.fill(self.server, self.database)
        mirror = self.mirror(self.directory)
        with mirror:
            mirror.wait_streaming(timeout=600)
            mirror.stop(timeout=60)
        self.slots = servers.Slots(self.server, self.database)
        self.slots.copy(self.slot, self.original_slot)
        self.workload.run(self.server, self.database)
        self.end = self.mark_end()
        return self

    def __exit__(self, *_):
        if self.slots:
            self.slots.close()
        self.server.drop_database(self.database)
        shutil.rmtree(self.directory, ignore_errors=True)
        self.server.execute("CHECKPOINT")

    def mirror(self, directory, **settings):
        return Tailrace(self.server.url(self.database), directory, self.database,
                        **settings)

    def mark_end(self):
        """A last small transaction, so that a reader that waits for a position meets something there."""
        table = self.server.value("SELECT min(tablename) FROM pg_publication_tables", self.database)
        key = self.server.value("SELECT attname FROM pg_attribute WHERE attnum = 1"
                                f" AND attrelid = '{table}'::regclass", self.database)
        end = self.server.value("SELECT pg_current_wal_insert_lsn()::text", self.database)
        self.server.execute(f"DELETE FROM {table} WHERE {key} = (SELECT max({key}) FROM {table})",
                            self.database)
        return end

    def copy_of_mirror(self):
        """A directory with a copy of the mirror as it was before the backlog, and its slot set back."""
        copy = self.directory / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        shutil.copy(self.directory / "mirror.duckdb", copy)
        wal = self.directory / "mirror.duckdb.wal"
        if wal.exists():
            shutil.copy(wal, copy)
        self.slots.copy(self.original_slot, self.slot)
        os.sync()
        return copy
