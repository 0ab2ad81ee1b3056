"""Who applies a backlog to a PostgreSQL target: subscriptions, pglogical, and tailrace.

All have the same life: prepare() before the backlog is written, arrange() before each run with all but the last step,
begin(), end(). `slot` is the one that is read.
"""
import os
import subprocess
import time
from pathlib import Path

from control_socket import ControlSocket
from processes import cpu_seconds, peak_resident
from server import Slots
from tailrace import Tailrace
from templates import DATABASE
from waiting import wait_until

BINARY = os.environ["TAILRACE_BIN"]
TIMEOUT = 900


def keyword_url(server, database):
    return f"host=127.0.0.1 port={server.port} user=postgres dbname={database}"


class Rival:
    """`source` is the database there; its target is called DATABASE."""
    template = "bench_rows"

    def __init__(self, pair, source, directory):
        self.pair, self.source, self.directory = pair, source, Path(directory)
        self.name, self.slot = self.title, f"bench_{self.title}"
        self.original = f"{self.slot}_original"

    def prepare(self, templates):
        pass

    def process(self):
        """The process of its own that does the work, if it has one."""
        return None

    def check(self):
        """Raises when it cannot go on."""

    def on_source(self, statement):
        return self.pair.source.execute(statement, self.source)

    def on_target(self, statement):
        return self.pair.target.execute(statement, DATABASE)

    def idle(self, slots):
        wait_until(lambda: slots.reader(self.slot) is None, what=f"the end of {self.name}'s walsender")

    @staticmethod
    def missing(pair):
        """Why it cannot be measured here, or None."""
        del pair


