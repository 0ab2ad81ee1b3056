"""Field: a source, a target and the program between them, on which the steps of a random program are run.

What holds is looked at after each step that ends the program, and, whole, at each `settle`:
* every row equals, under the source's names, at the positions looked at (the tests' own comparison);
* the target opens, whenever the program was killed;
* no table is seen in part: it has as many rows as the source's had after one of its transactions, or none;
* what a stranger has at the target is as it was;
* it runs until it is ended, and is in step within the time given.
"""
import signal
import time
from collections import Counter
from concurrent import futures

import psycopg

from author import SETUP
from catalog import quoted, read_tables
from compare import Difference
from duckdb_file import DuckdbError
from lsn import lsn
from proxy import Proxy
from tailrace import Tailrace, run
from targets import DuckdbTarget, PostgresTarget
from waiting import PATIENCE, wait_until

# Kinds after which the target shows rows, for a while, that the source never had together: nothing is said of them in
# the stream, and the next look at the catalogs finds them.
SILENT = {"partition_attach", "partition_detach", "partition_truncate", "partition_drop", "split_default",
          "unlogged_for_a_while", "readd_column", "retype_using", "partition_create", "guest_leaves"}
LARGE_ROWS = 8000
LARGE = f"""
CREATE TABLE public.large (id int, region int, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE public.large_1 PARTITION OF public.large FOR VALUES IN (1);
CREATE TABLE public.large_2 PARTITION OF public.large FOR VALUES IN (2);
CREATE TABLE public.large_rest PARTITION OF public.large DEFAULT;
INSERT INTO public.large SELECT i, 2 - (i % 100 = 0)::int, repeat(md5(i::text), 17)
  FROM generate_series(1, {LARGE_ROWS}) i;
ANALYZE public.large
"""
LARGE_BYTES = 4_400_000  # about what its copy sends
# Kinds after which a table may be held, so that --recopy is needed (docs/guarantees.md).
MAY_HOLD = {"duckdb": {"guest_index"},
            "postgres": {"name_of_a_guest", "retype_int", "retype_varchar", "retype_using", "new_type", "enum_label"}}
ENDED_WELL = (0, 6, -signal.SIGTERM)  # by SIGTERM: also before all was copied, and in its first milliseconds


class Fault(AssertionError):
    """What does not hold: `sort` is a word for it, by which a shorter program shows the same."""

    def __init__(self, sort, text):
        super().__init__(f"{sort}: {text}")
        self.sort = sort


