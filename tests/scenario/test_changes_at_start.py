"""Definitions that change while a copy is about to begin: making its snapshot waits for the transactions that run,
and what the tables look like then is what counts, not what they looked like before."""

import pytest
from proxy import Proxy
from waiting import wait_until

START = """
CREATE TABLE t (id int PRIMARY KEY, v text, n int);
INSERT INTO t SELECT i, 'v' || i, i FROM generate_series(1, 200) i;
CREATE TABLE bystander (id int PRIMARY KEY)
"""

# None of these is followed by a change that would tell of it; what is wrong after the copy stays wrong.
CASES = {
    "added": "ALTER TABLE t ADD c int DEFAULT 7; INSERT INTO t VALUES (300, 'new', 1, -1); UPDATE t SET c = id"
             " WHERE id < 10",
    "renamed": "ALTER TABLE t RENAME v TO w; INSERT INTO t VALUES (300, 'new', 1)",
    "traded": "ALTER TABLE t RENAME v TO x; ALTER TABLE t ADD v text; UPDATE t SET v = 'another' WHERE id < 10",
    "dropped": "ALTER TABLE t DROP v; INSERT INTO t VALUES (300, 1)",
    "retyped": "ALTER TABLE t ALTER n TYPE numeric USING n + 0.5",
    "replaced": "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, other text); INSERT INTO t VALUES (1, 'one')",
    "new_table": "CREATE TABLE t2 (id int PRIMARY KEY); INSERT INTO t2 VALUES (1)",
}


@pytest.fixture(params=["duckdb", pytest.param("postgres", marks=pytest.mark.postgres)])
def either(request):
    """A shop with each kind of target, whatever --target says."""
    return request.getfixturevalue("shop" if request.param == "duckdb" else "pair")


@pytest.mark.parametrize("case", CASES)
def test_changes_while_the_slot_is_made(either, case):
    either.execute(START)
    alter_while(either, CASES[case])
    either.settle()


@pytest.mark.parametrize("case", ["added", "renamed"])
def test_changes_before_a_later_copy(either, case):
    """A table that was made while nothing ran, copied under a snapshot of its own."""
    either.execute(START)
    either.mirror.start()
    either.mirror.wait_caught_up(either.cluster)
    either.mirror.stop()
    either.execute("CREATE TABLE later (id int PRIMARY KEY, v text, n int); INSERT INTO later VALUES (1, 'one', 1)")
    alter_while(either, CASES[case].replace(" t ", " later "))
    either.settle()


# What a start asks last before its server looks for something that goes meanwhile.
RACES = {"constraint": b"pg_get_constraintdef(con.oid)"}


@pytest.mark.postgres
@pytest.mark.parametrize("race", RACES)
def test_an_object_goes_while_its_definition_is_read(pair, race):
    """The server fails to find what its own catalogs showed it. Nothing is wrong then with anything."""
    pair.execute(START + "; ALTER TABLE t ADD CONSTRAINT once UNIQUE (v)")
    with Proxy(pair.cluster.port) as proxy:
        pair.mirror.source = pair.cluster.url(pair.name, port=proxy.port)
        pair.mirror.configure()
        proxy.stall_at(RACES[race])
        pair.mirror.start()
        wait_until(lambda: not proxy.flowing, what="a start that reads the structure")
        pair.execute("ALTER TABLE t DROP CONSTRAINT once; INSERT INTO t VALUES (300, 'v1', 1)")
        proxy.restore()
        pair.mirror.wait_caught_up(pair.cluster)
        assert "cache lookup failed" in pair.mirror.log_text(), pair.mirror.tail()
        assert pair.settle() == 201


def alter_while(shop, sql):
    """Starts the mirror and runs the SQL once its slot waits for a transaction, which ends then."""
    with shop.connect(autocommit=False) as blocker:
        blocker.execute("SELECT pg_current_xact_id()")
        shop.mirror.start()
        waiting = ("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE_REPL%' AND state = 'active'"
                   " AND datname = current_database()")
        wait_until(lambda: shop.value(waiting) == 1, what="a slot that waits")
        shop.execute(sql)
        blocker.commit()
