"""Many tables with few rows each: what DuckDB keeps of each in memory until a checkpoint is not more than there is."""
import pytest

TABLES = 400
TYPES = ("bigint", "text", "timestamptz", "numeric(12,2)", "int")
COLUMNS = ", ".join(f"c{number} {TYPES[number % len(TYPES)]}" for number in range(1, 20))
MAKE = f"""DO $$ BEGIN FOR i IN 1..{TABLES} LOOP
    EXECUTE format('CREATE TABLE t%s (id bigint PRIMARY KEY, {COLUMNS});'
                   'INSERT INTO t%s (id, c1) VALUES (1, ''a'')', i, i);
END LOOP; END $$"""


def written(shop, statement):
    """To each table, by a transaction of its own."""
    with shop.connect() as connection:
        for table in range(1, TABLES + 1):
            connection.execute(statement.format(f"t{table}"))


@pytest.mark.parametrize("file", ["new", "from before"])
def test_few_rows_in_each_of_many_tables(shop_into, file):
    shop = shop_into("duckdb")
    shop.execute(MAKE)
    # 128 MB for DuckDB, which takes 2.5 MB for each of these tables that changes, until it writes a checkpoint.
    shop.mirror.configure(limits={"memory": "256MB"})
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster, timeout=120)
    if file == "from before":
        shop.mirror.kill()
        written(shop, "INSERT INTO {} (id, c1) VALUES (3, 'while it was away')")
        shop.mirror.start()
    written(shop, "INSERT INTO {} (id, c1) VALUES (2, 'b')")
    written(shop, "UPDATE {} SET c5 = c5 + 1, c1 = 'c' WHERE id = 1")
    shop.mirror.wait_caught_up(shop.cluster, timeout=120)
    assert shop.settle() == TABLES * (3 if file == "from before" else 2)


def test_a_wide_table_alone(shop_into):
    """It has more columns than one commit should; a backlog of it is still taken in large ones."""
    shop = shop_into("duckdb")
    columns = ", ".join(f"c{number} int" for number in range(700))
    shop.execute(f"CREATE TABLE w (id int PRIMARY KEY, {columns}); CREATE TABLE x (id int PRIMARY KEY, {columns})")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    with shop.connect() as connection:
        for row in range(500):
            connection.execute("INSERT INTO w (id, c1) VALUES (%s, 1)", [row])
            connection.execute("INSERT INTO x (id, c1) VALUES (%s, 1)", [row])
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    assert shop.mirror.status()["commits"] < 100
    assert shop.settle() == 1000
