"""slot: {acknowledge: off}: the slot is never told what the target has. Invariants: it never moves; what is in the
target already is not applied again, in whatever way a run ended; and whoever looks sees that WAL is held back by
choice."""
import pytest

from lsn import lsn
from tailrace import run
from waiting import wait_until
from watching import Watching

START = "CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0); CREATE TABLE log (what text)"
CHANGE = "INSERT INTO t SELECT coalesce(max(id), 0) + 1 FROM t; UPDATE t SET n = n + 1;" \
         "INSERT INTO log VALUES ('again')"

pytestmark = pytest.mark.parametrize("kind", ["duckdb", "postgres"])


@pytest.fixture
def shop(shop_into, kind):
    shop = shop_into(kind)
    shop.execute(START)
    shop.mirror.configure(slot={"name": shop.name, "acknowledge": "off"})
    return shop


def slot(shop):
    return shop.value("SELECT confirmed_flush_lsn::text || ' ' || restart_lsn::text FROM pg_replication_slots "
                      f"WHERE slot_name = '{shop.name}'")


@pytest.mark.parametrize("backlog", ["0", "1B"])
def test_the_slot_stays(shop, backlog):
    """Through ends in order and others, by the stream and by the functions that read a backlog."""
    shop.mirror.configure(slot={"name": shop.name, "acknowledge": "off"}, limits={"backlog": backlog})
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    stands = slot(shop)
    for end in (shop.mirror.stop, shop.mirror.kill, shop.mirror.stop):
        for _ in range(3):
            shop.execute(CHANGE)
            shop.mirror.wait_caught_up(shop.cluster)
        end()
        shop.execute(CHANGE)
        shop.mirror.start()
        shop.mirror.wait_caught_up(shop.cluster)
    assert slot(shop) == stands, "nobody told it anything"
    shop.settle()
    assert slot(shop) == stands
    for _ in range(2):
        shop.execute(CHANGE)
        outcome = run("run", "-c", shop.mirror.config, "--once")
        assert outcome.returncode == 0, outcome.stderr
        shop.compared()
    assert slot(shop) == stands
    shop.mirror.configure()
    assert run("run", "-c", shop.mirror.config, "--once").returncode == 0
    assert lsn(slot(shop).split()[0]) > lsn(stands.split()[0]), "told again, it moves"
    shop.compared()


def test_whoever_looks_sees_it(shop):
    pages = Watching(shop.mirror)
    shop.mirror.configure(slot={"name": shop.name, "acknowledge": "off", "wal_room": "2MB"}, http=pages.port)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    assert pages.value("tailrace_slot_acknowledges") == 0
    shop.execute("INSERT INTO log SELECT repeat('x', 1000) FROM generate_series(1, 2000)")
    shop.mirror.wait_caught_up(shop.cluster)
    status = shop.mirror.wait_status(lambda status: status["warnings"] and status["in_step"],
                                     what="in step, and warned of retained WAL")
    assert "slot.acknowledge is off" in status["warnings"][0], status
    assert status["acknowledges"] is False and status["acknowledged"] is None, status
    assert status["retained_wal_bytes"] > 1_000_000, status
    assert "never acknowledged (slot.acknowledge: off)" in shop.mirror.text_status()
    assert "holds back all WAL" in shop.mirror.log_text()
    shop.settle()


def test_once_where_nothing_is_new(shop):
    """Again and again: the slot is told nothing, and nothing is waited for."""
    shop.mirror.configure(slot={"name": shop.name, "acknowledge": "off"})
    for _ in range(6):
        outcome = run("run", "-c", shop.mirror.config, "--once")
        assert outcome.returncode == 0 and "trying again" not in outcome.stderr, outcome.stderr


def test_a_server_that_shuts_down_does_not_wait(kind, shop, own_cluster, shop_on):
    """It waits for its walsenders to be told of everything; not of one that is told nothing."""
    if kind == "postgres":
        pytest.skip("the source's side alone")
    cluster = own_cluster(15, wal_sender_timeout="60s")
    shop = shop_on(cluster)
    shop.execute(START)
    shop.mirror.configure(slot={"name": shop.name, "acknowledge": "off"})
    shop.mirror.start()
    shop.execute(CHANGE)
    shop.mirror.wait_caught_up(cluster)
    cluster.restart()
    shop.execute(CHANGE)
    shop.settle()


def test_commits_that_would_wait_for_ever(shop, own_cluster, shop_on, kind):
    if kind == "postgres":
        pytest.skip("the source's side alone")
    cluster = own_cluster(15)
    shop = shop_on(cluster)
    shop.execute(START)
    shop.mirror.configure(slot={"name": shop.name, "acknowledge": "off"})
    shop.mirror.start()
    shop.mirror.wait_caught_up(cluster)
    cluster.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{shop.name}'")
    cluster.execute("SELECT pg_reload_conf()")
    assert shop.mirror.wait_ended() == 3, shop.mirror.tail()
    assert "never tells them that they are durable" in shop.mirror.log_text()
    cluster.execute("ALTER SYSTEM RESET synchronous_standby_names")
    cluster.execute("SELECT pg_reload_conf()")
    wait_until(lambda: cluster.value("SHOW synchronous_standby_names") == "", what="the setting")
    shop.mirror.start()
    shop.execute(CHANGE)
    shop.settle()
