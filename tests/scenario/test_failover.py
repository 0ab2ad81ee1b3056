"""Failover to a promoted standby that has the slot. Invariant: it goes on by itself, nothing lost, nothing doubled."""
import signal

import pytest

from kill_points import killed_at
from proxy import Proxy
from waiting import wait_until


@pytest.mark.duckdb("a kill point of its copies")
def test_a_copy_from_the_new_primary_is_killed(own_cluster, shop_on):
    """What it has is of the new primary's history: the old one is not gone on with."""
    primary = own_cluster(17, synchronized_standby_slots="", wal_sender_timeout="5s")
    shop = shop_on(primary)
    mirror = shop.mirror
    shop.execute("CREATE TABLE t (id int PRIMARY KEY, v text);"
                 "INSERT INTO t SELECT i, 'v' FROM generate_series(1, 50) i")
    standby = primary.standby(sync_replication_slots="on")
    try:
        with Proxy(primary.port) as address:
            mirror.source = primary.url(shop.name, port=address.port)
            mirror.configure(slot={"name": shop.name, "failover": True})
            mirror.start()
            mirror.wait_caught_up(primary)
            synced = ("SELECT count(*) FROM pg_replication_slots WHERE synced AND NOT temporary"
                      f" AND invalidation_reason IS NULL AND slot_name = '{shop.name}'")
            wait_until(lambda: standby.value(synced), timeout=90, what="the slot on the standby")
            shop.execute("INSERT INTO t VALUES (1000, 'last on the old primary')")
            mirror.wait_caught_up(primary)
            wait_until(lambda: standby.value("SELECT count(*) FROM t WHERE id = 1000", shop.name), what="the last row")
            mirror.stop()
            primary.stop("immediate")
            standby.promote()
            address.target = ("127.0.0.1", standby.port)
            standby.execute("INSERT INTO t VALUES (1001, 'of timeline 2'); DELETE FROM t WHERE id < 10", shop.name)
            mirror.env = killed_at("duckdb.finish_copy.committed")
            mirror.start("--recopy", "public.t")
            assert mirror.wait_ended() == -signal.SIGKILL
            mirror.env = {}
            primary.start()
            for number in range(4):
                primary.execute("SELECT pg_switch_wal()", shop.name)
                primary.execute(f"INSERT INTO t VALUES ({2000 + number}, 'of the old one')", shop.name)
            address.target = ("127.0.0.1", primary.port)
            mirror.start()
            assert mirror.wait_ended() == 3
            assert "old primary from before a failover" in mirror.tail()
    finally:
        standby.close()


def test_promoted_standby_with_failover_slot(own_cluster, shop_on):
    """PostgreSQL 17 keeps the slot in step on the standby; a proxy is the address that moves."""
    primary = own_cluster(17, synchronized_standby_slots="", wal_sender_timeout="5s")
    shop = shop_on(primary)
    shop.execute("CREATE TABLE t (id int PRIMARY KEY, v text);"
                 "INSERT INTO t SELECT i, 'v' FROM generate_series(1, 500) i")
    standby = primary.standby(sync_replication_slots="on")
    try:
        primary.configure(synchronized_standby_slots="standby")
        primary.reload()
        with Proxy(primary.port) as address:
            shop.mirror.source = primary.url(shop.name, port=address.port)
            shop.mirror.configure(slot={"name": shop.name, "failover": True})
            shop.mirror.start()
            shop.mirror.wait_caught_up(primary)
            shop.execute("UPDATE t SET v = 'streamed' WHERE id % 2 = 0")
            shop.mirror.wait_caught_up(primary)
            synced = ("SELECT count(*) FROM pg_replication_slots WHERE synced AND NOT temporary"
                      f" AND invalidation_reason IS NULL AND slot_name = '{shop.name}'")
            wait_until(lambda: standby.value(synced), timeout=90, what="the slot on the standby")
            shop.execute("INSERT INTO t VALUES (1000, 'last on the old primary')")
            wait_until(lambda: standby.value("SELECT count(*) FROM t WHERE id = 1000", shop.name), what="the last row")
            primary.stop("immediate")
            standby.promote()
            address.target = ("127.0.0.1", standby.port)
            address.drop()
            standby.execute("INSERT INTO t VALUES (1001, 'first on the new one'); DELETE FROM t WHERE id < 10",
                            shop.name)
            shop.cluster = standby
            assert shop.settle(timeout=120) == 493
            # The address leads to a standby that has not heard of the failover. That passes.
            primary._write_file("standby.signal", "")
            primary.start()
            address.target = ("127.0.0.1", primary.port)
            shop.mirror.start()
            wait_until(lambda: "has not followed the failover to timeline 2" in shop.mirror.log_text(),
                       what=shop.mirror.tail)
            address.target = ("127.0.0.1", standby.port)
            address.drop()
            shop.settle()
            # The old primary comes back, and goes on by itself. It is not what was followed.
            primary.stop()
            (primary.data / "standby.signal").unlink()
            primary.start()
            primary.execute("SELECT pg_switch_wal(); INSERT INTO t VALUES (2000, 'of another world')", shop.name)
            primary.execute("SELECT pg_switch_wal(); INSERT INTO t VALUES (2001, 'of another world')", shop.name)
            address.target = ("127.0.0.1", primary.port)
            shop.mirror.start()
            assert shop.mirror.wait_ended() == 3
            assert "old primary from before a failover" in shop.mirror.tail()
            shop.compared()
    finally:
        standby.close()
        if primary.process is None:
            primary.start()
        shop.cluster = primary


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_a_standby_that_was_behind(own_cluster, shop_on, running):
    """It was promoted, and has written beyond the checkpoint since: no position shows that the target has rows that the
    new primary never had, but the history of its timeline does."""
    primary = own_cluster(17, wal_sender_timeout="5s")
    shop = shop_on(primary)
    shop.execute("CREATE TABLE t (id int PRIMARY KEY, v text);"
                 "INSERT INTO t SELECT i, 'v' FROM generate_series(1, 500) i")
    standby = primary.standby(sync_replication_slots="on")
    try:
        with Proxy(primary.port) as address:
            shop.mirror.source = primary.url(shop.name, port=address.port)
            shop.mirror.configure(slot={"name": shop.name, "failover": True})
            shop.mirror.start()
            shop.mirror.wait_caught_up(primary)
            synced = ("SELECT count(*) FROM pg_replication_slots WHERE synced AND NOT temporary"
                      f" AND invalidation_reason IS NULL AND slot_name = '{shop.name}'")
            wait_until(lambda: standby.value(synced), timeout=90, what="the slot on the standby")
            standby.configure(primary_conninfo="host=127.0.0.1 port=1 dbname=postgres user=postgres")
            standby.reload()
            wait_until(lambda: not standby.value("SELECT count(*) FROM pg_stat_wal_receiver"), what="no receiver")
            shop.execute("INSERT INTO t SELECT i, 'lost' FROM generate_series(1000, 1099) i")
            shop.mirror.wait_caught_up(primary)
            end = primary.value("SELECT pg_current_wal_insert_lsn()")
            if not running:
                shop.mirror.stop()
            address.refuse()
            primary.stop("immediate")
            standby.promote()
            while standby.value(f"SELECT pg_current_wal_insert_lsn() < '{end}'::pg_lsn + 100000"):
                standby.execute("INSERT INTO t SELECT i, 'new' FROM generate_series(2000, 2999) i;"
                                "DELETE FROM t WHERE id > 2500", shop.name)
            address.target = ("127.0.0.1", standby.port)
            address.restore()
            if not running:
                shop.mirror.start()
            assert shop.mirror.wait_ended() == 3
            told = shop.mirror.tail()
            assert "a standby was promoted without the last changes" in told and "the server left timeline 1 at" in told
    finally:
        standby.close()
        primary.start()


