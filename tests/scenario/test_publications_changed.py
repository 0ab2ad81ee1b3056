"""Publications that are empty, are named in another order, or were made again, and servers that give fewer connections
than a copy wants. Invariant: what can be followed is, exactly; what cannot is refused in one sentence, before anything
is written."""
import pytest

from tailrace import run
from waiting import wait_until

KINDS = pytest.mark.parametrize("kind", ["duckdb", "postgres"])


@KINDS
def test_an_empty_database_takes_what_comes(shop_into, kind):
    shop = shop_into(kind)
    shop.mirror.start()
    shop.mirror.wait_streaming()
    shop.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    shop.mirror.look(shop.cluster)
    shop.execute("INSERT INTO t VALUES (2)")
    assert shop.settle() == 2


@KINDS
def test_a_publication_of_nothing(shop_into, kind):
    """One of the user's own, of an empty schema; it becomes empty again while it is followed."""
    shop = shop_into(kind)
    shop.execute("CREATE SCHEMA s; CREATE PUBLICATION own FOR TABLES IN SCHEMA s; CREATE TABLE other (id int)")
    shop.mirror.configure(publication={"name": ["own"], "create": False})
    shop.mirror.start()
    shop.mirror.wait_streaming()
    shop.execute("CREATE TABLE s.t (id int PRIMARY KEY); INSERT INTO s.t VALUES (1)")
    shop.mirror.look(shop.cluster)
    shop.execute("INSERT INTO s.t VALUES (2)")
    shop.mirror.wait_streaming()
    shop.execute("ALTER TABLE s.t SET SCHEMA public")
    shop.mirror.look(shop.cluster)
    shop.mirror.stop()
    shop.mirror.start()
    shop.mirror.wait_streaming()
    shop.execute("ALTER TABLE t SET SCHEMA s; INSERT INTO s.t VALUES (3)")
    shop.mirror.look(shop.cluster)
    assert shop.settle(tables=["s.t"]) == 3


def test_a_selection_of_nothing_by_one_who_is_no_superuser(shop):
    shop.execute(f"CREATE ROLE {shop.name} LOGIN REPLICATION; GRANT CREATE ON DATABASE {shop.name} TO {shop.name};"
                 f"GRANT CREATE ON SCHEMA public TO {shop.name}")
    mirror = shop.another(source=shop.cluster.url(shop.name, user=shop.name))
    mirror.start()
    mirror.wait_streaming()
    shop.execute(f"SET ROLE {shop.name}; CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    mirror.look(shop.cluster)
    shop.execute("INSERT INTO t VALUES (2)")
    shop.settle(mirror)
    # And back to nothing: the publication stays the same one.
    shop.execute(f"SET ROLE {shop.name}; CREATE TABLE u (id int)")
    mirror.configure(tables=["nothing_*.*"])
    mirror.start()
    mirror.wait_streaming()
    mirror.stop()
    mirror.configure()
    shop.execute("INSERT INTO t VALUES (3)")
    mirror.start()
    mirror.look(shop.cluster)
    assert shop.settle(mirror, tables=["public.t"]) == 3
    mirror.teardown()
    shop.execute(f"DROP OWNED BY {shop.name}; DROP ROLE {shop.name}")


@KINDS
def test_a_snapshot_of_nothing(shop_into, kind):
    shop = shop_into(kind)
    outcome = run("snapshot", "-c", shop.mirror.config)
    assert outcome.returncode == 0, outcome.stderr


@KINDS
def test_publications_in_another_order(shop_into, kind):
    shop = shop_into(kind)
    shop.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY); INSERT INTO t VALUES (1);"
                 "CREATE PUBLICATION b FOR TABLE t, u; CREATE PUBLICATION a FOR TABLE t")
    shop.mirror.configure(publication={"name": ["a", "b"], "create": False})
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    shop.execute("INSERT INTO t VALUES (2)")
    # With this, a PostgreSQL target would refuse to copy it anew, for good.
    shop.mirror.configure(publication={"name": ["b", "a"], "create": False}, snapshot={"enabled": False})
    shop.mirror.start()
    assert shop.settle() == 2
    assert "copied anew" not in shop.mirror.log_text()


@KINDS
def test_rows_written_outside_of_the_publication(shop_into, kind):
    """A table that leaves its published schema and comes back, a partition that leaves its published root."""
    shop = shop_into(kind)
    shop.execute("CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY); CREATE TABLE s.other (id int PRIMARY KEY);"
                 "CREATE TABLE r (id int PRIMARY KEY) PARTITION BY RANGE (id);"
                 "CREATE TABLE r1 PARTITION OF r FOR VALUES FROM (1) TO (10);"
                 "CREATE PUBLICATION own FOR TABLES IN SCHEMA s, TABLE r")
    shop.mirror.configure(publication={"name": "own", "create": False, "via_partition_root": False})
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("ALTER TABLE s.t SET SCHEMA public")
    shop.execute("INSERT INTO t VALUES (1)")
    shop.execute("ALTER TABLE t SET SCHEMA s")
    shop.execute("ALTER TABLE r DETACH PARTITION r1")
    shop.execute("INSERT INTO r1 VALUES (1)")
    shop.execute("ALTER TABLE r ATTACH PARTITION r1 FOR VALUES FROM (1) TO (10)")
    shop.mirror.look(shop.cluster)
    shop.execute("INSERT INTO s.t VALUES (2); INSERT INTO r VALUES (2)")
    assert shop.settle(tables=["s.t", "s.other", "public.r1"], roots=False) == 4


