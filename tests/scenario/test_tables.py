"""Tables of every kind and name. Invariant: at the checkpoint's LSN the target equals the source."""
import pytest


def follow(shop, setup, changes, **how):
    """Copies after `setup`, follows `changes`, compares. Half of the data goes each way."""
    shop.execute(setup)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    for change in changes:
        shop.execute(change)
    return shop.settle(**how)


PARTITIONS = """
CREATE TABLE m (id int, at date NOT NULL, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE m_23 PARTITION OF m FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE m_24 PARTITION OF m FOR VALUES FROM ('2024-01-01') TO ('2025-01-01') PARTITION BY LIST (id);
CREATE TABLE m_24_a PARTITION OF m_24 FOR VALUES IN (1, 2, 3);
CREATE TABLE m_24_b PARTITION OF m_24 DEFAULT;
CREATE TABLE m_x (v text, at date NOT NULL, junk int, id int NOT NULL, PRIMARY KEY (id, at));
ALTER TABLE m_x DROP junk; ALTER TABLE m ATTACH PARTITION m_x DEFAULT;
INSERT INTO m SELECT i, date '2023-06-01' + i * 20, 'v' || i FROM generate_series(1, 100) i
"""
PARTITION_CHANGES = [
    "INSERT INTO m SELECT i, date '2023-06-01' + i * 20, 'n' FROM generate_series(101, 120) i",
    "UPDATE m SET v = v || '!' WHERE id % 3 = 0",
    "UPDATE m SET at = at + 400 WHERE id % 10 = 1",
    "DELETE FROM m WHERE id % 7 = 0",
]


@pytest.mark.parametrize("version", [13, 15, 18], ids=lambda version: f"pg{version}")
def test_partitions_as_their_root(shop_on, version):
    shop = shop_on(version)
    follow(shop, PARTITIONS, [*PARTITION_CHANGES,
                              "CREATE TABLE m_25 PARTITION OF m FOR VALUES FROM ('2040-01-01') TO ('2050-01-01')",
                              "INSERT INTO m VALUES (1, '2045-05-05', 'in a new partition')"])


def test_partitions_as_leaves(shop):
    shop.mirror.configure(publication={"via_partition_root": False})
    follow(shop, PARTITIONS, PARTITION_CHANGES, roots=False)


def test_inheritance(shop):
    """Children are tables of their own; COPY of the parent must not bring their rows along."""
    shop.execute("""
        CREATE TABLE city (id int PRIMARY KEY, name text); CREATE TABLE capital (state text) INHERITS (city);
        ALTER TABLE capital ADD PRIMARY KEY (id); INSERT INTO city VALUES (1, 'Ulm');
        INSERT INTO capital VALUES (2, 'Bonn', 'x')""")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("INSERT INTO city VALUES (3, 'Linz'); UPDATE city SET name = name || '!';"
                 "DELETE FROM city WHERE id = 1")
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    with shop.mirror.opened() as mirror:
        city = shop.mirror.into.only("public.city")
        assert mirror.query(f"SELECT id::varchar, name FROM {city}") == [("3", "Linz!")]
        assert mirror.query("SELECT id::varchar, name, state FROM public.capital") == [("2", "Bonn!", "x")]


