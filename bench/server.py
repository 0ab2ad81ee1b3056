"""The source server of the benchmarks, and the slots that let one backlog be read many times."""
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
    "log_checkpoints": "off",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
}


def start_server(version, **settings):
    return PgCluster(version, **{**SETTINGS, **settings}).start()


class Slots:
    """Copies of a slot that stands before a backlog. The original is never read."""

    def __init__(self, server, database):
        self.connection = server.connect(database)

    def close(self):
        self.connection.close()

    def drop(self, name):
        self.connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                                " WHERE slot_name = %s", (name,))

    def copy(self, original, name):
        self.drop(name)
        self.connection.execute("SELECT pg_copy_logical_replication_slot(%s, %s)", (original, name))

    def reader(self, name):
        """The process that serves this slot now, or None."""
        row = self.connection.execute("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s",
                                      (name,)).fetchone()
        return row[0] if row else None
