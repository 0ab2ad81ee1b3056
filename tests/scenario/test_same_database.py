"""Source and target are one database, by whatever names. Invariant: every command that writes to a target refuses,
before anything is written; another database of that server, and a promoted copy of it, are good targets."""
import pytest

from tailrace import run
from targets import PostgresTarget
from waiting import wait_until

pytestmark = pytest.mark.postgres

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text)"


def ways_to(shop):
    """The same database by other words."""
    return [shop.url, shop.url.replace("127.0.0.1", "localhost"), shop.cluster.socket_url(shop.name)]


def traces(shop):
    return shop.execute("SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()"
                        " UNION ALL SELECT pubname::text FROM pg_publication"
                        " UNION ALL SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'tailrace%'")


@pytest.mark.parametrize("command", ["run", "snapshot", "verify", "sync-sequences", "check"])
def test_the_same_database(pair, command):
    pair.execute(TABLE)
    for way in ways_to(pair):
        outcome = run(command, pair.url, way, "--name", pair.name, timeout=30)
        assert outcome.returncode == (1 if command == "check" else 3), outcome.stdout + outcome.stderr
        told = outcome.stdout + outcome.stderr
        assert "are the same database" in told and "TRUNCATE" not in told, told
        assert traces(pair) == []


def test_rows_do_not_matter(pair):
    """With rows it would be the production table that is in the way."""
    pair.execute(TABLE + "; INSERT INTO t SELECT i, 'v' FROM generate_series(1, 50) i")
    outcome = run("run", pair.url, pair.url, "--name", pair.name, timeout=30)
    assert outcome.returncode == 3 and "are the same database" in outcome.stderr, outcome.stderr
    assert "Empty it" not in outcome.stderr
    assert pair.value("SELECT count(*)::text FROM t") == "50" and traces(pair) == []


def test_another_database_of_the_server(pair):
    """It is a good target."""
    pair.execute(TABLE + "; INSERT INTO t VALUES (1, 'one')")
    pair.mirror.into = PostgresTarget(pair.cluster, f"{pair.name}_beside")
    pair.mirror.configure()
    pair.mirror.start()
    pair.mirror.wait_streaming()
    pair.execute("INSERT INTO t VALUES (2, 'two')")
    wait_until(lambda: pair.mirror.into.execute("SELECT count(*) FROM t WHERE id = 2")[0][0] == 1, what="the row")
    pair.mirror.stop()


def test_a_standby_and_then_a_promoted_copy(own_cluster, shop_on):
    """Both bear the identifiers of the source's server."""
    primary = own_cluster(15)
    shop = shop_on(primary)
    shop.execute(TABLE + "; INSERT INTO t VALUES (1, 'one')")
    standby = primary.standby()
    try:
        wait_until(lambda: standby.value("SELECT count(*) FROM t", shop.name) == 1, what="the row at the standby")
        outcome = run("run", shop.url, standby.url(shop.name), "--name", shop.name, timeout=30)
        assert outcome.returncode == 3 and "is a standby of the source" in outcome.stderr, outcome.stderr
        assert traces(shop) == []
        standby.promote()
        standby.execute("TRUNCATE t", shop.name)
        copy = PostgresTarget(standby, shop.name, existing=True)
        mirror = shop.another(into=copy)
        mirror.start()
        mirror.wait_streaming()
        shop.execute("INSERT INTO t VALUES (2, 'two')")
        mirror.wait_caught_up(primary)
        assert copy.execute("SELECT id, v FROM t ORDER BY id") == [(1, "one"), (2, "two")]
        mirror.stop()
    finally:
        standby.close()