class Field:
    """source, target   servers; the target's is None for a DuckDB file
    name             of the databases, the slot and all else
    patience         seconds in which it must be in step
    """

    def __init__(self, source, target, name, directory, patience=40):
        self.source, self.patience = source, patience
        self.database = name
        source.create_database(name)
        self.connection = psycopg.connect(source.url(name), autocommit=True)
        self.connection.execute("SET lock_timeout = '10s'; SET client_min_messages = error")
        self.kind = "postgres" if target else "duckdb"
        into = PostgresTarget(target, f"{name}_target") if target else DuckdbTarget(directory / "mirror.duckdb")
        self.mirror = Tailrace(source.url(name), directory, name, into, snapshot={"readers": 2})
        self.settings = {"snapshot": {"readers": 2}}
        self.guests = {}  # name: its rows, as text
        self.sorts = {}  # name: table or view
        self.indexed = set()  # by a stranger, under the target's names
        self.armed = None
        self.recopied = []
        self.killed_in_recopy = False
        self.done = Counter()  # kinds that were run since the last settle
        self.passed = Counter()  # kinds that were run before the last settle
        self.hits = Counter()  # kill points
        self.refused = Counter()
        self.rows = 0
        self.seconds = Counter()  # by the first word of a step
        self.counts = {}  # oid: row counts that it had after a transaction
        self.bearers = {}  # qualified name: oids that ever had it

    def close(self):
        self.mirror.close()
        self.connection.close()
        self.mirror.into.close([self.mirror.name])
        self.source.drop_database(self.database)

    # Steps ---------------------------------------------------------------------------------------------

    def step(self, step):
        getattr(self, f"do_{step[0]}")(*step[1:])

    def do_setup(self):
        self.connection.execute(SETUP)
        self.note_counts()

    def do_sql(self, kind, text):
        try:
            self.connection.execute(text)
        except psycopg.Error as error:
            if self.connection.closed:
                raise
            self.connection.execute("ROLLBACK")
            self.refused[f"{kind}: {first_line(error)}"] += 1
            return
        self.done[kind] += 1
        self.note_counts()

    def do_start(self):
        if not self.mirror.running():
            self.started()

    def do_stop(self):
        if self.mirror.running():
            self.ended_by(signal.SIGTERM)

    def do_kill(self, milliseconds):
        """Lets it run for that long first."""
        self.do_start()
        end = time.monotonic() + int(milliseconds) / 1000
        wait_until(lambda: time.monotonic() >= end or not self.mirror.running(), timeout=60, poll=0.002)
        self.ended_by(signal.SIGKILL)
        self.done["kill"] += 1

    def do_arm(self, point):
        """It ends at that point, the next time that it passes there."""
        self.do_stop()
        self.armed = point
        self.started()

    def do_settle(self, how):
        self.do_start()
        self.caught_up()
        for tried in (False, True, True):
            held = self.held(tried)
            self.refresh()
            # While names settle, a table that is held gets another one.
            held = [table for table in held if table in self.held(tried)]
            if not held:
                break
            self.recopy(held, self.caught_up)
        else:
            raise Fault("held", f"{held} after --recopy\n{self.mirror.tail()}")
        names = self.expected_names()
        if self.kind == "duckdb" or how == "kill":
            self.ended_by(signal.SIGKILL if how == "kill" else signal.SIGTERM)
        self.compare(names)
        self.passed += self.done
        self.done.clear()
        self.start_counts()
        if self.kind == "postgres":
            self.do_start()

    def do_recopy(self, kind, table):
        """Of one that the mirror knows by now; who asks for another is told so, and nothing more."""
        self.do_start()
        self.wait_applied()
        if not self.knows(table):
            self.refresh()
        if self.knows(table):
            self.recopy([table], self.wait_applied)
        self.done[kind] += 1

    def do_guest(self, kind, name):
        """Somebody makes an object of that name at the target."""
        if name in self.guests or not self.changed_by_hand(
                f"CREATE TABLE public.{name} AS SELECT 'guest' || i AS k, i AS n FROM generate_series(1, 7) g(i)"
                if kind == "guest_table" else
                f"CREATE VIEW public.{name} AS SELECT 'seen' || i AS k, i AS n FROM generate_series(1, 3) g(i)"):
            return
        self.sorts[name] = kind
        with self.mirror.opened() as target:
            self.guests[name] = self.guest(target, name)
        self.done[kind] += 1

    def do_guest_gone(self, kind, name):
        if name in self.guests and self.changed_by_hand(
                f"DROP {'TABLE' if self.sorts[name] == 'guest_table' else 'VIEW'} public.{name}"):
            del self.guests[name]
            self.done[kind] += 1

    def do_guest_index(self, kind, name, table, column):
        """Somebody makes an index on a table of the mirror's, under the name that the source has for it."""
        if self.changed_by_hand(f"CREATE INDEX {name} ON {table} ({column})"):
            self.indexed.add(table.replace('"', ""))
            self.done[kind] += 1

    def do_interrupted_copy(self, kind, how, percent):
        """A large table's copy, the connection of which stalls in the middle, and which is then ended. Its small leaf
        is copied by then."""
        self.do_stop()
        first = not self.connection.execute("SELECT to_regclass('public.large')").fetchone()[0]
        if first:
            self.connection.execute(LARGE)
        self.note_counts()
        with Proxy(self.source.port) as proxy:
            self.configure(source=self.source.url(self.database, port=proxy.port))
            self.started("--recopy", "public.large") if self.copied_before("public.large") else self.started()
            wait_until(lambda: proxy.forwarded > LARGE_BYTES * int(percent) // 100 or not self.mirror.running()
                       or self.streams(), 60, lambda: "the copy " + self.mirror.tail(), poll=0.002)
            proxy.stall()
            self.ended_by(signal.SIGKILL if how == "kill" else signal.SIGTERM)
            if first:
                self.look_for_part_of_large()
            proxy.drop()
        self.configure(source=self.source.url(self.database))
        self.done[kind] += 1

    # The program ------------------------------------------------------------------------------------------

    def configure(self, **settings):
        self.mirror.configure(**self.settings, **settings)

    def started(self, *arguments):
        self.mirror.env = {"TAILRACE_KILL_POINT": self.armed} if self.armed else {}
        self.mirror.start(*arguments)

    def ended_by(self, how):
        process = self.mirror.process
        by_itself = process.poll() is not None
        process.send_signal(how)
        try:
            code = process.wait(timeout=20 * PATIENCE)
        except Exception:
            process.kill()
            process.wait()
            raise Fault("still running", f"after {how.name}\n{self.mirror.tail()}") from None
        if code == -signal.SIGKILL:
            if (by_itself or how != signal.SIGKILL) and not self.hit():
                raise Fault("killed", "by nobody here")
        elif how == signal.SIGKILL or code not in ENDED_WELL:
            raise self.ended(code)
        self.look_at_what_is_left()

    def hit(self):
        """True if it ended itself at the armed point."""
        if not self.armed:
            return False
        self.hits[self.armed.split(":")[0]] += 1
        self.armed = None
        return True

    def alive(self):
        """Starts it again if it ended itself at a point; any other end is a fault."""
        if self.mirror.running():
            return
        code = self.mirror.process.returncode
        if code == -signal.SIGKILL and self.hit():
            self.look_at_what_is_left()
            self.killed_in_recopy = bool(self.recopied)
        elif code != 3 or not self.killed_in_recopy or not self.forget_former_names():
            raise self.ended(code)
        self.started(*self.recopied)

    def forget_former_names(self):
        """Of the tables to copy anew: one that bore its former name got its new one before the kill."""
        told = self.mirror.tail(8)
        gone = [name for name in self.recopied[1::2] if f"there is no table {name} to copy anew" in told]
        self.recopied = [word for name in self.recopied[1::2] if name not in gone for word in ("--recopy", name)]
        return bool(gone)

    def ended(self, code):
        """By itself. Names and numbers are left out of the sort of it, for a shorter program has others."""
        last = [line for line in self.mirror.log_text().splitlines() if line.startswith("tailrace: ")][-1:]
        words = [word for word in " ".join(last).split() if word.isalpha()]
        return Fault(f"ended with {code}: {' '.join(words[:8])}", self.mirror.tail(8))

    def streams(self):
        status = self.mirror.status()
        return status and status["state"] == "streaming"

    def wait(self, predicate, what):
        last = None

        def ask():
            nonlocal last
            self.alive()
            last = self.mirror.polled() or last
            return last and predicate(last)
        try:
            wait_until(ask, self.patience, what)
        except Fault:
            raise
        except AssertionError:
            tables = [(table["name"], table["state"]) for table in last["tables"]] if last else None
            raise Fault("not in step", f"{what}; {last and last['state']} applied {last and last['applied']}"
                        f" {last and last['message']} {tables}\n{self.mirror.tail()}") from None

    def caught_up(self):
        """A definition is followed when two looks at the catalogs agreed on it, and the stream has passed the first."""
        for _ in range(3):
            self.wait_applied()
            self.refresh()
        self.wait_applied()

    def wait_applied(self):
        """A row of a table of its own, for positions without a change are passed on every ten seconds only."""
        self.beat()
        position = self.connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()[0]
        self.wait(lambda status: status["state"] == "streaming" and lsn(status["applied"]) >= lsn(position)
                  and all(table["state"] in ("streaming", "stopped", "held") for table in status["tables"]),
                  f"applied >= {position}")

    def beat(self):
        self.connection.execute("UPDATE public.beat SET n = n + 1")

    def refresh(self):
        """A look at the catalogs, now. What it sees is followed once the stream is past it, which an idle source's
        is every ten seconds only."""
        def looked():
            self.alive()
            with futures.ThreadPoolExecutor(1) as pool:
                asked = pool.submit(run, "refresh", *self.mirror.named())
                while not futures.wait([asked], timeout=0.2).done:
                    self.beat()
            return asked.result().returncode == 0
        wait_until(looked, self.patience, lambda: f"a refresh\n{self.mirror.tail()}")

    def known(self):
        """[(name, what the status says of it)]. One that is held bears the name that it had, which may be another
        table's by now."""
        status = self.mirror.status()
        return [(f"{table['schema']}.{table['name']}", table) for table in status["tables"]] if status else []

    def knows(self, name):
        return any(known == name for known, _ in self.known())

    def held(self, tried):
        """Tables that are held although nothing may be in their way any more. Once all were tried again, one waits for
        a stranger if its reason names him and the source has a table of that name still. Before, a reason may be of a
        name that the table had once."""
        tables = [(name, table["last_error"]) for name, table in self.known() if table["state"] == "held"]
        kinds = set(self.done) | set(self.passed)
        if tables and not kinds & MAY_HOLD[self.kind]:
            raise Fault("held", f"{tables}, for nothing that may cause it\n{self.mirror.tail()}")
        there = {table.qualified for table in read_tables(self.connection)}
        awaited = [f"public.{guest}" for guest in self.guests if f"public.{guest}" in there]
        return sorted({name for name, reason in tables
                       if not tried or not any(f"{guest} " in reason for guest in awaited)})

    def is_guests(self, table):
        return table.split(".")[0] == "public" and table.split(".")[1] in self.guests

    def recopy(self, tables, awaited):
        self.do_stop()
        self.recopied = [word for table in tables for word in ("--recopy", table)]
        self.killed_in_recopy = False
        self.started(*self.recopied)
        awaited()
        self.recopied = []

    def copied_before(self, table):
        if not self.mirror.into.exists():
            return False
        with self.mirror.opened() as target:
            return table in self.shown(target)

    # The target ---------------------------------------------------------------------------------------------

    def shown(self, target):
        """The names of all tables that are in sight; partitions are their roots'."""
        if self.kind == "postgres":
            return {".".join(name) for name in target.query(
                "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname NOT LIKE 'tailrace%'")}
        return {".".join(name) for name in target.tables()}

    def changed_by_hand(self, sql):
        """A statement of somebody else at the target; False if it cannot be, or there is no target yet."""
        if self.kind == "duckdb":
            self.do_stop()
            if not self.mirror.into.exists():
                return False
        try:
            with self.mirror.opened(writable=True) as target:
                target.query("CREATE SCHEMA IF NOT EXISTS public")
                target.query(sql)
        except (DuckdbError, psycopg.Error) as error:
            self.refused[f"guest: {first_line(error)}"] += 1
            return False
        return True

    @staticmethod
    def guest(target, name):
        """Its rows, or why there are none to be had."""
        try:
            return target.query(f"SELECT CAST(k AS VARCHAR), CAST(n AS VARCHAR) FROM public.{name} ORDER BY 1, 2")
        except (DuckdbError, psycopg.Error) as error:
            return str(error)

    def expected_names(self):
        """{source name: target name} of all that is compared. Where a stranger has the name, or an index on the table
        by which a DuckDB file lets it not take its name, it is the one that the status tells, or none while the table
        is held."""
        names = {}
        followed = {name: table for name, table in self.known() if table["state"] != "held"}
        held = [name for name, table in self.known() if table["state"] == "held"]
        for table in read_tables(self.connection):
            name = table.qualified
            if table.is_partition or table.persistence != "p":
                continue
            here = followed[name]["target_name"].replace('"', "") if name in followed else None
            if not self.is_guests(name):
                names[name] = here if here in self.indexed else name
            elif here:
                names[name] = here
            elif not held:
                raise Fault("not told", f"{name} is not in the status, and nothing is held\n{self.mirror.tail()}")
        return names

    def compare(self, names):
        try:
            self.rows += self.mirror.into.compare(self.source, self.database, tables=names)
        except Difference as difference:
            raise Fault("difference", f"{difference}\n{self.mirror.tail()}") from None
        except DuckdbError as error:
            raise Fault("does not open", first_line(error)) from None
        self.look_at_guests()

    def look_at_what_is_left(self):
        """After an end of any kind."""
        if not self.mirror.into.exists():
            return
        try:
            self.look_for_parts()
            self.look_at_guests()
        except DuckdbError as error:
            raise Fault("does not open", f"{first_line(error)}\n{self.mirror.tail()}") from None

    def look_at_guests(self):
        if not self.guests:
            return
        with self.mirror.opened() as target:
            now = {name: self.guest(target, name) for name in self.guests}
        for name, before in self.guests.items():
            if now[name] != before:
                raise Fault("a stranger's", f"{name} was {before[:3]}, is {now[name][:3]}\n{self.mirror.tail()}")

    def look_for_parts(self):
        if set(self.done) & SILENT:
            return
        with self.mirror.opened() as target:
            there = self.shown(target)
            for name, oids in self.bearers.items():
                if name not in there or self.is_guests(name) or self.tells_of_a_copy(target, name):
                    continue
                count = int(target.value(f"(SELECT count(*) FROM {quoted_name(name)})"))
                allowed = {0}.union(*(self.counts[oid] for oid in oids))
                if count not in allowed:
                    raise Fault("part of a table", f"{name} has {count} rows at the target, never had at the source:"
                                f" {sorted(allowed)[-9:]}\n{self.mirror.tail()}")

    def look_for_part_of_large(self):
        """What is copied for the first time is out of sight at every target, and nothing excuses a part."""
        if not self.mirror.into.exists():
            return
        with self.mirror.opened() as target:
            there = "public.large" in self.shown(target)
            count = int(target.value("(SELECT count(*) FROM public.large)")) if there else 0
        if count not in (0, LARGE_ROWS):
            raise Fault("part of a table", f"public.large has {count} rows after its first copy was interrupted\n"
                        f"{self.mirror.tail()}")

    def tells_of_a_copy(self, target, name):
        """At a PostgreSQL target a table that cannot be swapped is told to be under way."""
        if self.kind == "duckdb":
            return False
        schema, table = name.split(".")
        return target.query("SELECT 'x' FROM tailrace.tables WHERE NOT copied"
                            f" AND schema_name = '{schema}' AND table_name = '{table}'") != []

    def note_counts(self):
        """How many rows each table has after a transaction of the source."""
        tables = [table for table in read_tables(self.connection) if not table.is_partition]
        if not tables:
            return
        counted = self.connection.execute(" UNION ALL ".join(
            f"SELECT {table.oid}, count(*) FROM {table.sql}" for table in tables)).fetchall()
        for oid, count in counted:
            self.counts.setdefault(oid, set()).add(count)
        for table in tables:
            self.bearers.setdefault(table.qualified, set()).add(table.oid)

    def start_counts(self):
        """What was compared is the oldest state that may be seen from now on."""
        self.counts.clear()
        self.bearers.clear()
        self.note_counts()


def first_line(error):
    return str(error).splitlines()[0]


def quoted_name(name):
    return ".".join(map(quoted, name.split(".")))
