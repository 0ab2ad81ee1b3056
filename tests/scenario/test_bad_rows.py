"""What a PostgreSQL target refuses: it stops with one sentence, is left out, or waits in quarantine. Nothing is lost,
doubled or reordered by that."""
import re
import subprocess

import pytest

from tailrace import BINARY, run
from test_changes import wide
from test_postgres_target import follow, one_line
from test_restart import refused
from waiting import wait_until

pytestmark = pytest.mark.postgres

LSN = r"\b[0-9A-F]+/[0-9A-F]+\b"


def stopped_at(pair):
    """It has stopped by itself. Returns its last sentence and the position in it."""
    assert pair.mirror.wait_ended() == 3, pair.mirror.tail()
    lines = [line for line in pair.mirror.log_text().splitlines() if "source's transaction at" in line]
    assert lines, pair.mirror.tail()
    return lines[-1], re.search(rf"transaction at ({LSN})", lines[-1]).group(1)


def command(pair, name, *arguments):
    return run(name, "-c", pair.mirror.config, *arguments)


def skip(pair, lsn):
    outcome = command(pair, "skip", "--lsn", lsn)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def replay(pair, *arguments):
    outcome = command(pair, "replay", *arguments)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def kept(pair, columns="operation"):
    """What is in quarantine, in order."""
    return pair.mirror.into.execute(f"SELECT {columns} FROM tailrace.quarantine ORDER BY number")


