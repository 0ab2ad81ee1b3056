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

BOTH = ["duckdb", "postgres"]
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
        yield proxy
        proxy.restore()
    mirror.source = shop.url
    mirror.configure()


def end(mirror, how):
    mirror.process.send_signal(how)
    mirror.process.wait(timeout=20 * PATIENCE)
    return mirror.process.returncode


def last_line(mirror):
    return mirror.log_text().splitlines()[-1]


def refusal(mirror):
    """What it ended with, and the remedy."""
    return " ".join(mirror.log_text().splitlines()[-2:])


def hidden_schemas(mirror):
    return mirror.into.query("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tailrace\\_copy%'")


ENDS = pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["sigterm", "kill9"])


@pytest.mark.parametrize("kind", BOTH)
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


@pytest.mark.parametrize("kind", BOTH)
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


@pytest.mark.parametrize("kind", BOTH)
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


@pytest.mark.postgres
def test_a_stop_while_the_target_is_away(pair, own_cluster):
    """In the middle of the first copy: what is known of it is said, and it is not that all is well."""
    pair.target_on(own_cluster())
    pair.execute(SOURCE)
    with stalled_at_the_last_leaf(pair):
        pair.target_server.stop("immediate")
    pair.mirror.wait_status(lambda status: status["state"] == "reconnecting", what="it tries again")
    assert end(pair.mirror, signal.SIGTERM) == UNFINISHED
    assert "not yet: public.other, public.parted" in last_line(pair.mirror)
    # Nor where nothing at all is known.
    pair.mirror.start()
    wait_until(lambda: "trying again" in pair.mirror.log_text().rsplit("run again to go on", 1)[1],
               what="it tries again")
    assert end(pair.mirror, signal.SIGTERM) == UNFINISHED
    assert "not known" in last_line(pair.mirror)
    pair.target_server.start()
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    # All was copied when it went away.
    pair.target_server.stop("immediate")
    pair.mirror.wait_status(lambda status: status["state"] == "reconnecting", what="it tries again")
    assert end(pair.mirror, signal.SIGTERM) == 0
    pair.target_server.start()
    assert pair.compared() == 3500


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


ALTERATIONS = ["ALTER TABLE other ADD n int DEFAULT 5", "ALTER TABLE other DROP v", "ALTER TABLE other RENAME v TO w",
               "ALTER TABLE other ALTER v TYPE varchar(40)", "CREATE INDEX by_v ON other (v)", "DROP INDEX other_v",
               "ALTER TABLE other RENAME TO another", "DROP TABLE other CASCADE",
               "ALTER TABLE parted DETACH PARTITION parted_2", "ALTER TABLE parted ADD n int DEFAULT 5",
               "CREATE TABLE third (id int PRIMARY KEY)"]
# What the source has no more stays there: empty, where it was never filled.
LEFT_AT_THE_TARGET = ["ALTER TABLE other RENAME TO another", "DROP TABLE other CASCADE"]


@pytest.mark.postgres
@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_a_source_that_is_altered_after_a_kill(pair, alteration):
    """What was made out of sight, and not noted as anybody's, is as the source was."""
    pair.execute(SOURCE + "CREATE INDEX other_v ON other (v); CREATE VIEW ids AS SELECT id FROM other")
    pair.mirror.env = killed_at("postgres.structure.committed")
    pair.mirror.start()
    assert pair.mirror.wait_ended() == -signal.SIGKILL
    pair.mirror.env = {}
    pair.execute(alteration)
    pair.mirror.start()
    rows = pair.settle()
    assert rows == (3000 if alteration.startswith("DROP TABLE") else 3500)
    assert hidden_schemas(pair.mirror) == []
    if alteration not in LEFT_AT_THE_TARGET:
        compare_structure(pair.cluster, pair.name, pair.mirror.into.cluster, pair.mirror.into.database)


