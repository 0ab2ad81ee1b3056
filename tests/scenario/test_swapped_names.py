"""The source's tables trade names, partitions and schemas while they are copied. Invariant: a table's rows
at the target are its own, whatever had its name meanwhile."""
import threading

import pytest

from proxy import Proxy
from tailrace import run
from waiting import wait_until

KINDS = pytest.mark.parametrize("kind", ["duckdb", "postgres"])
# The largest table is copied first; while it is held, the others' names are read already and their rows are not.
SOURCE = """
CREATE TABLE big (id int PRIMARY KEY, pad text);
INSERT INTO big SELECT i, repeat('x', 500) FROM generate_series(1, 2000) i;
CREATE TABLE t (id int PRIMARY KEY, v text, w text);
INSERT INTO t SELECT i, 'old' || i, 'w' FROM generate_series(1, 40) i;
CREATE TABLE u (id int PRIMARY KEY, v text, w text);
INSERT INTO u SELECT i, 'new' || i, 'w' FROM generate_series(1, 50) i;
CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200);
INSERT INTO p SELECT i, 'p' || i FROM generate_series(0, 199) i;
CREATE TABLE q (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE q1 PARTITION OF q FOR VALUES FROM (0) TO (100);
CREATE TABLE loose (id int PRIMARY KEY, v text); INSERT INTO loose SELECT i, 'l' || i FROM generate_series(200, 230) i;
CREATE SCHEMA a; CREATE TABLE a.t (id int PRIMARY KEY, v text);
INSERT INTO a.t SELECT i, 'a' FROM generate_series(1, 30) i;
CREATE SCHEMA b; CREATE TABLE b.t (id int PRIMARY KEY, v text);
INSERT INTO b.t SELECT i, 'b' FROM generate_series(1, 20) i;
"""
SWAPS = {
    "with_another": "ALTER TABLE t RENAME TO x; ALTER TABLE u RENAME TO t; ALTER TABLE x RENAME TO u",
    "with_a_new_one": "ALTER TABLE t RENAME TO x; CREATE TABLE t (id int PRIMARY KEY, v text, w text);"
                      "INSERT INTO t VALUES (7, 'seven', 'w')",
    "of_schemas": "ALTER SCHEMA a RENAME TO x; ALTER SCHEMA b RENAME TO a; ALTER SCHEMA x RENAME TO b",
    "of_leaves": "ALTER TABLE p1 RENAME TO x; ALTER TABLE p2 RENAME TO p1; ALTER TABLE x RENAME TO p2",
    "of_columns": "ALTER TABLE t RENAME v TO x; ALTER TABLE t RENAME w TO v; ALTER TABLE t RENAME x TO w",
}
WHOLE_TREES = {
    "detached": "ALTER TABLE p DETACH PARTITION p2",
    "attached": "ALTER TABLE p ATTACH PARTITION loose FOR VALUES FROM (200) TO (300)",
    "moved": "ALTER TABLE p DETACH PARTITION p2; ALTER TABLE q ATTACH PARTITION p2 FOR VALUES FROM (100) TO (200)",
    "renamed": "ALTER TABLE t RENAME TO x; ALTER TABLE u RENAME TO t",
    "column_renamed": "ALTER TABLE t RENAME w TO x",
}


class Turnstile:
    """Lets through, one at a time, what asks for a lock on a table: ever another session has it, and the next one is in
    the queue before it is let go."""

    def __init__(self, shop, table):
        self._shop = shop
        self._table = table
        self._looks = shop.connect()
        self._holder = self._lock()

    def _lock(self):
        session = self._shop.cluster.connect(self._shop.name, autocommit=False)
        session.execute(f"LOCK TABLE {self._table} IN ACCESS EXCLUSIVE MODE")
        return session

    def waiting(self):
        """Who waits, and by which statement."""
        return self._looks.execute(
            "SELECT a.application_name, a.query FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted"
            f" AND l.relation = '{self._table}'::regclass AND l.mode = 'AccessShareLock'").fetchone()

    def let_one_through(self):
        sessions = []
        thread = threading.Thread(target=lambda: sessions.append(self._lock()))
        thread.start()
        wait_until(lambda: self._looks.execute(
            f"SELECT FROM pg_locks WHERE NOT granted AND relation = '{self._table}'::regclass"
            " AND mode = 'AccessExclusiveLock'").fetchone() is not None, what="the next holder of the lock")
        self.open()
        thread.join()
        self._holder = sessions[0]

    def open(self):
        self._holder.rollback()
        self._holder.close()

    def close(self):
        self._looks.close()


def in_the_copy(waiting):
    return "lock table" in waiting[1]


def began(shop):
    """The slot is there: its snapshot shows what was committed by now."""
    shop.mirror.start()
    wait_until(lambda: shop.value("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
                                  " AND confirmed_flush_lsn IS NOT NULL"), what="the slot")


def altered(shop, ddl):
    shop.execute(f"BEGIN; {ddl}; COMMIT")
    shop.execute("UPDATE p SET v = v || '!' WHERE id % 7 = 0; INSERT INTO t (id) VALUES (1001)")


def follows(shop):
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.look(shop.cluster)
    return shop.settle()


def stopped_at(shop, words, ddl, **settings):
    """The source is altered when the first copy says these words to it, which it hears later."""
    with Proxy(shop.cluster.port) as proxy:
        shop.mirror.source = shop.cluster.url(shop.name, port=proxy.port)
        shop.mirror.configure(**settings)
        proxy.stall_at(words)
        began(shop)
        wait_until(lambda: not proxy.flowing, what=f"{words}")
        altered(shop, ddl)
        proxy.restore()
        follows(shop)


@KINDS
@pytest.mark.parametrize("swap", SWAPS)
def test_names_that_are_traded_during_the_copy(shop_into, kind, swap):
    shop = shop_into(kind)
    shop.execute(SOURCE)
    # To judge what a query would run, a superuser's copy asks for the partitions, and so locks them.
    stopped_at(shop, b'lock table only "public"."big"', SWAPS[swap], snapshot={"readers": 1},
               schema={"trust_source": True})
    assert "while it was copied" in shop.mirror.log_text()


@KINDS
@pytest.mark.parametrize("change", WHOLE_TREES)
def test_tables_altered_between_the_snapshot_and_the_look(shop_into, kind, change):
    """It is stopped when it is about to read, under the snapshot, what is published."""
    shop = shop_into(kind)
    shop.execute(SOURCE)
    stopped_at(shop, b"hashtextextended", WHOLE_TREES[change])


@KINDS
def test_a_snapshot_of_names_that_are_traded(shop_into, kind):
    """Which has one position for all: it is to be taken again."""
    shop = shop_into(kind)
    shop.execute(SOURCE)
    shop.mirror.configure(snapshot={"readers": 1})
    outcomes = []
    turnstile = Turnstile(shop, "big")
    thread = threading.Thread(target=lambda: outcomes.append(run("snapshot", "-c", shop.mirror.config, timeout=120)))
    thread.start()
    while not in_the_copy(wait_until(turnstile.waiting, what="the copy of big")):
        turnstile.let_one_through()
    shop.execute(f"BEGIN; {SWAPS['with_another']}; COMMIT")
    turnstile.open()
    turnstile.close()
    thread.join()
    assert outcomes[0].returncode == 3, outcomes[0].stderr
    assert "renamed" in outcomes[0].stderr
