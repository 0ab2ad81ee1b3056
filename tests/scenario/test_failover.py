"""Failover to a promoted standby that has the slot. Invariant: it goes on by itself, nothing lost, nothing doubled."""
from proxy import Proxy
from waiting import wait_until


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
    finally:
        standby.close()
        primary.start()
        shop.cluster = primary