MOVES = {
    "renamed": "ALTER TABLE other RENAME TO another; ALTER TABLE parted RENAME TO parted_before",
    "renamed_and_made": "ALTER TABLE other RENAME TO another; CREATE TABLE other (id bigint PRIMARY KEY, v numeric);"
                        "INSERT INTO other VALUES (1, 1.5)",
    "dropped_and_made": "DROP TABLE other CASCADE; CREATE TABLE other (id bigint PRIMARY KEY, v numeric UNIQUE);"
                        "INSERT INTO other VALUES (1, 1.5)",
    "traded": "ALTER TABLE other RENAME TO third; ALTER TABLE parted RENAME TO other;"
              "ALTER TABLE third RENAME TO parted",
    "to_another_schema": "CREATE SCHEMA s; ALTER TABLE other SET SCHEMA s",
    "other_indexes": "DROP INDEX other_v; CREATE INDEX by_id ON other (id DESC); ALTER TABLE other ADD UNIQUE (v);"
                     "ALTER TABLE child DROP CONSTRAINT child_other_fkey",
    "attached": "CREATE TABLE parted_3 (LIKE parted INCLUDING ALL); INSERT INTO parted_3 VALUES (1, 3, 'x');"
                "ALTER TABLE parted ATTACH PARTITION parted_3 FOR VALUES IN (3)",
    "attached_unfinished": "ALTER TABLE parted ATTACH PARTITION alone FOR VALUES IN (7)",
    "detached": "ALTER TABLE parted DETACH PARTITION parted_1",
    "detached_and_renamed": "ALTER TABLE parted DETACH PARTITION parted_1; ALTER TABLE parted_1 RENAME TO other_1;"
                            "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);"
                            "INSERT INTO parted VALUES (1, 1, 'x')",
    "detached_and_attached": "ALTER TABLE parted DETACH PARTITION parted_1;"
                             "ALTER TABLE parted ATTACH PARTITION parted_1 FOR VALUES IN (1, 8)",
    "detached_under_the_roots_name": "ALTER TABLE parted DETACH PARTITION parted_1;"
                                     "ALTER TABLE parted RENAME TO whole; ALTER TABLE parted_1 RENAME TO parted",
    "leaf_dropped": "DROP TABLE parted_1",
    "root_dropped": "ALTER TABLE parted DETACH PARTITION parted_1; DROP TABLE parted",
}


@pytest.mark.postgres
@pytest.mark.parametrize("move", MOVES)
def test_a_source_that_is_altered_in_the_middle_of_a_copy(pair, move):
    """What was out of sight and unfinished is as the source was, under the name that it had. It is made anew, under
    today's, with all that belongs to it."""
    pair.execute(SOURCE + "CREATE INDEX other_v ON other (v);"
                          "CREATE TABLE child (id int PRIMARY KEY, other int REFERENCES other);"
                          "CREATE TABLE alone (LIKE parted INCLUDING ALL); INSERT INTO alone VALUES (1, 7, 'x')")
    with stalled_at_the_last_leaf(pair):
        end(pair.mirror, signal.SIGKILL)
    pair.execute(MOVES[move])
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.wait_status(lambda status: status["in_step"], what="in step")
    log = pair.mirror.log_text()
    assert "left out of the target" not in log and "stays there" not in log and "held" not in log, pair.mirror.tail()
    pair.settle()
    assert hidden_schemas(pair.mirror) == []
    compare_structure(pair.cluster, pair.name, pair.mirror.into.cluster, pair.mirror.into.database)


@pytest.mark.postgres
def test_a_sequence_that_another_table_counts_by_outlives_an_unfinished_copy(pair):
    """The table that it came from is made anew; the one that was made LIKE it is whole, and keeps its default."""
    pair.execute(SOURCE + "CREATE TABLE like_other (LIKE other INCLUDING ALL)")
    with stalled_at_the_last_leaf(pair):
        end(pair.mirror, signal.SIGKILL)
    pair.mirror.start()
    pair.settle()
    pair.mirror.into.execute("INSERT INTO like_other (v) VALUES ('counted')")


@pytest.mark.postgres
@pytest.mark.parametrize("whole", (1, 5, 9))
def test_an_interrupted_structure_ends_like_the_source(pair, whole):
    """Identities, owned sequences, partitions, functions, views, policies: what was out of sight is like the rest. So
    is what inherits from a table that was whole."""
    pair.execute(rich_schema(15))
    pair.mirror.env = killed_at("postgres.copy.committed", whole + 1)
    pair.mirror.start()
    assert pair.mirror.wait_ended() == -signal.SIGKILL
    pair.mirror.env = {}
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster, timeout=120)
    pair.mirror.stop()
    into = pair.mirror.into
    compare_structure(pair.cluster, pair.name, into.cluster, into.database)
    assert hidden_schemas(pair.mirror) == []


