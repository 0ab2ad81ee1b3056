"""Commits at the source wait for the mirror (synchronous_standby_names). Until it acknowledges one, no session sees
what the transaction did, not even in the catalogs. Invariant: the commit returns, and nothing is lost."""
import pytest

from waiting import wait_until

START = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 20) i"
STEPS = {
    "rows": "INSERT INTO t VALUES (100, 'x'); UPDATE t SET v = 'y' WHERE id < 5",
    "a new table": "CREATE TABLE n (id int PRIMARY KEY); INSERT INTO n SELECT generate_series(1, 5)",
    "a column": "ALTER TABLE t ADD COLUMN e text DEFAULT 'e'",
}


@pytest.mark.parametrize("into", [None, 15], ids=["duckdb", "postgres"])
@pytest.mark.parametrize("step", STEPS)
def test_commits_that_wait(own_cluster, shop_on, pair_on, into, step):
    cluster = own_cluster(15)
    shop = pair_on(cluster, into) if into else shop_on(cluster)
    shop.execute(START)
    shop.mirror.start()
    shop.mirror.wait_caught_up(cluster)
    cluster.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{shop.name}'")
    try:
        cluster.execute("SELECT pg_reload_conf()")
        wait_until(lambda: cluster.value("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == 1,
                   what="the mirror to be waited for")
        shop.execute("SET statement_timeout = '60s';" + STEPS[step])
    finally:
        cluster.execute("ALTER SYSTEM RESET synchronous_standby_names")
        cluster.execute("SELECT pg_reload_conf()")
    shop.mirror.look(cluster)
    shop.settle()
