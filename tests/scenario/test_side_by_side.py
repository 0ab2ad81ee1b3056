"""Transactions reach a PostgreSQL target on several connections. Invariant: whatever touches the same row, unique value
or key keeps the source's order, and a source transaction is seen whole or not at all."""
import threading

import pytest

from lsn import lsn
from waiting import wait_until

pytestmark = pytest.mark.postgres

TABLES = """
CREATE TABLE few (id int PRIMARY KEY, v int, note text);
CREATE TABLE many (id bigint PRIMARY KEY, v int, pad text);
CREATE TABLE spelled (id numeric PRIMARY KEY, v int);
CREATE TABLE swapped (id int PRIMARY KEY, code int UNIQUE, v int);
CREATE TABLE twins (a int, b text); ALTER TABLE twins REPLICA IDENTITY FULL;
CREATE TABLE moving (a int, b int, v int, PRIMARY KEY (b, a)) PARTITION BY LIST (a);
CREATE TABLE moving_0 PARTITION OF moving FOR VALUES IN (0);
CREATE TABLE moving_1 PARTITION OF moving FOR VALUES IN (1);
CREATE TABLE ledger (side text PRIMARY KEY, total bigint);
INSERT INTO few SELECT g, 0, repeat('long ', 1000) FROM generate_series(1, 50) g;
INSERT INTO many SELECT g, 0, 'pad ' || g FROM generate_series(1, 20000) g;
INSERT INTO spelled SELECT g, 0 FROM generate_series(1, 300) g;
INSERT INTO swapped SELECT g, g, 0 FROM generate_series(1, 300) g;
INSERT INTO twins SELECT g % 20, 'x' FROM generate_series(1, 200) g;
INSERT INTO moving SELECT g % 2, g, 0 FROM generate_series(1, 300) g;
INSERT INTO ledger VALUES ('left', 1000000), ('right', 0)"""

# Each round is some thirty transactions; keys go, come back, are spelled otherwise, and unique values change hands.
ROUNDS = """DO $$ DECLARE r int; BEGIN FOR i IN 1 .. {rounds} LOOP
  FOR n IN 1 .. 8 LOOP
    UPDATE many SET v = v + 1, pad = pad || '.' WHERE id % 8 = n - 1
      AND id BETWEEN i * 37 % 15000 AND i * 37 % 15000 + 4000;
    UPDATE ledger SET total = total - n WHERE side = 'left'; UPDATE ledger SET total = total + n WHERE side = 'right';
    COMMIT;
  END LOOP;
  UPDATE few SET v = v + 1; COMMIT;
  DELETE FROM many WHERE id % 97 = i % 97; COMMIT;
  INSERT INTO many SELECT g, i, 'back' FROM generate_series(1, 20000) g WHERE g % 97 = i % 97; COMMIT;
  UPDATE many SET id = id + 100000 WHERE id BETWEEN i * 11 % 900 AND i * 11 % 900 + 200; COMMIT;
  UPDATE many SET id = id - 100000 WHERE id > 100000; COMMIT;
  DELETE FROM spelled WHERE id % 3 = i % 3; COMMIT;
  INSERT INTO spelled SELECT round(g, i % 4), i FROM generate_series(1, 300) g WHERE g % 3 = i % 3; COMMIT;
  UPDATE spelled SET v = v + 1; COMMIT;
  {swap}
  UPDATE swapped SET v = v + 1; COMMIT;
  DELETE FROM twins WHERE ctid IN (SELECT ctid FROM twins WHERE a = i % 20 LIMIT 3);
  INSERT INTO twins VALUES (i % 20, 'y'), (i % 20, 'y'), (i % 20, 'x'); COMMIT;
  UPDATE moving SET a = 1 - a, v = v + 1 WHERE b % 7 = i % 7; COMMIT;
  DELETE FROM few WHERE id = i % 50 + 1; COMMIT;
  INSERT INTO few VALUES (i % 50 + 1, i, repeat('again ', 500)); COMMIT;
END LOOP; END $$"""


# Which cannot be applied set-wise.
SWAP = """r := i % 290 + 1; UPDATE swapped SET code = -1 WHERE code = r; UPDATE swapped SET code = r WHERE code = r + 1;
  UPDATE swapped SET code = r + 1 WHERE code = -1; COMMIT;"""


def appliers(pair):
    return pair.mirror.into.value("(SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '% apply' AND"
                                  " datname = current_database())")


@pytest.mark.parametrize("connections", (1, 3))
def test_a_backlog(pair, connections):
    """Small batches, so that many are on their way at once."""
    pair.execute(TABLES)
    pair.mirror.configure(apply={"connections": connections}, limits={"batch": "1MB"})
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.stop()
    pair.execute(ROUNDS.format(rounds=16, swap=""))
    pair.mirror.start()
    pair.mirror.wait_streaming()
    end = pair.value("SELECT pg_current_wal_insert_lsn()::text")
    totals, counts = set(), set()

    def applied(status):
        counts.add(int(appliers(pair)))
        totals.add(pair.mirror.into.value("(SELECT sum(total) FROM ledger)"))
        return lsn(status["applied"]) >= lsn(end)

    pair.mirror.wait_status(applied, 120, "the end of the backlog")
    assert totals == {"1000000"}, "a transaction was seen in parts"
    assert (max(counts) > 1) == (connections > 1)
    pair.settle()