@pytest.mark.postgres
def test_a_new_heir_of_tables_that_are_followed(pair):
    """It inherits at the target too, from both: columns, constraint and all."""
    pair.execute("CREATE TABLE one (id int PRIMARY KEY, v text CHECK (v <> ''));"
                 "CREATE TABLE two (id int PRIMARY KEY, n numeric(9, 2) NOT NULL)")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.execute("CREATE TABLE heir (own date, PRIMARY KEY (id)) INHERITS (one, two);"
                 "INSERT INTO heir VALUES (1, 'v', 1.5, '2026-11-30')")
    pair.mirror.wait_caught_up(pair.cluster)
    pair.execute("INSERT INTO one VALUES (1, 'parent'); INSERT INTO heir VALUES (2, 'w', 2.5, null);"
                 "UPDATE one SET v = v || '!'; DELETE FROM ONLY one")
    pair.settle()
    into = pair.mirror.into
    compare_structure(pair.cluster, pair.name, into.cluster, into.database)
    assert into.query("SELECT id, v FROM one ORDER BY 1") == [("1", "v!"), ("2", "w!")]


@pytest.mark.postgres
def test_heirs_of_what_was_not_copied_whole(pair):
    """A whole table that inherits from an unfinished one is made anew with it, and with those that inherit from both; a
    stranger's, who found out what it inherits from, stays with its rows."""
    pair.execute("CREATE TABLE base (id int PRIMARY KEY, v text);"
                 "INSERT INTO base SELECT i, 'base' FROM generate_series(1, 9) i;"
                 "CREATE TABLE heir (n int, PRIMARY KEY (id)) INHERITS (base);"
                 "INSERT INTO heir SELECT i, repeat('heir', 50), i FROM generate_series(1, 5000) i;"
                 "CREATE INDEX ON heir (n);"
                 "CREATE TABLE heir_of_heir (m int, PRIMARY KEY (id)) INHERITS (heir);"
                 "INSERT INTO heir_of_heir SELECT i, 'third', i, i FROM generate_series(1, 100) i")
    pair.mirror.configure(snapshot={"readers": 1})
    pair.mirror.env = killed_at("postgres.copy.committed")
    pair.mirror.start()
    assert pair.mirror.wait_ended() == -signal.SIGKILL
    pair.mirror.env = {}
    [[schema]] = hidden_schemas(pair.mirror)
    into = pair.mirror.into
    assert into.query("SELECT relname FROM pg_class WHERE relname LIKE '%heir%' AND relkind = 'r'"
                      " AND relnamespace = 'public'::regnamespace"), "one was whole"
    into.execute(f"CREATE TABLE of_a_stranger (x int) INHERITS ({schema}.base);"
                 "INSERT INTO of_a_stranger VALUES (1, 'mine', 1);"
                 "CREATE TABLE another_of_his (x int) INHERITS (heir);"
                 "INSERT INTO another_of_his VALUES (1, 'mine', 1, 1)")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    assert into.query("SELECT * FROM of_a_stranger") == [("1", "mine", "1")]
    assert into.query("SELECT * FROM another_of_his") == [("1", "mine", "1", "1")]
    into.execute("DROP TABLE of_a_stranger, another_of_his")
    pair.settle()
    assert hidden_schemas(pair.mirror) == []
    compare_structure(pair.cluster, pair.name, into.cluster, into.database)