def test_an_address_that_leads_to_a_standby_for_a_moment(own_cluster, shop_on):
    """One that has not replayed yet what the target has: no loss, and nothing to copy anew."""
    primary = own_cluster(15)
    shop = shop_on(primary)
    shop.execute("CREATE TABLE t (id int PRIMARY KEY)")
    standby = primary.standby()
    try:
        with Proxy(primary.port) as address:
            shop.mirror.source = primary.url(shop.name, port=address.port)
            shop.mirror.configure()
            shop.mirror.start()
            shop.mirror.wait_caught_up(primary)
            standby.execute("SELECT pg_wal_replay_pause()")
            shop.execute("INSERT INTO t SELECT generate_series(1, 1000)")
            shop.mirror.wait_caught_up(primary)
            address.target = ("127.0.0.1", standby.port)
            address.drop()
            shop.mirror.wait_status(lambda status: status["reconnects"] >= 3 and "standby" in status["message"],
                                    what="tries at the standby")
            address.target = ("127.0.0.1", primary.port)
            address.drop()
            shop.execute("INSERT INTO t VALUES (2000)")
            assert shop.settle() == 1001
    finally:
        standby.close()


def test_a_target_that_is_read_only_for_a_moment(own_cluster, pair_on):
    """An address that moves before the standby there is promoted."""
    pair = pair_on(15, own_cluster(15))
    pair.execute("CREATE TABLE t (id int PRIMARY KEY)")
    standby = pair.target_server.standby()
    database = pair.mirror.into.database
    try:
        with Proxy(pair.target_server.port) as address:
            pair.mirror.into.url = pair.target_server.url(database, port=address.port)
            pair.mirror.configure()
            pair.mirror.start()
            pair.mirror.wait_caught_up(pair.cluster)
            wait_until(lambda: standby.value("SELECT to_regclass('tailrace.mirrors') IS NOT NULL OR count(*) > 0 FROM"
                                             " pg_class WHERE relnamespace = to_regnamespace('tailrace')", database),
                       what="the books at the standby")
            address.target = ("127.0.0.1", standby.port)
            address.drop()
            pair.execute("INSERT INTO t SELECT generate_series(1, 1000)")
            pair.mirror.wait_status(lambda status: status["reconnects"] >= 3, what="tries at the standby")
            address.target = ("127.0.0.1", pair.target_server.port)
            address.drop()
            assert pair.settle() == 1000
    finally:
        standby.close()


def test_an_idle_target_that_ends(own_cluster, pair_on):
    """Nothing is to be applied, so nothing is asked of it; all the same nobody is told "in step" for long."""
    pair = pair_on(own_cluster(15, autovacuum="off"), own_cluster(15))
    pair.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); CHECKPOINT")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.wait_status(lambda status: status["in_step"], what="in step")
    pair.target_server.stop("immediate")
    pair.mirror.wait_status(lambda status: status["state"] == "reconnecting" and not status["in_step"], 3, "it is told")
    pair.target_server.start()
    pair.execute("INSERT INTO t VALUES (2)")
    assert pair.settle() == 2