def test_killed_on_the_way(pair):
    pair.execute(TABLES)
    pair.mirror.configure(apply={"connections": 3}, limits={"batch": "1MB"})
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.stop()
    pair.execute(ROUNDS.format(rounds=8, swap=SWAP))
    end = lsn(pair.value("SELECT pg_current_wal_insert_lsn()::text"))

    def position():
        return lsn(pair.mirror.into.value("(SELECT lsn FROM tailrace.checkpoint)"))

    for _ in range(4):
        before = position()
        pair.mirror.start()
        wait_until(lambda before=before: position() != before or before >= end, what="a commit")
        pair.mirror.kill()
    pair.mirror.start()
    pair.settle(timeout=120)


def two_side_by_side(pair, first, second):
    """A backlog of two transactions that are each large enough for a commit of their own, and of a last one."""
    pair.execute("CREATE TABLE big (id int PRIMARY KEY, pad text); INSERT INTO big VALUES (1, ''), (2, ''), (3, '')")
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT g, 0 FROM generate_series(1, 9) g")
    pair.execute("CREATE TABLE log (words text)")
    pair.mirror.configure(apply={"connections": 2}, limits={"batch": "1MB"})
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.stop()
    for number, changes in ((1, first), (2, second)):
        pair.execute(f"BEGIN; UPDATE big SET pad = repeat('x', 2500000) WHERE id = {number}; {changes}; COMMIT")
    pair.execute("INSERT INTO log VALUES ('last')")


def wait_for_session(pair, condition, or_else=lambda: False):
    wait_until(lambda: or_else() or pair.mirror.into.value(
        "(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        f" AND {condition})") != "0", what=f"a session with {condition}")


def wait_until_one_waits(pair):
    wait_for_session(pair, "application_name LIKE '% apply' AND wait_event_type = 'Lock'")


def test_somebody_between_two(pair):
    """The second transaction waits for the first, which needs what a local session waits for behind the second: a
    circle that PostgreSQL does not see."""
    two_side_by_side(pair, "UPDATE t SET v = 1 WHERE id = 1", "UPDATE t SET v = 2 WHERE id = 2")
    into = pair.mirror.into
    with into.cluster.connect(into.database) as holder, into.cluster.connect(into.database) as owner:
        holder.execute("BEGIN")
        holder.execute("UPDATE big SET id = id WHERE id = 1")
        pair.mirror.start()
        wait_until_one_waits(pair)
        # The second one did its part: it looks whether the first one waits, or gave way already.
        wait_for_session(pair, "application_name LIKE '% apply' AND query ~ 'pg_locks|discard temp'")
        alters = threading.Thread(target=owner.execute, args=("CREATE INDEX ON t (v)",), daemon=True)
        alters.start()
        wait_for_session(pair, "query LIKE 'CREATE INDEX%' AND wait_event_type = 'Lock'",
                         or_else=lambda: not alters.is_alive())
        holder.execute("COMMIT")
        alters.join(20)
        stuck = alters.is_alive()
        if stuck:
            into.terminate()
    assert not stuck
    pair.settle()


def test_killed_while_its_server_goes_on(pair):
    """What a killed mirror had sent, the target's server may still execute, and commit, when its lock comes free. The
    next one waits for it before it looks how far the target is."""
    two_side_by_side(pair, "UPDATE big SET pad = 'y' WHERE id = 3",
                     "UPDATE t SET v = 2 WHERE id = 2; INSERT INTO log VALUES ('once')")
    into = pair.mirror.into
    before = into.value("(SELECT lsn FROM tailrace.checkpoint)")
    with into.cluster.connect(into.database) as holder:
        holder.execute("BEGIN")
        holder.execute("UPDATE t SET id = id WHERE id = 2")
        pair.mirror.start()
        wait_until(lambda: into.value("(SELECT lsn FROM tailrace.checkpoint)") != before, what="the first commit")
        wait_until_one_waits(pair)
        pair.mirror.kill()
        pair.mirror.start()
        wait_for_session(pair, "query LIKE '%pg_try_advisory_lock(720602192%'")
        holder.execute("COMMIT")
    pair.settle()
    assert into.value("(SELECT count(*) FROM log WHERE words = 'once')") == "1"


@pytest.mark.parametrize("in_row_order", (False, True))
def test_stopped_while_it_waits(pair, in_row_order):
    """For a lock of somebody at the target, who may keep it for hours. What waited comes again."""
    two_side_by_side(pair, "UPDATE t SET v = 1 WHERE id = 1; INSERT INTO log VALUES ('once')",
                     "UPDATE t SET v = 2 WHERE id = 2")
    into = pair.mirror.into
    if in_row_order:
        into.execute("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
                     "CREATE TRIGGER f BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f();"
                     "ALTER TABLE t ENABLE ALWAYS TRIGGER f")
    with into.cluster.connect(into.database) as holder:
        holder.execute("BEGIN")
        holder.execute("UPDATE t SET id = id WHERE id = 1")
        pair.mirror.start()
        wait_until_one_waits(pair)
        pair.mirror.stop()
    pair.mirror.start()
    pair.settle()
    assert into.value("(SELECT count(*) FROM log WHERE words = 'once')") == "1"
