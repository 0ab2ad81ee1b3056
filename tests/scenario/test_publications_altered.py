"""A publication's options that are others for a while: what is not sent meanwhile is lost to the stream. Invariant:
after a look at the catalogs the target equals the source, and the log says why tables were copied anew."""

import pytest

from proxy import Proxy
from waiting import wait_until

KINDS = pytest.mark.parametrize("kind", ["duckdb", "postgres"])
SOURCE = """
CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'a' FROM generate_series(1, 5) i;
CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100); INSERT INTO p VALUES (1, 'a')"""
ALL = "publish = 'insert, update, delete, truncate'"
# name: the options for a while, what is written then, the options afterwards.
CASES = {
    "publish": ("publish = 'insert'", "UPDATE t SET v = 'b' WHERE id = 2; DELETE FROM t WHERE id = 3", ALL),
    "truncate": ("publish = 'insert, update, delete'", "TRUNCATE t; INSERT INTO t VALUES (7, 'c')", ALL),
    "root": ("publish_via_partition_root = false", "UPDATE p SET v = 'b'", "publish_via_partition_root = true"),
}
WHY = "its publication was altered"


def following(shop_into, kind, source=SOURCE, **settings):
    shop = shop_into(kind)
    shop.execute(source)
    shop.mirror.configure(**settings)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    return shop


def set_options(shop, options, name=None):
    shop.execute(f'ALTER PUBLICATION "{name or shop.mirror.name}" SET ({options})')


@KINDS
@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
@pytest.mark.parametrize("case", CASES)
def test_options_for_a_while(shop_into, kind, case, stopped):
    shop = following(shop_into, kind)
    if stopped:
        shop.mirror.stop()
    for_a_while, written, afterwards = CASES[case]
    set_options(shop, for_a_while)
    shop.execute(written)
    set_options(shop, afterwards)
    shop.execute("INSERT INTO t VALUES (9, 'x')")
    if stopped:
        shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.look(shop.cluster)
    shop.settle()
    assert WHY in shop.mirror.log_text()


@KINDS
def test_one_of_two_publications(shop_into, kind):
    """Only the tables that are in it are copied anew."""
    shop = following(shop_into, kind, "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY);"
                     "INSERT INTO t VALUES (1); INSERT INTO u VALUES (1);"
                     "CREATE PUBLICATION one FOR TABLE t; CREATE PUBLICATION two FOR TABLE u",
                     publication={"name": ["one", "two"], "create": False})
    set_options(shop, "publish = 'insert'", "two")
    shop.execute("DELETE FROM u")
    set_options(shop, ALL, "two")
    shop.mirror.look(shop.cluster)
    assert shop.settle() == 1
    assert shop.mirror.log_text().count("public.u: 0 rows copied") == 1
    assert shop.mirror.log_text().count("public.t: 1 rows copied") == 1


@KINDS
def test_a_publication_that_leaves_changes_out(shop_into, kind):
    """On purpose: what the source deleted stays, whatever else is altered. Once it publishes all, it is copied anew."""
    shop = following(shop_into, kind, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2);"
                     "CREATE PUBLICATION own FOR TABLE t",
                     publication={"name": "own", "create": False})
    set_options(shop, "publish = 'insert'", "own")
    shop.execute("DELETE FROM t WHERE id = 1; ALTER PUBLICATION own OWNER TO current_user")
    shop.mirror.look(shop.cluster)
    shop.mirror.stop()
    assert WHY not in shop.mirror.log_text()
    with shop.mirror.into.opened() as target:
        assert int(target.value("(SELECT count(*) FROM public.t)")) == 2
    set_options(shop, ALL, "own")
    shop.mirror.start()
    assert shop.settle() == 1
    assert WHY in shop.mirror.log_text()


@KINDS
def test_what_tailrace_alters_itself(shop_into, kind):
    """A table that comes is copied, and no other one with it."""
    shop = following(shop_into, kind, tables=["public.t*"])
    shop.execute("CREATE TABLE t2 (id int PRIMARY KEY); INSERT INTO t2 VALUES (1)")
    shop.mirror.look(shop.cluster)
    shop.mirror.stop()
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    log = shop.mirror.log_text()
    assert log.count("public.t2: 1 rows copied") == 1
    assert log.count("public.t: 5 rows copied") == 1
    assert WHY not in log


# While the snapshot is made that rows are copied under: what is written then is neither in it nor in the stream.
MADE = ("CREATE SCHEMA s; CREATE SCHEMA o; CREATE TABLE s.t (id int PRIMARY KEY, v text);"
        "INSERT INTO s.t SELECT i, 'a' FROM generate_series(1, 5) i;"
        "CREATE TABLE s.u (id int PRIMARY KEY, v text); INSERT INTO s.u SELECT i, 'a' FROM generate_series(1, 5) i;")
MEANWHILE = {
    "another schema": ("CREATE PUBLICATION own FOR TABLES IN SCHEMA s", "ALTER TABLE s.t SET SCHEMA o",
                       "UPDATE o.t SET v = 'b' WHERE id = 1; INSERT INTO o.t VALUES (7, 'b')",
                       "ALTER TABLE o.t SET SCHEMA s"),
    "not published": ("CREATE PUBLICATION own FOR TABLE s.t, s.u", "ALTER PUBLICATION own DROP TABLE s.t",
                      "UPDATE s.t SET v = 'b' WHERE id = 1; INSERT INTO s.t VALUES (7, 'b')",
                      "ALTER PUBLICATION own ADD TABLE s.t"),
}


@KINDS
@pytest.mark.parametrize("case", MEANWHILE)
def test_while_the_snapshot_is_made(shop_into, kind, case):
    shop = shop_into(kind)
    publication, *steps = MEANWHILE[case]
    shop.execute(MADE + publication)
    mirror = shop.mirror
    with Proxy(shop.cluster.port) as proxy:
        mirror.source = shop.cluster.url(shop.name, port=proxy.port)
        mirror.configure(publication={"name": "own", "create": False})
        with shop.connect(autocommit=False) as waited_for:
            waited_for.execute("SELECT pg_current_xact_id()")
            mirror.start()
            wait_until(lambda: "creating slot" in mirror.log_text(), what=mirror.tail)
            wait_until(lambda: shop.cluster.value(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                f"AND datname = '{shop.name}'"), what=mirror.tail)
            proxy.stall_at(b"pg_catalog.pg_publication p on p.pubname = t.pubname")
            waited_for.rollback()
        wait_until(lambda: not proxy.flowing, what=mirror.tail)
        for step in steps:
            shop.execute(step)
        proxy.restore()
        mirror.wait_caught_up(shop.cluster)
        mirror.look(shop.cluster)
        assert shop.settle() == 11
