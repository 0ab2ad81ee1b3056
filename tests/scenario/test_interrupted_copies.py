"""Copies that end before they are whole: by SIGTERM, by kill -9, at every durable step. Invariant: who asks for a table
by its name sees all of it as of one position, or no such table, never a part; and the next start makes it whole."""
import signal
import threading
from contextlib import contextmanager

import psycopg
import pytest

from conftest import Shop
from kill_points import killed_at
from proxy import Proxy
from structure import compare_structure, rich_schema
from tailrace import run
from waiting import PATIENCE, wait_until

KINDS = ["postgres"]
UNFINISHED = 6

# Leaves are copied one by one, in the order of their names.
SOURCE = """
CREATE TABLE parted (id int, part int, v text, PRIMARY KEY (part, id)) PARTITION BY LIST (part);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES IN (0);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
INSERT INTO parted SELECT i, i % 3, 'first ' || i FROM generate_series(1, 3000) i;
CREATE TABLE other (id serial PRIMARY KEY, v text);
INSERT INTO other (v) SELECT 'other ' || i FROM generate_series(1, 500) i;"""
WHOLE = {"parted": 3000, "other": 500}


@pytest.fixture
def both(kind, clusters, tmp_path):
    """A source with a target of each kind, whatever --target says."""
    made = Shop(clusters[15], tmp_path, clusters.target(15) if kind == "postgres" else None)
    made.execute(SOURCE)
    yield made
    made.close()


def seen(mirror, table):
    """How many rows a reader finds under the name; None where there is no such table, and while a file is in the hands
    of the process."""
    into = mirror.into
    if into.kind == "duckdb" and (mirror.running() or not into.exists()):
        return None
    with into.opened() as database:
        if ("public", table) not in [tuple(name) for name in database.tables()] and not (
                into.kind == "postgres" and database.value(f"to_regclass('public.{table}')")):
            return None
        return int(database.value(f"(SELECT count(*) FROM public.{table})"))


class Reader:
    """Asks a PostgreSQL target for the tables again and again, as any user would, and keeps what it saw."""

    def __init__(self, mirror):
        self.seen = {table: set() for table in WHOLE}
        self._mirror = mirror
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self):
        if self._mirror.into.kind == "postgres":
            self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def _ask(self):
        into = self._mirror.into
        with into.cluster.connect(into.database) as connection:
            while not self._end.wait(0.005):
                for table, counts in self.seen.items():
                    try:
                        counts.add(connection.execute(f"SELECT count(*) FROM public.{table}").fetchone()[0])
                    except psycopg.errors.UndefinedTable:
                        counts.add(None)


@contextmanager
def stalled_at_the_last_leaf(shop, *arguments, command="run"):
    """A started mirror that has copied all but the last leaf of one table, and nothing of the other. It hears nothing
    of its source any more until the end of the block."""
    mirror = shop.mirror
    with Proxy(shop.cluster.port) as proxy:
        mirror.source = shop.cluster.url(shop.name, port=proxy.port)
        mirror.configure(snapshot={"readers": 1})
        proxy.stall_at(b'copy "public"."parted_2"')
        mirror.start(*arguments, command=command)
        mirror.wait_status(lambda status: 2000 in [table["rows_copied"] for table in status["tables"]],
                           what="all but the last leaf")
        yield
        proxy.restore()
        if mirror.running():
            assert mirror.wait_ended() == 3
    mirror.source = shop.url
    mirror.configure()


def end(mirror, how):
    mirror.process.send_signal(how)
    mirror.process.wait(timeout=20 * PATIENCE)
    return mirror.process.returncode


def last_line(mirror):
    return mirror.log_text().splitlines()[-1]


def hidden_schemas(mirror):
    return mirror.into.query("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tailrace\\_copy%'")


ENDS = pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["sigterm", "kill9"])


