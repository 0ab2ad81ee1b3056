"""The servers of the benchmarks, and the slots that let one backlog be read many times."""
from pathlib import Path

from cluster import PgCluster

# As a user would have them, not as the tests set them up to be hostile. A large WAL, so that no checkpoint
# falls into a measurement.
SETTINGS = {
    "shared_buffers": "1GB",
    "fsync": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "max_wal_size": "64GB",
    "checkpoint_timeout": "1d",
    "wal_sender_timeout": "60s",
    "wal_retrieve_retry_interval": "500ms",  # by default a subscription's worker may wait 5 s for its start
    "log_checkpoints": "off",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
}


def start_server(version, **settings):
    return PgCluster(version, **{**SETTINGS, **settings}).start()


def program(server, name):
    """A client program: the server's own, or else the newest one that Debian has."""
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[4]))
    return next(path for path in (server.bin / name, *reversed(newest)) if path.exists())


class Pair:
    """Two servers with the same settings: from `source` to `target`."""

    def __init__(self, version):
        self.version = version
        self.source, self.target = PgCluster(version, **SETTINGS), PgCluster(version, **SETTINGS)

    def __enter__(self):
        for server in (self.source, self.target):
            server.start()
        return self

    def __exit__(self, *_):
        for server in (self.source, self.target):
            server.close()

    def restart(self, **settings):
        for server in (self.source, self.target):
            server.configure(**settings)
            server.restart()


class Slots:
    """Copies of a slot that stands before a backlog. The original is never read."""

    def __init__(self, server, database):
        self.server, self.database = server, database
        self.connection = server.connect(database)

    def close(self):
        self.connection.close()

    def reopen(self):
        """After a restart of the server."""
        self.connection.close()
        self.connection = self.server.connect(self.database)

    def drop(self, name):
        self.connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                                " WHERE slot_name = %s", (name,))

    def copy(self, original, name, plugin="pgoutput"):
        self.drop(name)
        self.connection.execute("SELECT pg_copy_logical_replication_slot(%s, %s, false, %s)", (original, name, plugin))

    def reader(self, name):
        """The process that serves this slot now, or the copy of it that a backlog is read from; or None."""
        row = self.connection.execute("SELECT active_pid FROM pg_replication_slots WHERE active_pid IS NOT NULL"
                                      " AND (slot_name = %s OR starts_with(slot_name, left(%s, 40) || '_backlog_'))",
                                      (name, name)).fetchone()
        return row[0] if row else None