def make_publication_again(shop, running):
    """Of a table that is followed, with rows before, between and after."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    if not running:
        shop.mirror.stop()
    shop.execute(f"DROP PUBLICATION {shop.name}")
    shop.execute("INSERT INTO t VALUES (2)")
    shop.execute(f"CREATE PUBLICATION {shop.name} FOR ALL TABLES")
    shop.execute("INSERT INTO t VALUES (3)")
    if not running:
        shop.mirror.start()


@pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
@KINDS
def test_a_publication_that_was_made_again(shop_into, kind, running):
    shop = shop_into(kind)
    make_publication_again(shop, running)
    assert shop.mirror.wait_ended() == 3
    said = f'publication "{shop.name}" was dropped and made again'
    # A running one may notice when it is not made again yet.
    assert said in shop.mirror.log_text() or running and "does not exist any more" in shop.mirror.log_text()
    assert "--recopy-all" in shop.mirror.log_text()
    before = shop.mirror.into.query("SELECT CAST(t AS varchar) FROM tailrace.tables t")
    checked = run("check", "-c", shop.mirror.config)
    assert checked.returncode == 1 and f"fail  what the target has: {said}" in checked.stdout, checked.stdout
    for _ in range(2):
        shop.mirror.start()
        assert shop.mirror.wait_ended() == 3
        assert said in shop.mirror.tail(3)
    assert shop.mirror.into.query("SELECT CAST(t AS varchar) FROM tailrace.tables t") == before, "something was written"
    assert shop.mirror.into.value("(SELECT count(*) FROM t)" if kind == "postgres" else
                                  "(SELECT count(*) FROM public.t)") == "1"
    shop.mirror.start("--recopy-all")
    assert shop.settle() == 3, "the remedy is one"


@pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
@KINDS
def test_a_publication_that_was_made_again_on_18(pair_on, shop_on, kind, running):
    """From that version on the server goes on, and leaves out what was written meanwhile: all is copied anew."""
    shop = pair_on(18) if kind == "postgres" else shop_on(18)
    make_publication_again(shop, running)
    wait_until(lambda: "will be copied anew: what is published of it changed" in shop.mirror.log_text(),
               what=shop.mirror.tail)
    shop.mirror.wait_status(lambda status: [table["rows_copied"] for table in status["tables"]] == [3], what="the copy")
    shop.execute("INSERT INTO t VALUES (4); DELETE FROM t WHERE id = 2")
    assert shop.settle() == 3


@KINDS
def test_fewer_connections_than_the_copy_wants(shop_into, kind):
    shop = shop_into(kind)
    tables = [f"t{number}" for number in range(10)]
    for table in tables:
        shop.execute(f"CREATE TABLE {table} (id int PRIMARY KEY); INSERT INTO {table} SELECT generate_series(1, 200)")
    shop.execute(f"CREATE ROLE {shop.name} LOGIN REPLICATION CONNECTION LIMIT 5;"
                 f"GRANT pg_read_all_data TO {shop.name}; CREATE PUBLICATION own FOR TABLE {', '.join(tables)}")
    try:
        mirror = shop.another(source=shop.cluster.url(shop.name, user=shop.name),
                              publication={"name": "own", "create": False}, snapshot={"readers": 16})
        mirror.start()
        mirror.wait_caught_up(shop.cluster)
        assert "one reader less" in mirror.log_text()
        assert shop.settle(mirror) == 2000
        mirror.teardown()
    finally:
        shop.execute(f"DROP OWNED BY {shop.name}; DROP ROLE {shop.name}")


@KINDS
def test_a_schema_that_is_called_like_a_hiding_place(shop_into, kind):
    """Of somebody, whether a tailrace writes into this database or not."""
    shop = shop_into(kind)
    shop.execute("CREATE SCHEMA tailrace_copy_2024; CREATE TABLE tailrace_copy_2024.t (id int PRIMARY KEY);"
                 "INSERT INTO tailrace_copy_2024.t VALUES (1)")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    assert (shop.mirror.table("tailrace_copy_2024.t") or {}).get("state") == "streaming"
    shop.mirror.stop()
    # The books of one that fills a table out of sight.
    shop.execute("CREATE SCHEMA tailrace_copy_2200; CREATE TABLE tailrace_copy_2200.half (id int PRIMARY KEY);"
                 "CREATE SCHEMA tailrace; CREATE TABLE tailrace.hiding_places (place oid primary key, name_space oid);"
                 "INSERT INTO tailrace.hiding_places SELECT oid, 2200 FROM pg_namespace WHERE nspname ="
                 " 'tailrace_copy_2200'; INSERT INTO tailrace_copy_2024.t VALUES (2)")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    assert shop.mirror.table("tailrace_copy_2200.half") is None
    shop.mirror.stop()
    assert shop.mirror.opened().value("(SELECT count(*) FROM tailrace_copy_2024.t)") == "2"