@pytest.mark.parametrize("kind", KINDS)
@ENDS
def test_a_first_copy(both, how):
    with Reader(both.mirror) as reader:
        with stalled_at_the_last_leaf(both):
            end(both.mirror, how)
            assert seen(both.mirror, "parted") is None
            assert seen(both.mirror, "other") in (None, 500)
        both.mirror.start()
        both.mirror.wait_caught_up(both.cluster)
    both.execute("INSERT INTO parted VALUES (5000, 2, 'later'); INSERT INTO other (v) VALUES ('later')")
    assert both.settle() == 3502
    assert reader.seen["parted"] <= {None, 3000, 3001} and reader.seen["other"] <= {None, 500, 501}


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_what_a_stop_says(both):
    """Not 0, and by name what is missing; and the next start says what begins from zero."""
    with stalled_at_the_last_leaf(both):
        assert end(both.mirror, signal.SIGTERM) == UNFINISHED
    assert last_line(both.mirror) == ("tailrace: stopped: 0 of 2 tables are copied; not yet: public.other,"
                                      " public.parted; run again to go on")
    both.mirror.start()
    both.mirror.wait_caught_up(both.cluster)
    told = [line for line in both.mirror.log_text().splitlines() if "begin anew from their first rows" in line]
    assert told and "public.parted" in told[-1]
    both.mirror.stop()  # with 0
    with stalled_at_the_last_leaf(both, "--recopy", "public.parted"):
        assert end(both.mirror, signal.SIGINT) == UNFINISHED
    assert last_line(both.mirror) == ("tailrace: stopped: 1 of 2 tables is copied; not yet: public.parted;"
                                      " run again to go on")
    both.mirror.start()
    both.mirror.wait_caught_up(both.cluster)
    assert both.settle() == 3500


@pytest.mark.parametrize("kind", ["postgres"])
def test_a_snapshot(both):
    """It says the same, and the same command begins anew."""
    with Reader(both.mirror) as reader:
        with stalled_at_the_last_leaf(both, command="snapshot"):
            assert end(both.mirror, signal.SIGINT) == UNFINISHED
        assert last_line(both.mirror).startswith("tailrace: stopped: 0 of 2 tables are copied; not yet: public.other,")
        assert seen(both.mirror, "parted") is None
        both.execute("INSERT INTO parted VALUES (5000, 2, 'later')")
        both.mirror.start(command="snapshot")
        assert both.mirror.wait_ended() == 0
    assert both.compared() == 3501
    assert reader.seen["parted"] <= {None, 3001}


@pytest.mark.postgres
def test_somebody_has_a_lock_at_the_target(pair):
    """A copy that waits for it leaves all the same when it is asked to."""
    pair.execute(SOURCE)
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.stop()
    into = pair.mirror.into
    with into.cluster.connect(into.database, autocommit=False) as other:
        other.execute("SELECT count(*) FROM other")
        pair.mirror.start("--recopy", "public.other")
        wait_until(lambda: into.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                                      " AND datname = current_database()"), what="a wait for the lock")
        assert end(pair.mirror, signal.SIGTERM) == UNFINISHED
        assert "not yet: public.other" in last_line(pair.mirror)
    pair.mirror.start()
    assert pair.settle() == 3500


# Each durable step of a copy into PostgreSQL, and the second passage where the first is too early to tell.
POINTS = ["postgres.structure.made", "postgres.structure.committed", "copy.part.finished:1", "copy.part.finished:3",
          "postgres.copy.finished:1", "postgres.copy.finished:2", "postgres.copy.committed:1",
          "postgres.copy.committed:2"]


@pytest.mark.postgres
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_each_durable_step(pair, point):
    """And what was made out of sight is moved, kept or taken away, not left."""
    pair.execute(SOURCE)
    with Reader(pair.mirror) as reader:
        pair.mirror.env = killed_at(*point.split(":"))
        pair.mirror.start()
        assert pair.mirror.wait_ended() == -signal.SIGKILL, "the point was passed"
        for table, rows in WHOLE.items():
            assert seen(pair.mirror, table) in (None, rows)
        pair.mirror.env = {}
        pair.mirror.start()
        pair.mirror.wait_caught_up(pair.cluster)
    assert pair.settle() == 3500
    assert all(counts <= {None, WHOLE[table]} for table, counts in reader.seen.items()), reader.seen
    assert hidden_schemas(pair.mirror) == []
    compare_structure(pair.cluster, pair.name, pair.mirror.into.cluster, pair.mirror.into.database)


