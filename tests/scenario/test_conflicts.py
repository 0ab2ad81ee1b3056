"""Somebody else writes to the target too. Invariant: every row that is not as the source expects is dealt with as the
policy says, is counted under PostgreSQL 18's name for it, and nothing else of the transaction is touched."""
import json
import re

import pytest

from cluster import PgCluster
from conflicting import Nodes
from tailrace import run
from test_postgres_target import one_line
from waiting import wait_until

pytestmark = pytest.mark.postgres

ROWS = "CREATE TABLE t (id int PRIMARY KEY, code text UNIQUE, v text)"
# kind: (what the target does by itself, what the source does, whose row the first id is about)
KINDS = {
    "insert_exists": ("INSERT INTO t VALUES (1001, 'mine', 'local')",
                      "INSERT INTO t VALUES (1001, 'theirs', 'remote')"),
    "update_exists": ("INSERT INTO t VALUES (1002, 'taken', 'local')", "UPDATE t SET code = 'taken' WHERE id = 2"),
    "update_missing": ("DELETE FROM t WHERE id = 3", "UPDATE t SET v = 'remote' WHERE id = 3"),
    "delete_missing": ("DELETE FROM t WHERE id = 4", "DELETE FROM t WHERE id = 4"),
    "update_origin_differs": ("UPDATE t SET v = 'local' WHERE id = 5", "UPDATE t SET v = 'remote' WHERE id = 5"),
    "delete_origin_differs": ("UPDATE t SET v = 'local' WHERE id = 6", "DELETE FROM t WHERE id = 6"),
    "multiple_unique_conflicts": ("INSERT INTO t VALUES (1007, 'seven', 'local'), (1008, 'eight', 'local')",
                                  "INSERT INTO t VALUES (1007, 'eight', 'remote')"),
}
REMOTE = {1001: ("theirs", "remote"), 2: ("taken", "copied"), 5: ("c5", "remote"), 1007: ("eight", "remote")}
LOCAL = {1001: ("mine", "local"), 2: ("c2", "copied"), 5: ("c5", "local"), 6: ("c6", "local"),
         1002: ("taken", "local"), 1007: ("seven", "local"), 1008: ("eight", "local")}
OTHERS = "UPDATE t SET v = v || '!' WHERE id > 100 AND id < 1000"
REPLICA_TRIGGER = """
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER seen AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION nothing();
ALTER TABLE t ENABLE REPLICA TRIGGER seen"""
MODES = ["set", "rows", "few"]


@pytest.fixture(scope="module")
def timed():
    """A server that remembers when rows were written."""
    with PgCluster(15, track_commit_timestamp="on") as cluster:
        yield cluster


@pytest.fixture
def timed_pair(pair_on, timed):
    return pair_on(15, timed)


def followed(pair, mode="set", **conflicts):
    pair.execute(ROWS + "; INSERT INTO t SELECT i, 'c' || i, 'copied' FROM generate_series(1, 300) i")
    pair.mirror.configure(conflicts=conflicts)
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    if mode == "rows":
        pair.mirror.into.execute(REPLICA_TRIGGER)
    pair.mirror.stop()


def local(pair, kinds=KINDS):
    for kind in kinds:
        pair.mirror.into.execute(KINDS[kind][0])


def remote(pair, mode, kinds=KINDS):
    """Many changes in one transaction, for set-wise apply, or each in its own."""
    changes = [KINDS[kind][1] for kind in kinds]
    if mode == "few":
        for change in [*changes, OTHERS]:
            pair.execute(change)
    else:
        pair.execute(f"BEGIN; {OTHERS}; {'; '.join(changes)}; COMMIT")


def caught_up(pair):
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    return pair.mirror.status()


def rows(pair):
    """The rows at the target that conflicts were about, and that all others are as at the source."""
    assert pair.mirror.into.value("(SELECT count(*) FROM t WHERE v = 'copied!' AND id BETWEEN 101 AND 300)") == "200"
    return {int(key): (code, v) for key, code, v in pair.mirror.into.query(
        "SELECT id, code, v FROM t WHERE id > 1000 OR id IN (2, 3, 4, 5, 6)")}


def recorded(pair):
    return {kind: (resolution, key, here, there) for kind, resolution, key, here, there in pair.mirror.into.query(
        "SELECT kind, resolution, key, local_row->>'v', remote_row->>'v' FROM tailrace.conflicts")}


COUNTS = {kind: 1 for kind in KINDS}