def quarantining(pair, then="hold"):
    """Two tables that flow, of which the target takes no n above 1000 in t."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, n int, body text);"
                 "INSERT INTO t SELECT i, i, 'b' || i FROM generate_series(1, 50) i;"
                 "CREATE TABLE other (id int PRIMARY KEY, n int); INSERT INTO other VALUES (1, 1)")
    pair.mirror.configure(on_error="quarantine", quarantine={"then": then})
    follow(pair)
    pair.mirror.into.execute("ALTER TABLE t ADD CONSTRAINT low CHECK (n < 1000)")


# The sentence ---------------------------------------------------------------------------------------------

# name: (at the target, the bad transaction, words of the sentence)
REFUSALS = {
    "check": ("ALTER TABLE t ADD CONSTRAINT low CHECK (n < 1000)", "INSERT INTO t VALUES (400, 5000, 'x')",
              ["public.t", "INSERT", "(id)=(400)", "low"]),
    "unique": (
        "ALTER TABLE t ADD CONSTRAINT once UNIQUE (n)", "UPDATE t SET n = 1 WHERE id = 2",
        ["update_exists", "public.t", '{"id": 2}', "once"]),
    "too long": ("ALTER TABLE t ALTER body TYPE varchar(5)", "UPDATE t SET body = 'too long for it' WHERE id = 3",
                 ["public.t", "UPDATE", "(id)=(3)", "too long"]),
    "out of range": ("ALTER TABLE t ALTER n TYPE smallint", "INSERT INTO t VALUES (70000, 70000, 'x')",
                     ["public.t", "INSERT", "(id)=(70000)", "out of range"]),
    "trigger": ("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'we take no %', NEW.n; END $$;"
                "CREATE TRIGGER no BEFORE UPDATE ON t FOR EACH ROW WHEN (NEW.n = 13) EXECUTE FUNCTION no();"
                "ALTER TABLE t ENABLE REPLICA TRIGGER no", "UPDATE t SET n = 13 WHERE id = 4",
                ["public.t", "UPDATE", "(id)=(4)", "we take no 13"]),
    "missing row": ("DELETE FROM t WHERE id = 5", "DELETE FROM t WHERE id = 5",
                    ["delete_missing", "public.t", '{"id": 5}']),
    "deferred to the commit": (
        "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'far too late'; END $$;"
        "CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
        " WHEN (NEW.n = 13) EXECUTE FUNCTION late(); ALTER TABLE t ENABLE REPLICA TRIGGER late",
        "UPDATE t SET n = 13 WHERE id = 4", ["refused at its end", "far too late"]),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_one_sentence_and_a_skip(pair, case):
    """Row, constraint and position are named, also of one transaction among many at once; and it alone can be left
    out."""
    at_target, bad, words = REFUSALS[case]
    pair.mirror.configure(conflicts={"policy": "error"})
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, n int, body text);"
                 "INSERT INTO t SELECT i, i, 'b' || i FROM generate_series(1, 100) i")
    follow(pair)
    pair.mirror.stop()
    pair.mirror.into.execute(at_target)
    pair.execute("UPDATE t SET n = n + 200 WHERE id > 50")
    pair.execute(f"BEGIN; INSERT INTO t VALUES (200, 400, 'same'); {bad}; COMMIT")
    pair.execute("INSERT INTO t SELECT i, i + 200, 'b' FROM generate_series(300, 350) i")
    refused(pair, *words, code=3)
    told, lsn = stopped_at(pair)
    assert all(word in told for word in words), told
    assert f"tailrace skip SOURCE TARGET --lsn {lsn}" in pair.mirror.log_text()
    assert "left out whole" in skip(pair, lsn)
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    note, = pair.mirror.status()["skips"]
    assert (note["lsn"], note["state"]) == (lsn, "used")
    assert note["left_out"] == "public.t: " + ("2 INSERT" if bad.startswith("INSERT") else f"1 INSERT 1 {bad[:6]}")
    assert one_line(pair.mirror.log_text(), "left out", lsn, note["left_out"])
    others = "SELECT * FROM t WHERE id NOT IN (2, 3, 4, 5, 200, 400, 70000) ORDER BY id"
    assert pair.mirror.into.execute(others) == pair.execute(others)
    assert pair.mirror.into.value("(SELECT count(*) FROM t WHERE id IN (200, 400, 70000))") == "0"


def test_a_key_that_is_null_at_the_source(pair):
    """The target's own key names rows; one without it was left out, and is missing when it goes among many."""
    pair.execute("CREATE TABLE t (id int, n int); ALTER TABLE t REPLICA IDENTITY FULL;"
                 "INSERT INTO t SELECT i, i FROM generate_series(1, 100) i")
    follow(pair)
    pair.mirror.stop()
    pair.mirror.into.execute("ALTER TABLE t ADD PRIMARY KEY (id)")
    pair.mirror.start()
    pair.execute("INSERT INTO t VALUES (NULL, 7)")
    skip(pair, stopped_at(pair)[1])
    pair.mirror.start()
    pair.execute("DELETE FROM t WHERE n BETWEEN 5 AND 80")
    pair.mirror.wait_caught_up(pair.cluster)
    assert pair.mirror.status()["conflicts"]["delete_missing"] == 1
    assert pair.mirror.into.value("(SELECT count(*) FROM t)") == "24"


def test_a_conflict_that_the_policy_refuses(pair):
    """Goes into quarantine like any other refusal."""
    pair.mirror.configure(on_error="quarantine", quarantine={"then": "continue"}, conflicts={"policy": "error"})
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v text);"
                 "INSERT INTO t SELECT i, 'v' FROM generate_series(1, 9) i")
    follow(pair)
    pair.mirror.into.execute("DELETE FROM t WHERE id = 5; INSERT INTO t VALUES (20, 'here')")
    pair.execute("UPDATE t SET v = 'w' WHERE id IN (4, 5)")
    pair.execute("INSERT INTO t VALUES (20, 'there')")
    pair.execute("UPDATE t SET v = 'x' WHERE id = 4")
    pair.mirror.wait_caught_up(pair.cluster)
    assert pair.mirror.table("public.t")["quarantined"] == 2
    assert not pair.mirror.polled()["in_step"]
    wait_until(lambda: "not in step: 2 changes in quarantine" in pair.mirror.text_status(), what="why it is not")
    pair.mirror.into.execute("INSERT INTO t VALUES (5, 'v'); DELETE FROM t WHERE id = 20")
    assert run("replay", "-c", pair.mirror.config).returncode == 0
    assert pair.settle() == 10