class Native(Rival):
    """A subscription, with large transactions in parallel where the server can."""
    title = "native"

    def __init__(self, pair, source, directory):
        super().__init__(pair, source, directory)
        self.options = ["copy_data = false", "create_slot = false", "enabled = false", f"slot_name = {self.slot}"]
        if pair.version >= 16:
            self.options.append("streaming = parallel")

    def prepare(self, templates):
        tables = [row[0] for row in self.on_source("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        self.on_source(f"CREATE PUBLICATION {self.slot} FOR TABLE {', '.join(tables)}")
        self.on_source(f"SELECT pg_create_logical_replication_slot('{self.original}', 'pgoutput')")

    def arrange(self, slots):
        slots.copy(self.original, self.slot)
        self.on_target(f"CREATE SUBSCRIPTION {self.slot} CONNECTION '{keyword_url(self.pair.source, self.source)}'"
                       f" PUBLICATION {self.slot} WITH ({', '.join(self.options)})")

    def begin(self):
        self.on_target(f"ALTER SUBSCRIPTION {self.slot} ENABLE")

    def end(self, slots):
        drop_subscriptions(self.pair.target, DATABASE)
        self.idle(slots)


def drop_subscriptions(server, database):
    for name, in server.execute("SELECT subname FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid"
                                f" WHERE datname = '{database}'"):
        for statement in ("DISABLE", "SET (slot_name = NONE)"):
            server.execute(f"ALTER SUBSCRIPTION {name} {statement}", database)
        server.execute(f"DROP SUBSCRIPTION {name}", database)


class Pglogical(Rival):
    """pglogical 2.4. Its supervisor never answers a barrier, so that DROP DATABASE would hang: it is loaded only while
    it is needed, by restarting both servers."""
    title = "pglogical"

    @staticmethod
    def missing(pair):
        if pair.version != 15:
            return "pglogical is measured on PostgreSQL 15 only"
        if not (pair.source.bin.parent / "lib/pglogical.so").exists():
            return "pglogical is not installed: apt-get install postgresql-15-pglogical"
        return None

    def load(self):
        settings = {"shared_preload_libraries": "pglogical"}
        # Servers with the mend of CVE-2026-6471 load no other output plugins than these.
        if self.pair.source.execute("SELECT 1 FROM pg_settings WHERE name = 'output_plugin_libraries'"):
            settings["output_plugin_libraries"] = "pgoutput, test_decoding, pglogical_output"
        self.pair.restart(**settings)

    def unload(self):
        self.pair.restart(shared_preload_libraries="")

    def prepare(self, templates):
        self.load()
        self.on_source("CREATE EXTENSION pglogical")
        self.on_source(f"SELECT pglogical.create_node('source', '{keyword_url(self.pair.source, self.source)}')")
        self.on_source("""
            SELECT pglogical.replication_set_add_table(
                CASE WHEN EXISTS (SELECT 1 FROM pg_index WHERE indrelid = c.oid AND indisprimary)
                    THEN 'default' ELSE 'default_insert_only' END, c.oid)
            FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace""")
        self.on_source(f"SELECT pg_create_logical_replication_slot('{self.original}', 'pgoutput')")
        self.unload()

    def arrange(self, slots):
        """It insists on making a slot and an origin of its own, at the end of the WAL; both are then set back."""
        self.load()
        slots.reopen()
        self.on_target("CREATE EXTENSION pglogical")
        self.on_target(f"SELECT pglogical.create_node('target', '{keyword_url(self.pair.target, DATABASE)}')")
        self.on_target("SELECT pglogical.create_subscription('bench',"
                       f" '{keyword_url(self.pair.source, self.source)}', '{{default,default_insert_only}}',"
                       " synchronize_structure := false, synchronize_data := false)")
        wait_until(lambda: self.status() == "replicating", what="pglogical's subscription")
        self.on_target("SELECT pglogical.alter_subscription_disable('bench', true)")
        self.slot = self.on_target("SELECT slot_name FROM pglogical.show_subscription_status('bench')")[0][0]
        self.idle(slots)
        slots.copy(self.original, self.slot, "pglogical_output")
        start = self.on_source("SELECT confirmed_flush_lsn FROM pg_replication_slots"
                               f" WHERE slot_name = '{self.original}'")[0][0]
        self.on_target(f"SELECT pg_replication_origin_advance('{self.slot}', '{start}')")

    def status(self):
        return self.on_target("SELECT status FROM pglogical.show_subscription_status('bench')")[0][0]

    def begin(self):
        self.on_target("SELECT pglogical.alter_subscription_enable('bench', true)")

    def end(self, slots):
        self.on_target("SELECT pglogical.drop_subscription('bench', true)")
        self.unload()
        slots.reopen()


class Replica(Tailrace):
    """tailrace with a PostgreSQL target; its control socket is where the bench knows it."""

    def __init__(self, source, directory, name, target, **settings):
        self.control = ControlSocket(Path(directory) / "control.sock")
        super().__init__(source, directory, name, target=target, control_socket=str(self.control.path),
                         tables=["public.*"], **settings)

    def status(self):
        return self.control.status()


def refusal(pair, directory):
    """What tailrace says against a PostgreSQL target, or None."""
    config = Path(directory) / "refusal.yaml"
    config.write_text(f"name: bench\nsource: {pair.source.url()}\ntarget: {pair.target.url()}\n", encoding="utf-8")
    outcome = subprocess.run([BINARY, "config", "check", "-c", config], capture_output=True, text=True)
    return None if outcome.returncode == 0 else " ".join((outcome.stdout + outcome.stderr).split())


class Mirror(Rival):
    """tailrace. What it copied before the backlog is the template, so that its checkpoint is in there."""
    title = "tailrace"
    template = "bench_mirror"
    settings = {}

    def __init__(self, pair, source, directory):
        super().__init__(pair, source, directory)
        self.directory.mkdir()
        self.replica = Replica(pair.source.url(source), self.directory, self.slot, pair.target.url(DATABASE),
                               **self.settings)

    def prepare(self, templates):
        templates.empty()
        with self.replica:
            self.replica.wait_streaming(timeout=600)
            self.replica.stop(timeout=60)
        templates.keep(self.template)
        slots = Slots(self.pair.source, self.source)
        slots.copy(self.slot, self.original)
        slots.close()

    def arrange(self, slots):
        slots.copy(self.original, self.slot)

    def begin(self):
        self.replica.start()

    def process(self):
        return self.replica.process.pid

    def check(self):
        if not self.replica.running():
            raise RuntimeError(f"tailrace ended: {self.replica.tail()}")

    def end(self, slots):
        try:
            if self.replica.running():
                self.replica.stop(timeout=60)
        finally:
            self.replica.close()
        self.idle(slots)


class MirrorAsServer(Mirror):
    """Wide values are compressed with what the server would take."""
    title = "tailrace_pglz"
    template = "bench_mirror_pglz"
    settings = {"apply": {"toast_compression": "server"}}


def usage(pid):
    """(CPU seconds, peak resident bytes) of a process; nothing for none."""
    return (cpu_seconds(pid) or 0, peak_resident(pid)) if pid else (0, 0)


def wait_for(rival, condition, poll):
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        rival.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"it took longer than {TIMEOUT} s")
        time.sleep(poll)