@pytest.mark.parametrize("mode", MODES)
def test_apply_remote(timed_pair, mode):
    pair = timed_pair
    followed(pair, mode, record=True)
    local(pair)
    remote(pair, mode)
    status = caught_up(pair)
    assert rows(pair) == REMOTE
    assert status["conflicts"] == COUNTS
    assert status["tables"][0]["conflicts"] == COUNTS
    log = recorded(pair)
    assert set(log) == set(KINDS)
    assert log["insert_exists"][1:] == ('{"id": 1001}', "local", "remote")
    assert log["update_origin_differs"][1:] == ('{"id": 5}', "local", "remote")
    assert log["delete_missing"][1:] == ('{"id": 4}', None, None)
    assert log["update_missing"] == ("skipped", '{"id": 3}', None, "remote")
    for kind in KINDS:
        assert one_line(pair.mirror.log_text(), kind, "public.t", '{"id": '), pair.mirror.tail()
    # Afterwards all goes on as if nothing had been; the rows that were mended are the source's own again.
    pair.execute("INSERT INTO t VALUES (3000, 'later', 'later'); DELETE FROM t WHERE id = 3;"
                 "INSERT INTO t VALUES (3, 'c3', 'back'); UPDATE t SET v = 'once more' WHERE id IN (2, 5, 1001, 1007)")
    pair.settle()


@pytest.mark.parametrize("mode", MODES)
def test_keep_local(timed_pair, mode):
    pair = timed_pair
    followed(pair, mode, policy="keep_local")
    local(pair)
    remote(pair, mode)
    status = caught_up(pair)
    assert rows(pair) == LOCAL
    assert status["conflicts"] == COUNTS


@pytest.mark.parametrize("mode", MODES)
def test_the_last_or_the_first_wins(timed_pair, mode):
    """The clock of the two commits decides, also about what is deleted."""
    pair = timed_pair
    followed(pair, mode, policy="last_update_wins")
    local(pair)
    remote(pair, mode)
    status = caught_up(pair)
    # That the row was deleted is known, and when: before it was updated there.
    missing = {("update_deleted" if kind == "update_missing" else kind): 1 for kind in KINDS}
    assert rows(pair) == {**REMOTE, 3: ("c3", "remote")}
    assert status["conflicts"] == missing
    pair.mirror.stop()
    pair.execute("TRUNCATE t; INSERT INTO t SELECT i, 'c' || i, 'copied' FROM generate_series(1, 300) i")
    caught_up(pair)
    pair.mirror.stop()
    remote(pair, mode)
    local(pair)
    status = caught_up(pair)
    assert rows(pair) == LOCAL
    assert status["conflicts"] == missing


@pytest.mark.parametrize("mode", MODES)
def test_the_first_wins(timed_pair, mode):
    pair = timed_pair
    followed(pair, mode, policy="first_update_wins")
    local(pair)
    remote(pair, mode)
    caught_up(pair)
    assert rows(pair) == LOCAL
    pair.mirror.stop()
    pair.execute("TRUNCATE t; INSERT INTO t SELECT i, 'c' || i, 'copied' FROM generate_series(1, 300) i")
    caught_up(pair)
    pair.mirror.stop()
    remote(pair, mode)
    local(pair)
    caught_up(pair)
    assert rows(pair) == {**REMOTE, 3: ("c3", "remote")}


@pytest.mark.parametrize("mode", ["set", "few"])
def test_a_row_that_was_deleted_here_later_is_not_inserted(timed_pair, mode):
    """Nothing is in the way of the row, and nothing but the note of its deletion says that it must not come back."""
    pair = timed_pair
    followed(pair, policy="last_update_wins")
    many = "INSERT INTO t SELECT i, 'n' || i, 'copied' FROM generate_series(2001, 2100) i"
    pair.mirror.into.execute("INSERT INTO t VALUES (2005, 'x', 'local')")
    pair.execute(many if mode == "set" else "INSERT INTO t VALUES (2005, 'n', 'remote')")
    pair.mirror.into.execute("DELETE FROM t WHERE id = 2005")
    status = caught_up(pair)
    assert status["conflicts"] == {"insert_deleted": 1}
    assert pair.mirror.into.value("(SELECT count(*) FROM t WHERE id > 2000)") == ("99" if mode == "set" else "0")
    # One that is inserted again after that is.
    pair.execute("DELETE FROM t WHERE id = 2005; INSERT INTO t VALUES (2005, 'again', 'again')")
    pair.mirror.wait_caught_up(pair.cluster)
    assert pair.mirror.into.query("SELECT v FROM t WHERE id = 2005") == [("again",)]


@pytest.mark.parametrize("mode", ["set", "few"])
def test_error_stops_with_one_sentence(timed_pair, mode):
    pair = timed_pair
    followed(pair, policy="error")
    for kind, (here, there) in KINDS.items():
        pair.mirror.configure(conflicts={"policy": "error"})
        pair.mirror.into.execute(here)
        before = pair.mirror.into.query("SELECT * FROM t ORDER BY 1")
        remote(pair, mode, [kind])
        told = len(pair.mirror.log_text())
        pair.mirror.start()
        assert pair.mirror.wait_ended() > 0
        line = one_line(pair.mirror.log_text()[told:], f"conflict {kind} on public.t", '{"id": ', "policy")
        assert line and re.search(r"\b[0-9A-F]+/[0-9A-F]+\b", line), pair.mirror.tail()
        if mode == "set":
            assert pair.mirror.into.query("SELECT * FROM t ORDER BY 1") == before
        pair.mirror.configure()
        caught_up(pair)
        pair.mirror.stop()