def test_a_conflict_beside_changes_that_wait(pair):
    """Is dealt with as the policy says and counted, as in a table of which nothing waits."""
    quarantining(pair, "continue")
    pair.execute("INSERT INTO t VALUES (60, 5000, 'bad')")
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.into.execute("DELETE FROM t WHERE id = 5; INSERT INTO t VALUES (70, 1, 'here')")
    pair.execute("INSERT INTO t VALUES (69, 2, 'a'), (70, 2, 'there'), (71, 2, 'b'); UPDATE t SET n = 0 WHERE id = 5")
    pair.mirror.wait_caught_up(pair.cluster)
    assert kept(pair, "(new_row ->> 'id')::int") == [(60,)]
    assert pair.mirror.into.execute("SELECT id, body FROM t WHERE id IN (5, 69, 70, 71) ORDER BY id") == [
        (69, "a"), (70, "there"), (71, "b")]
    assert pair.mirror.table("public.t")["conflicts"] == {"insert_exists": 1, "update_missing": 1}


def test_skips_that_cannot_be(pair):
    """Too early, or no position at all: refused. One at which nothing commits is said to be unused."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY)")
    assert command(pair, "skip", "--lsn", "0/1").returncode == 3, "there is nothing yet"
    follow(pair)
    for way in ("running", "stopped"):
        assert "behind the target's checkpoint" in command(pair, "skip", "--lsn", "0/1").stderr, way
        assert command(pair, "skip", "--lsn", "nonsense").returncode == 2
        assert command(pair, "skip").returncode == 2
        if way == "running":
            pair.mirror.stop()
    now = pair.value("SELECT (pg_current_wal_insert_lsn() + 1)::text")
    pair.execute("INSERT INTO t VALUES (0)")
    skip(pair, now)
    pair.mirror.start()
    pair.execute("INSERT INTO t VALUES (1)")
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.wait_status(lambda status: [skip["state"] for skip in status["skips"]] == ["unused"])
    assert one_line(pair.mirror.log_text(), now, "left out nothing")
    assert pair.settle() == 2


def test_any_target_can_leave_one_out(shop):
    """A DuckDB file keeps its notes as well. kill -9 when it is done: it is not done again."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    for i in (2, 3, 4):
        shop.execute(f"INSERT INTO t VALUES ({i})")
    begins = shop.execute("SELECT encode(substr(data, 2, 8), 'hex') FROM pg_logical_slot_peek_binary_changes("
                          f"'{shop.name}', NULL, NULL, 'proto_version', '1', 'publication_names', '{shop.name}')"
                          " WHERE get_byte(data, 0) = ascii('B')")
    third = int(begins[1][0], 16)
    skip(shop, f"{third >> 32:X}/{third & 0xffffffff:X}")
    for _ in range(2):
        shop.mirror.start()
        shop.mirror.wait_caught_up(shop.cluster)
        note, = shop.mirror.status()["skips"]
        assert (note["state"], note["left_out"]) == ("used", "public.t: 1 INSERT")
        shop.mirror.kill()
    assert shop.mirror.log_text().count("was left out") == 1
    assert shop.mirror.into.value("(SELECT count(*) FILTER (WHERE id = 3) * 10 + count(*) FROM public.t)") == "3"