CHANGES = {
    "another_name": "ALTER TABLE other RENAME TO another",
    "traded_names": "ALTER TABLE other RENAME TO aside; ALTER TABLE parted RENAME TO other;"
                    " ALTER TABLE aside RENAME TO parted",
    "another_table": "DROP TABLE other; CREATE TABLE other (id int PRIMARY KEY, n int);"
                     " INSERT INTO other SELECT i, i FROM generate_series(1, 500) i",
    "another_column": "ALTER TABLE other DROP v, ADD n int",
    "a_leaf_by_itself": "ALTER TABLE parted DETACH PARTITION parted_1",
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
    """His table stays as it is, the source's is held, and nothing else is; a start does not copy it in vain."""
    pair.execute(SOURCE + "CREATE INDEX by_v ON parted (v)")

    def check():
        status = pair.mirror.wait_status(
            lambda it: it["state"] == "streaming"
            and {table["state"] for table in it["tables"]} <= {"held", "streaming"},
            what="the others flow, and it was tried")
        assert not status["in_step"]
        states = {table["name"]: table["state"] for table in status["tables"]}
        assert states == {"parted": "held", "other": "streaming"}
        assert seen(pair.mirror, "other") == 500
        assert pair.mirror.into.query("SELECT mine FROM parted") == [("mine",)]
        assert pair.mirror.into.query("SELECT indexname FROM pg_indexes WHERE tablename = 'parted'") == []
        assert hidden_schemas(pair.mirror) == []
        pair.mirror.stop()

    with stalled_at_the_last_leaf(pair) as proxy:
        pair.mirror.into.execute("CREATE TABLE parted (mine text, v text); INSERT INTO parted VALUES ('mine')")
        proxy.restore()
        check()
    copied = pair.mirror.log_text().count("rows copied")
    pair.mirror.start()
    check()
    assert pair.mirror.log_text().count("rows copied") == copied
    assert "took meanwhile" in pair.mirror.log_text()
    pair.mirror.into.execute("ALTER TABLE parted RENAME TO his")
    pair.mirror.start("--recopy", "public.parted")
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


# What was never whole is not taken for whole where nothing is copied -------------------------------------------------


def refused_without_copying(shop, words="taken for all"):
    """The start with snapshot.enabled: off after the interruption is refused, and one with it makes all whole."""
    mirror = shop.mirror
    mirror.env = {}
    mirror.configure(snapshot={"enabled": False})
    for _ in range(2):  # a refusal changes nothing
        mirror.start()
        assert mirror.wait_ended() == 3, mirror.tail()
        assert words in refusal(mirror) and "snapshot: {enabled: on}" in refusal(mirror), mirror.tail()
        for table, rows in WHOLE.items():
            assert seen(mirror, table) in (None, rows)
    mirror.configure()
    mirror.start()
    mirror.wait_caught_up(shop.cluster)
    assert shop.settle() == sum(WHOLE.values())


@pytest.mark.parametrize("kind", BOTH)
@ENDS
def test_a_start_that_copies_nothing(both, how):
    with stalled_at_the_last_leaf(both):
        end(both.mirror, how)
    refused_without_copying(both)


# Before the first row of any table, and between them.
BEFORE_WHOLE = [(kind, point) for kind, points in {
    "duckdb": ["duckdb.expect_copies.committed", "duckdb.initialize.committed", "duckdb.create_table.committed:1",
               "duckdb.finish_copy.committed:1"],
    "postgres": ["postgres.expect_copies.committed", "postgres.structure.committed", "copy.part.finished:1",
                 "postgres.copy.committed:1"]}.items() for point in points]


@pytest.mark.parametrize("kind, point", BEFORE_WHOLE)
def test_a_start_that_copies_nothing_after_each_step(both, point):
    both.mirror.env = killed_at(*point.split(":"))
    both.mirror.start()
    assert both.mirror.wait_ended() == -signal.SIGKILL, "the point was passed"
    refused_without_copying(both)


@pytest.mark.parametrize("kind, point", [("duckdb", "duckdb.create_table.committed"),
                                         ("duckdb", "duckdb.finish_copy.committed"),
                                         ("postgres", "postgres.structure.committed"),
                                         ("postgres", "postgres.copy.committed")])
def test_a_start_that_copies_nothing_after_a_snapshot(both, point):
    """The slot is older than it, as the guide says."""
    mirror = both.mirror
    both.execute(f"CREATE PUBLICATION {both.name} FOR TABLE parted, other WITH (publish_via_partition_root)")
    both.execute(f"SELECT pg_create_logical_replication_slot('{both.name}', 'pgoutput')")
    mirror.env = killed_at(point)
    mirror.start(command="snapshot")
    assert mirror.wait_ended() == -signal.SIGKILL, "the point was passed"
    refused_without_copying(both)


@pytest.mark.parametrize("kind", BOTH)
def test_nothing_is_copied_anew_where_nothing_is_copied(both):
    """Neither asked for nor after a recopy that was interrupted, and a table that is whole is not marked by asking."""
    mirror = both.mirror
    mirror.start()
    mirror.wait_caught_up(both.cluster)
    mirror.stop()
    mirror.configure(snapshot={"enabled": False})
    mirror.start("--recopy", "public.parted")
    assert mirror.wait_ended() == 3 and "snapshot: {enabled: on}" in refusal(mirror)
    mirror.start()
    mirror.wait_caught_up(both.cluster)
    mirror.stop()
    mirror.configure()
    with stalled_at_the_last_leaf(both, "--recopy", "public.parted"):
        end(mirror, signal.SIGKILL)
    mirror.configure(snapshot={"enabled": False})
    mirror.start()
    assert mirror.wait_ended() == 3 and "public.parted" in refusal(mirror)
    assert "snapshot: {enabled: on}" in refusal(mirror) and seen(mirror, "other") == 500
    mirror.configure()
    mirror.start()
    assert both.settle() == 3500