def test_policies_of_inserts_and_of_tables(pair):
    """On a server that does not remember who wrote what: rows that are in the way or missing are seen all the same."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE kept (id int PRIMARY KEY, v text);"
                 "CREATE TABLE strict (id int PRIMARY KEY, v text); INSERT INTO kept VALUES (1, 'copied')")
    pair.mirror.configure(conflicts={"inserts": "nothing", "log": "info", "tables": [
        {"table": "public.kept", "policy": "keep_local", "inserts": "update"},
        {"table": "public.strict", "policy": "keep_local", "inserts": "error"}]})
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.into.execute("INSERT INTO t VALUES (5, 'local'); INSERT INTO kept VALUES (5, 'local');"
                             "UPDATE kept SET v = 'local' WHERE id = 1")
    pair.execute("INSERT INTO t SELECT i, 'remote' FROM generate_series(1, 100) i;"
                 "INSERT INTO kept VALUES (5, 'remote'); UPDATE kept SET v = 'remote' WHERE id = 1")
    pair.mirror.wait_caught_up(pair.cluster)
    assert pair.mirror.into.query("SELECT id, v FROM t WHERE v = 'local'") == [("5", "local")]
    assert pair.mirror.into.value("(SELECT count(*) FROM t WHERE v = 'remote')") == "99"
    # That somebody else wrote the row cannot be known here, so its update is none.
    assert pair.mirror.into.query("SELECT * FROM kept ORDER BY 1") == [("1", "remote"), ("5", "remote")]
    assert pair.mirror.status()["conflicts"] == {"insert_exists": 2}
    assert "insert_exists" in pair.mirror.text_status()
    pair.mirror.into.execute("INSERT INTO strict VALUES (1, 'local')")
    pair.execute("INSERT INTO strict VALUES (1, 'remote')")
    assert pair.mirror.wait_ended() > 0
    assert one_line(pair.mirror.log_text(), "conflict insert_exists on public.strict", '{"id": 1}')


def test_every_unique_index_is_looked_at(pair):
    """Expressions, predicates, several columns, NULLs; a row that is in nobody's way stays."""
    definition = ("CREATE TABLE t (id int PRIMARY KEY, email text, a int, b int, live bool);"
                  "CREATE UNIQUE INDEX ON t (lower(email)); CREATE UNIQUE INDEX ON t (a, b);"
                  "CREATE UNIQUE INDEX ON t ((a + b)) WHERE live")
    pair.execute(definition)
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.into.execute("INSERT INTO t VALUES (101, 'A', NULL, 1, false), (102, NULL, 1, 2, false),"
                             "(103, NULL, 30, 3, true), (104, NULL, NULL, NULL, true), (105, 'e', 30, 4, false)")
    pair.execute("INSERT INTO t VALUES (1, 'a', NULL, 1, false)")
    pair.execute("INSERT INTO t VALUES (2, NULL, 1, 2, false)")
    pair.execute("INSERT INTO t VALUES (3, NULL, 29, 4, true), (4, NULL, NULL, NULL, true), (5, 'f', 31, 3, false)")
    pair.mirror.wait_caught_up(pair.cluster)
    assert pair.mirror.into.query("SELECT id FROM t ORDER BY 1") == [
        ("1",), ("2",), ("3",), ("4",), ("5",), ("104",), ("105",)]
    assert pair.mirror.status()["conflicts"] == {"insert_exists": 3}


def test_a_replay_of_rows_that_somebody_mended(timed_pair):
    """Replay does what the source did, whoever wrote the rows meanwhile or deleted what was in the way."""
    pair = timed_pair
    pair.execute(ROWS + "; INSERT INTO t VALUES (1, 'one', 'copied'), (2, 'two', 'copied')")
    pair.mirror.configure(conflicts={"policy": "last_update_wins"}, on_error="quarantine")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.into.execute("ALTER TABLE t ADD CONSTRAINT good CHECK (v <> 'bad')")
    pair.execute("UPDATE t SET v = 'bad' WHERE id = 1")
    pair.execute("INSERT INTO t VALUES (3, 'three', 'new'); DELETE FROM t WHERE id = 2")
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.into.execute("ALTER TABLE t DROP CONSTRAINT good; UPDATE t SET v = 'mended' WHERE id IN (1, 2);"
                             "INSERT INTO t VALUES (3, 'three', 'mended'); DELETE FROM t WHERE id = 3")
    outcome = run("replay", "-c", pair.mirror.config)
    assert outcome.returncode == 0, outcome.stderr
    assert pair.settle() == 2