@pytest.mark.parametrize("streaming", [True, False])
def test_a_large_transaction_is_left_out(pair_on, own_cluster, streaming):
    """It comes in several parts, between others, and the mirror is killed in the middle of leaving it out."""
    pair = pair_on(own_cluster(15, logical_decoding_work_mem="1MB"))
    pair.mirror.configure(streaming=streaming, limits={"batch": "1MB", "queue": "1MB"})
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, n int, body text); CREATE TABLE good (id int PRIMARY KEY);"
                 "INSERT INTO t SELECT i, i, 'b' || i FROM generate_series(1, 100) i")
    follow(pair)
    pair.mirror.into.execute("ALTER TABLE t ADD CONSTRAINT low CHECK (n < 1000000)")
    pair.mirror.stop()
    pair.execute("INSERT INTO good SELECT generate_series(1, 1000)")
    pair.execute("BEGIN; INSERT INTO t SELECT i, i, repeat('x', 100) FROM generate_series(1000, 80000) i;"
                 "UPDATE t SET n = 9999999 WHERE id = 7; INSERT INTO good VALUES (-1); COMMIT")
    pair.execute("INSERT INTO good SELECT generate_series(2001, 3000)")
    pair.mirror.start()
    _, lsn = stopped_at(pair)
    skip(pair, lsn)
    for _ in range(3):
        pair.mirror.start()
        wait_until(lambda: pair.mirror.status() or not pair.mirror.running(), what="a word of it", poll=0.005)
        pair.mirror.kill()
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    note, = pair.mirror.status()["skips"]
    assert note["left_out"] == "public.good: 1 INSERT; public.t: 79001 INSERT 1 UPDATE"
    assert pair.mirror.into.execute("SELECT count(*), sum(id) FROM good") == [(2000, 3001000)]
    assert pair.mirror.into.execute("SELECT count(*), max(n) FROM t") == [(100, 100)]


# Quarantine -----------------------------------------------------------------------------------------------

def test_a_table_is_held_and_the_others_flow(pair):
    """The bad change and all later ones of its table wait, in order, whatever they are; kill -9 doubles and loses none
    of them; once the target is mended, replay makes both sides equal."""
    quarantining(pair)
    pair.execute(f"INSERT INTO t SELECT 90, 90, {wide(1)}")
    pair.mirror.wait_caught_up(pair.cluster)
    pair.execute("BEGIN; INSERT INTO t VALUES (60, 60, 'good'); UPDATE t SET n = 5000 WHERE id = 1;"
                 "INSERT INTO other VALUES (2, 2); UPDATE t SET body = 'Größe', id = 61 WHERE id = 60; COMMIT")
    for step in range(3):
        pair.execute(f"UPDATE t SET n = n + 1 WHERE id = 90; INSERT INTO other VALUES ({step + 10}, 0)")
        pair.mirror.wait_caught_up(pair.cluster)
        pair.mirror.kill()
        pair.execute(f"DELETE FROM t WHERE id = {step + 2}")
        pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    state = pair.mirror.table("public.t")
    assert state["state"] == "stopped" and "(id)=(1)" in state["last_error"] and "low" in state["last_error"]
    assert state["quarantined"] == 8
    assert pair.mirror.table("public.other")["state"] == "streaming"
    assert "stopped" in run("status", *pair.mirror.named()).stdout
    others = "SELECT * FROM other ORDER BY id"
    assert pair.mirror.into.execute(others) == pair.execute(others)
    assert pair.mirror.into.execute("SELECT id, n FROM t WHERE id IN (1, 2, 60, 61) ORDER BY id") == [
        (1, 1), (2, 2), (60, 60)]
    assert [row[0] for row in kept(pair)] == ["update"] * 2 + ["update", "delete"] * 3
    bad, moved, toast = kept(pair, "sqlstate, error, new_row, old_row, commit_lsn, xid, commit_time::text, position,"
                                   " columns, table_name")[:3]
    assert bad[0] == "23514" and "low" in bad[1] and bad[2] == {"id": "1", "n": "5000", "body": "b1"}
    assert moved[:4] == (None, None, {"id": "61", "n": "60", "body": "Größe"}, {"id": "60"})
    assert bad[4:7] == moved[4:7] and (bad[7], moved[7]) == (1, 3), "one transaction, its second and fourth change"
    assert toast[2] == {"id": "90", "n": "91"}, "what did not change was not sent"
    assert [column["type"] for column in bad[8]] == ["integer", "integer", "text"]
    assert "NOT EQUAL" in pair.mirror.verify().stdout
    # Mended wrongly, it stays as it is, and the change is named.
    pair.mirror.into.execute("UPDATE t SET id = 70 WHERE id = 60; ALTER TABLE t DROP CONSTRAINT low")
    outcome = command(pair, "replay")
    assert outcome.returncode == 3 and "(id)=(60)" in outcome.stderr, outcome.stderr
    assert len(kept(pair)) == 8 and pair.mirror.table("public.t")["state"] == "stopped"
    assert pair.mirror.into.value("(SELECT n FROM t WHERE id = 1)") == "1"
    pair.mirror.into.execute("UPDATE t SET id = 60 WHERE id = 70")
    assert "public.t: 8 changes replayed" in replay(pair)
    pair.mirror.wait_status(lambda _: pair.mirror.table("public.t")["state"] == "streaming")
    assert pair.mirror.table("public.t")["last_error"] == ""
    pair.execute("UPDATE t SET n = n + 1")
    pair.mirror.wait_caught_up(pair.cluster)
    pair.verified()
    assert kept(pair) == []
    assert pair.settle() == 54