@pytest.mark.parametrize("names", [
    ("sh op", "or\"ders", "na me"), ("Größe", "名前", "ключ🔑"), ("select", "table", "from"), ("a.b", "c.d", "e.f"),
    ("s'x", "t'y", "z'w"), ("UPPER", "MixedCase", "CamelCol"), ("percent%s", "brace{}", "dollar$1"),
], ids=lambda names: names[1])
def test_names(shop, names):
    schema, table, column = ('"' + name.replace('"', '""') + '"' for name in names)
    follow(shop, f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.{table} ({column} int PRIMARY KEY, \"v v\" text);"
                 f"INSERT INTO {schema}.{table} VALUES (1, 'a'), (2, 'b')",
           [f"INSERT INTO {schema}.{table} VALUES (3, 'c')", f"UPDATE {schema}.{table} SET \"v v\" = 'u'",
            f"DELETE FROM {schema}.{table} WHERE {column} = 1"])


@pytest.mark.duckdb("PostgreSQL tells names apart by case")
def test_names_that_differ_in_case_only(shop):
    """DuckDB folds case, PostgreSQL does not: both tables must be there, whatever they are called."""
    shop.execute("""
        CREATE TABLE "Orders" (id int PRIMARY KEY, "V" text, v text); CREATE TABLE orders (id int PRIMARY KEY, v text);
        INSERT INTO "Orders" VALUES (1, 'A', 'a'); INSERT INTO orders VALUES (1, 'lower')""")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("""INSERT INTO "Orders" VALUES (2, 'B', 'b'); INSERT INTO orders VALUES (2, 'x'), (3, 'y')""")
    shop.mirror.wait_caught_up(shop.cluster)
    shop.verified()
    targets = {name: shop.mirror.table(f"public.{name}")["target_name"] for name in ("Orders", "orders")}
    assert targets["Orders"].lower() != targets["orders"].lower()
    shop.mirror.stop()
    with shop.mirror.opened() as mirror:
        assert mirror.value(f"(SELECT count(*) FROM {targets['Orders']})") == "2"
        assert mirror.value(f"(SELECT count(*) FROM {targets['orders']})") == "3"


def test_no_columns(shop):
    """There is nothing to hold in such a table; it must not disturb the others."""
    shop.execute("CREATE TABLE nothing (); CREATE TABLE t (id int PRIMARY KEY); INSERT INTO nothing DEFAULT VALUES")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("INSERT INTO nothing DEFAULT VALUES; INSERT INTO t VALUES (1)")
    shop.settle(tables=["public.t"])


@pytest.mark.duckdb("its memory after a checkpoint of the file")
def test_sixteen_hundred_columns(shop):
    columns = ", ".join(f"c{i} int" for i in range(1599))
    follow(shop, f"CREATE TABLE wide (id int PRIMARY KEY, {columns}); INSERT INTO wide VALUES (1, 2, 3)",
           ["INSERT INTO wide (id, c1598) VALUES (2, 7)", "UPDATE wide SET c700 = 5", "DELETE FROM wide WHERE id = 1"])
    # A clean end checkpoints the file; only then does DuckDB take blocks of the file for what is written.
    shop.mirror.start()
    shop.mirror.wait_streaming()
    shop.execute("INSERT INTO wide (id, c3) VALUES (3, 7); UPDATE wide SET c900 = 6")
    shop.settle()


def test_generated_and_dropped_columns(shop):
    """PostgreSQL does not publish generated columns before 18, and the mirror has what is published."""
    follow(shop, "CREATE TABLE t (junk text, id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED, v text,"
                 " serial int GENERATED ALWAYS AS IDENTITY, more text);"
                 "INSERT INTO t (id, v) VALUES (1, 'a'); ALTER TABLE t DROP junk, DROP more;"
                 "INSERT INTO t (id, v) VALUES (2, 'b')",
           ["INSERT INTO t (id, v) VALUES (3, 'c')", "UPDATE t SET v = 'u' WHERE id = 1"])


def test_views_sequences_and_unlogged_tables_do_not_disturb(shop):
    follow(shop, "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE UNLOGGED TABLE u (id int);"
                 "CREATE VIEW v AS SELECT * FROM t; CREATE MATERIALIZED VIEW mv AS SELECT * FROM t;"
                 "CREATE SEQUENCE s; INSERT INTO t VALUES (1, 'a')",
           ["INSERT INTO u VALUES (1); INSERT INTO t VALUES (2, 'b')", "REFRESH MATERIALIZED VIEW mv",
            "SELECT nextval('s')"])


def test_many_tables(shop):
    """300 tables, a row in each from the copy and one from the stream."""
    shop.execute("DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format("
                 "'CREATE TABLE t%s (id int PRIMARY KEY, v text); INSERT INTO t%s VALUES (1, %L)', i, i, i);"
                 " END LOOP; END $$")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster, timeout=120)
    shop.execute("DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format('INSERT INTO t%s VALUES (2, %L)', i, i);"
                 " END LOOP; END $$")
    assert shop.settle(timeout=120) == 600


def test_table_made_while_following(shop):
    """A new table in the selection is copied and followed without a restart."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("CREATE TABLE later (id int PRIMARY KEY, v text); INSERT INTO later VALUES (1, 'first')")
    shop.execute("INSERT INTO later SELECT i, 'x' FROM generate_series(2, 100) i; INSERT INTO t VALUES (2)")
    shop.mirror.wait_status(lambda status: shop.mirror.table("public.later"), what="the new table in the status")
    assert shop.settle() == 102


def test_columns_that_the_statistics_call_distinct(shop):
    """DuckDB is told how to compress these; whatever comes later must be held all the same."""
    follow(shop, "CREATE TABLE t (id int PRIMARY KEY, v text, same text);"
                 "INSERT INTO t SELECT i, md5(i::text), 'same' FROM generate_series(1, 150000) i; ANALYZE t",
           ["UPDATE t SET v = 'now all alike' WHERE id % 3 = 0", "UPDATE t SET v = repeat(v, 3000) WHERE id % 9999 = 0",
            "UPDATE t SET v = NULL WHERE id % 5 = 0",
            "INSERT INTO t SELECT 200000 + i, '', 'x' FROM generate_series(1, 5) i"])