def test_a_conflict_late_in_a_large_transaction(pair_on, own_cluster):
    """The parts before it take longer than care is taken for: it is dealt with the second time all the same."""
    pair = pair_on(own_cluster(15, logical_decoding_work_mem="1MB"))
    pair.mirror.configure(limits={"batch": "1MB", "queue": "1MB"})
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE other (id int PRIMARY KEY, v text);"
                 "INSERT INTO t VALUES (1, 'copied'), (2, 'copied')")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.into.execute(
        "DELETE FROM t WHERE id = 2; CREATE SEQUENCE attempts;"
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF nextval('public.attempts') > 1 THEN PERFORM pg_sleep(4.5); END IF; RETURN NULL; END $$;"
        "CREATE TRIGGER slow AFTER INSERT ON other FOR EACH ROW WHEN (NEW.id = 0) EXECUTE FUNCTION slow();"
        "ALTER TABLE other ENABLE ALWAYS TRIGGER slow")
    pair.execute("BEGIN; INSERT INTO other VALUES (0, ''); UPDATE t SET v = 'changed' WHERE id = 1;"
                 "INSERT INTO other SELECT i, repeat('x', 100) FROM generate_series(1, 30000) i;"
                 "UPDATE t SET v = 'changed' WHERE id = 2; COMMIT")
    pair.mirror.wait_caught_up(pair.cluster)
    assert pair.mirror.into.value("(SELECT last_value FROM attempts)") == "2"
    assert pair.mirror.status()["conflicts"] == {"update_missing": 1}


def test_a_million_lines_are_not_written(pair):
    """Counted, all of them; told, the first."""
    followed(pair)
    pair.mirror.into.execute("DELETE FROM t")
    pair.execute("UPDATE t SET v = 'u'")
    status = caught_up(pair)
    assert status["conflicts"] == {"update_missing": 300}
    assert pair.mirror.log_text().count("update_missing") == 20


def test_times_that_are_not_known(pair, timed_pair):
    """A policy by time is refused where it could not be kept, before anything is applied."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY)")
    pair.mirror.configure(conflicts={"policy": "last_update_wins"})
    pair.mirror.start()
    assert pair.mirror.wait_ended() > 0
    assert "track_commit_timestamp = on" in pair.mirror.log_text()
    # A large value that did not change is not sent, and the row that it belongs to is gone.
    big = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 400) i)"
    timed_pair.execute(f"CREATE TABLE t (id int PRIMARY KEY, n int, v text); INSERT INTO t VALUES (1, 1, {big})")
    timed_pair.mirror.configure(conflicts={"policy": "last_update_wins"})
    timed_pair.mirror.start()
    timed_pair.mirror.wait_caught_up(timed_pair.cluster)
    timed_pair.mirror.into.execute("DELETE FROM t")
    timed_pair.execute("UPDATE t SET n = 2")
    assert timed_pair.mirror.wait_ended() > 0
    assert one_line(timed_pair.mirror.log_text(), "public.t", "column v", "REPLICA IDENTITY FULL")


def test_nothing_stays_behind(timed_pair):
    """Triggers, notes and origins go with teardown, and with a policy that does not need them."""
    pair = timed_pair
    followed(pair, policy="last_update_wins")
    triggers = "(SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'tailrace%')"
    assert pair.mirror.into.value(triggers) == "2"
    pair.mirror.into.execute("DELETE FROM t WHERE id = 1")
    assert json.loads(pair.mirror.into.value("(SELECT key FROM tailrace.deletions)")) == {"id": 1}
    pair.mirror.configure()
    caught_up(pair)
    assert pair.mirror.into.value(triggers) == "0"
    pair.mirror.stop()
    pair.mirror.configure(conflicts={"policy": "last_update_wins"})
    caught_up(pair)
    pair.mirror.stop()
    assert pair.mirror.teardown().returncode == 0
    assert pair.mirror.into.value(triggers) == "0"
    assert pair.mirror.into.value("to_regnamespace('tailrace')") is None
    origins = f"(SELECT count(*) FROM pg_replication_origin WHERE roname ~ 'tailrace_{pair.name}')"
    assert pair.mirror.into.value(origins) == "0"


def test_two_nodes_end_identical(pair_on, own_cluster):
    """Both write the same few keys at once, and the last one wins at both; the soak does it for minutes."""
    nodes = Nodes(pair_on, own_cluster)
    nodes.start()
    nodes.write(seconds=10)
    nodes.wait_identical()
    assert nodes.conflicts() > 50
    wait_until(lambda: nodes.there.running() and nodes.back.running(), what="both to run")