def test_replay_while_more_arrives(pair):
    """Changes that come meanwhile wait behind those that are held; a TRUNCATE keeps its place among them, and takes no
    other table's turn."""
    pair.execute("CREATE TABLE parent (id serial PRIMARY KEY, n int);"
                 "CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent);"
                 "INSERT INTO parent (n) VALUES (1), (2); INSERT INTO child VALUES (1, 1), (2, 2)")
    pair.mirror.configure(on_error="quarantine")
    follow(pair)
    pair.mirror.into.execute("ALTER TABLE child ADD CONSTRAINT low CHECK (id < 1000)")
    pair.execute("INSERT INTO child VALUES (5000, 1)")
    pair.execute("TRUNCATE parent RESTART IDENTITY CASCADE; INSERT INTO parent (n) VALUES (7)")
    pair.execute("INSERT INTO child VALUES (6000, 1)")
    pair.mirror.wait_caught_up(pair.cluster)
    assert kept(pair) == [("insert",), ("truncate",), ("insert",)]
    assert pair.mirror.into.execute("SELECT id, n FROM parent") == [(1, 7)]
    assert pair.mirror.into.execute("SELECT id FROM child ORDER BY id") == [(1,), (2,)]
    pair.mirror.into.execute("ALTER TABLE child DROP CONSTRAINT low")
    with pair.connect(autocommit=True) as connection:
        for i in range(10, 400):
            connection.execute(f"INSERT INTO child VALUES ({i}, 1); UPDATE child SET id = id + 10000 WHERE id = {i}")
            if i == 200:
                assert "public.child" in replay(pair)
    pair.mirror.wait_caught_up(pair.cluster)
    pair.verified()
    assert pair.settle() == 392


def test_only_the_bad_change(pair):
    """then: continue. Everything else of the table is applied, but for later changes of the same rows, which replay
    must not overwrite with older ones; it works when nothing runs too. What is kept may be dropped instead."""
    quarantining(pair, "continue")
    pair.execute("INSERT INTO t SELECT i, CASE WHEN i % 40 = 0 THEN 5000 ELSE i END, 'x'"
                 " FROM generate_series(100, 299) i")
    pair.execute("UPDATE t SET n = 0 WHERE id < 10; UPDATE t SET n = 6000 WHERE id = 20;"
                 "UPDATE t SET n = 20 WHERE id = 20; UPDATE t SET id = 21000 WHERE id = 20")
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.kill()
    pair.mirror.start()
    pair.execute("UPDATE t SET n = 21 WHERE id = 21000; INSERT INTO t VALUES (20, 20, 'again')")
    pair.mirror.wait_caught_up(pair.cluster)
    assert [row[0] for row in kept(pair, "(new_row ->> 'id')::int")] == [
        120, 160, 200, 240, 280, 20, 20, 21000, 21000, 20]
    state = pair.mirror.table("public.t")
    assert (state["state"], state["quarantined"]) == ("streaming", 10) and "(id)=(20)" in state["last_error"]
    assert pair.mirror.into.execute("SELECT count(*), min(n) FROM t") == [(245, 0)]
    assert pair.mirror.into.value("(SELECT n FROM t WHERE id = 20)") == "20"
    pair.mirror.stop()
    pair.mirror.into.execute("ALTER TABLE t DROP CONSTRAINT low")
    assert "nothing" in replay(pair, "--table", "public.other")
    assert command(pair, "replay", "--table", "public.none").returncode == 3
    assert "public.t: 10 changes replayed" in replay(pair, "--table", "public.t")
    pair.mirror.start()
    assert pair.settle() == 252
    # A TRUNCATE must not pass what waits, nor anything pass it. Dropped, the target's rows stay as they were.
    pair.mirror.into.execute("ALTER TABLE t ADD CONSTRAINT low CHECK (n < 1000) NOT VALID")
    pair.mirror.start()
    pair.execute("INSERT INTO t VALUES (1000, 5000, 'dropped')")
    pair.execute("TRUNCATE t")
    pair.execute("INSERT INTO t VALUES (1, 1, 'last')")
    pair.mirror.wait_caught_up(pair.cluster)
    assert kept(pair) == [("insert",), ("truncate",), ("insert",)]
    assert "3 changes dropped" in replay(pair, "--discard")
    assert kept(pair) == []
    pair.execute("INSERT INTO t VALUES (2000, 2, 'flows')")
    pair.mirror.wait_caught_up(pair.cluster)
    assert pair.mirror.into.value("(SELECT count(*) FROM t)") == "252"