@pytest.mark.postgres
def test_an_interrupted_structure_ends_like_the_source(pair):
    """Identities, owned sequences, partitions, functions, views, policies: what was out of sight is like the rest."""
    pair.execute(rich_schema(15))
    pair.mirror.env = killed_at("postgres.copy.committed", 2)
    pair.mirror.start()
    assert pair.mirror.wait_ended() == -signal.SIGKILL
    pair.mirror.env = {}
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster, timeout=120)
    pair.mirror.stop()
    into = pair.mirror.into
    compare_structure(pair.cluster, pair.name, into.cluster, into.database)
    assert hidden_schemas(pair.mirror) == []


CHANGES = {
    "another_name": "ALTER TABLE other RENAME TO another",
    "traded_names": "ALTER TABLE other RENAME TO aside; ALTER TABLE parted RENAME TO other;"
                    " ALTER TABLE aside RENAME TO parted",
    "another_table": "DROP TABLE other; CREATE TABLE other (id int PRIMARY KEY, n int);"
                     " INSERT INTO other SELECT i, i FROM generate_series(1, 500) i",
    "another_column": "ALTER TABLE other DROP v, ADD n int",
}


@pytest.mark.postgres
@pytest.mark.parametrize("point", ["postgres.structure.committed", "copy.part.finished", "postgres.copy.finished"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_the_source_alters_meanwhile(pair, point, change):
    """What was made for the copy that did not end is as the source was then; keys and indexes too."""
    pair.execute(SOURCE)
    pair.mirror.env = killed_at(point)
    pair.mirror.start()
    assert pair.mirror.wait_ended() == -signal.SIGKILL, "the point was passed"
    pair.mirror.env = {}
    pair.execute(CHANGES[change])
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    assert pair.settle() == 3500
    assert hidden_schemas(pair.mirror) == []
    compare_structure(pair.cluster, pair.name, pair.mirror.into.cluster, pair.mirror.into.database)


@pytest.mark.postgres
def test_teardown_takes_away_what_is_out_of_sight(pair):
    pair.execute(SOURCE)
    pair.mirror.env = killed_at("copy.part.finished", 2)
    pair.mirror.start()
    assert pair.mirror.wait_ended() == -signal.SIGKILL
    assert run("teardown", "-c", pair.mirror.config).returncode == 0
    assert hidden_schemas(pair.mirror) == [] and seen(pair.mirror, "parted") is None
    assert pair.mirror.into.query("SELECT 1 FROM pg_namespace WHERE nspname = 'tailrace'") == []


@pytest.mark.postgres
def test_a_name_that_somebody_takes_meanwhile(pair):
    """His table stays as it is, and the copy says whose name it cannot have."""
    pair.execute(SOURCE)
    with stalled_at_the_last_leaf(pair):
        pair.mirror.into.execute("CREATE TABLE parted (mine text); INSERT INTO parted VALUES ('mine')")
    assert "public.parted" in pair.mirror.log_text() and "took meanwhile" in pair.mirror.log_text()
    assert pair.mirror.into.query("SELECT mine FROM parted") == [("mine",)]
    pair.mirror.into.execute("ALTER TABLE parted RENAME TO his")
    pair.mirror.start()
    assert pair.settle() == 3500
    assert pair.mirror.into.query("SELECT mine FROM his") == [("mine",)]


@pytest.mark.postgres
def test_a_table_that_is_not_wanted_any_more(pair):
    """It was being copied, and is dropped at the source before the next start: what leans on it can still be made."""
    pair.execute(SOURCE + "CREATE VIEW of_parted AS SELECT id FROM parted")
    pair.mirror.env = killed_at("copy.part.finished", 2)
    pair.mirror.start()
    assert pair.mirror.wait_ended() == -signal.SIGKILL
    pair.mirror.env = {}
    pair.execute("DROP TABLE parted CASCADE")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    assert seen(pair.mirror, "parted") in (None, 0)
    assert hidden_schemas(pair.mirror) == []
    assert pair.settle() == 500