def test_what_holds_a_table_that_goes_on(pair):
    """then: continue, up to a TRUNCATE that the target refuses, or to so many changes that merely wait."""
    quarantining(pair, "continue")
    pair.mirror.into.execute("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$;"
                             "CREATE TRIGGER no BEFORE TRUNCATE ON other EXECUTE FUNCTION no();"
                             "ALTER TABLE other ENABLE ALWAYS TRIGGER no")
    pair.execute("TRUNCATE other")
    pair.execute("INSERT INTO other VALUES (1, 2)")
    pair.execute("INSERT INTO t VALUES (60, 5000, 'bad')")
    pair.execute("DO $$ BEGIN FOR i IN 1..10010 LOOP UPDATE t SET n = i WHERE id = 60; END LOOP;"
                 "DELETE FROM t WHERE id = 2; END $$")
    pair.mirror.wait_caught_up(pair.cluster)
    assert kept(pair, "operation, error LIKE '%never%'")[:2] == [("truncate", True), ("insert", None)]
    states = [pair.mirror.table(f"public.{name}") for name in ("other", "t")]
    assert [(state["state"], state["quarantined"]) for state in states] == [("stopped", 2), ("stopped", 10012)]
    pair.mirror.into.execute("DROP TRIGGER no ON other; ALTER TABLE t DROP CONSTRAINT low")
    replay(pair)
    assert pair.settle() == 51


def test_rows_that_are_named_in_another_way(pair):
    """then: continue. Once the replica identity is another, or the format of the stream, nobody knows which changes
    are of rows in quarantine: the table is held. A refusal of the replay is told; it changes and ends nothing."""
    quarantining(pair, "continue")
    pair.execute("CREATE TYPE kind AS ENUM ('one', 'two'); CREATE TABLE kinds (id kind PRIMARY KEY, n int);"
                 "INSERT INTO kinds VALUES ('one', 1), ('two', 2)")
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.into.execute("ALTER TABLE kinds ADD CONSTRAINT low CHECK (n < 1000)")
    pair.execute("UPDATE t SET n = 5000 WHERE id = 20; UPDATE kinds SET n = 5000 WHERE id = 'one'")
    pair.execute("ALTER TABLE t ALTER body SET NOT NULL; CREATE UNIQUE INDEX by_body ON t (body);"
                 "ALTER TABLE t REPLICA IDENTITY USING INDEX by_body")
    pair.execute("UPDATE t SET n = 7 WHERE id = 20")
    pair.execute("UPDATE kinds SET n = 3 WHERE id = 'two'; UPDATE t SET n = 8 WHERE id = 21")
    pair.mirror.wait_caught_up(pair.cluster)
    assert kept(pair, "table_name, (new_row ->> 'n')::int") == [
        ("public.t", 5000), ("public.kinds", 5000), ("public.t", 7), ("public.t", 8)]
    state = pair.mirror.table("public.t")
    assert state["state"] == "stopped" and "replica identity" in state["last_error"], state
    outcome = command(pair, "replay", "--table", "public.t")
    assert outcome.returncode == 3 and "(id)=(20)" in outcome.stderr, outcome.stderr
    assert pair.mirror.running()
    pair.mirror.stop()
    pair.mirror.configure(on_error="quarantine", quarantine={"then": "continue"}, binary="off")
    pair.mirror.start()
    pair.execute("UPDATE kinds SET n = 4 WHERE id = 'one'")
    pair.mirror.wait_caught_up(pair.cluster)
    assert pair.mirror.table("public.kinds")["state"] == "stopped"
    pair.mirror.into.execute("ALTER TABLE t DROP CONSTRAINT low; ALTER TABLE kinds DROP CONSTRAINT low")
    assert "public.kinds: 2 changes replayed" in replay(pair)
    assert pair.settle() == 53


def test_a_bad_change_late_in_a_large_transaction(pair_on, own_cluster):
    """Its earlier parts are lost with the attempt, and come again: that ends."""
    pair = pair_on(own_cluster(15, logical_decoding_work_mem="1MB"))
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, n int, body text); CREATE TABLE other (id int PRIMARY KEY)")
    pair.mirror.configure(on_error="quarantine", limits={"batch": "1MB", "queue": "1MB"})
    follow(pair)
    pair.mirror.into.execute("ALTER TABLE t ADD CONSTRAINT low CHECK (n < 1000000)")
    pair.execute("BEGIN; INSERT INTO t SELECT i, i, repeat('x', 100) FROM generate_series(1, 60000) i;"
                 "INSERT INTO other SELECT generate_series(1, 20000); UPDATE t SET n = 9999999 WHERE id = 7;"
                 "DELETE FROM t WHERE id BETWEEN 8 AND 9; COMMIT")
    pair.mirror.wait_caught_up(pair.cluster)
    assert kept(pair, "operation, position") == [("update", 80000), ("delete", 80001), ("delete", 80002)]
    assert pair.mirror.into.execute("SELECT count(*) FROM other") == [(20000,)]
    assert pair.mirror.log_text().count("going back to the checkpoint") <= 3
    pair.mirror.into.execute("ALTER TABLE t DROP CONSTRAINT low")
    replay(pair)
    assert pair.settle() == 79998


def test_a_held_table_is_copied_anew(pair):
    """Also the way out where its definition changed meanwhile, which replay refuses to guess about."""
    quarantining(pair)
    pair.execute("INSERT INTO t VALUES (60, 5000, 'x')")
    pair.execute("ALTER TABLE t ADD extra int DEFAULT 5; UPDATE t SET n = 1 WHERE id = 2")
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.into.execute("ALTER TABLE t DROP CONSTRAINT low")
    outcome = command(pair, "replay")
    assert outcome.returncode == 3 and "changed its definition" in outcome.stderr, outcome.stderr
    pair.mirror.stop()
    with open(pair.mirror.log, "ab") as log:
        pair.mirror.process = subprocess.Popen([BINARY, "run", "-c", pair.mirror.config, "--recopy", "public.t"],
                                               stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    pair.mirror.wait_caught_up(pair.cluster)
    assert one_line(pair.mirror.log_text(), "2 changes in quarantine", "begins anew")
    assert kept(pair) == [] and pair.mirror.table("public.t")["state"] == "streaming"
    assert pair.settle() == 52


def test_quarantine_is_for_postgresql(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("source: postgres://h/d\ntarget: duckdb:x.duckdb\non_error: quarantine\n")
    outcome = run("config", "check", "-c", config)
    assert outcome.returncode == 2 and "on_error" in outcome.stderr and "PostgreSQL targets" in outcome.stderr
