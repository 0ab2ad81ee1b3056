"""Columns that are other ones than their names say. Invariant: at the checkpoint's LSN the target equals the source,
whichever column of its name a value was written to. Each case has a table of its own, and all share a mirror."""
import pytest

PLAIN = """CREATE TABLE {t} (id int PRIMARY KEY, a text, b text);
           INSERT INTO {t} SELECT i, 'a' || i, 'b' || i FROM generate_series(1, 20) i"""
PARTITIONED = """CREATE TABLE {t} (id int, d int, a text, PRIMARY KEY (id, d)) PARTITION BY LIST (d);
                 CREATE TABLE {t}_1 PARTITION OF {t} FOR VALUES IN (1);
                 INSERT INTO {t} SELECT i, 1, 'a' || i FROM generate_series(1, 20) i"""
CHILD = """CREATE TABLE parent (id int PRIMARY KEY, a text); CREATE TABLE {t} (PRIMARY KEY (id)) INHERITS (parent);
           INSERT INTO {t} SELECT i, 'a' || i FROM generate_series(1, 20) i"""
GENERATED = """CREATE TABLE {t} (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a * 2) STORED);
               INSERT INTO {t} SELECT i, i FROM generate_series(1, 20) i"""
TRADE = "ALTER TABLE {t} RENAME a TO x; ALTER TABLE {t} RENAME b TO a; ALTER TABLE {t} RENAME x TO b"

# name: the table, then transactions. In a backlog, what was written before must not land in the column of after.
CASES = {
    "again": [PLAIN, "UPDATE {t} SET a = 'late' WHERE id < 5", "ALTER TABLE {t} DROP a, ADD a text"],
    "again_and_rows": [PLAIN, "UPDATE {t} SET a = 'late' WHERE id < 5", "ALTER TABLE {t} DROP a",
                       "ALTER TABLE {t} ADD a text", "UPDATE {t} SET a = 'new' WHERE id = 7"],
    "again_with_default": [PLAIN, "UPDATE {t} SET b = 'late' WHERE id < 5",
                           "ALTER TABLE {t} DROP b, ADD b text DEFAULT 'd'", "INSERT INTO {t} VALUES (100, 'x')"],
    "again_and_rows_at_once": [PLAIN, "INSERT INTO {t} VALUES (100, 'x', 'late')",
                               "ALTER TABLE {t} DROP b, ADD b text; UPDATE {t} SET b = 'n' WHERE id = 3"],
    # Rows are found by all of their values, which are not what the stream says.
    "again_and_rows_are_found_by_it": [PLAIN + "; ALTER TABLE {t} REPLICA IDENTITY FULL",
                                       "ALTER TABLE {t} DROP a, ADD a text", "DELETE FROM {t} WHERE id = 3",
                                       "UPDATE {t} SET b = 'x' WHERE id = 4"],
    "several_in_another_order": [PLAIN, "UPDATE {t} SET a = 'late', b = 'late' WHERE id < 5",
                                 "ALTER TABLE {t} DROP a, DROP b, ADD b text, ADD a text DEFAULT 'd'"],
    "traded_names": [PLAIN, "UPDATE {t} SET a = 'late' WHERE id < 5", TRADE, "UPDATE {t} SET a = 'n' WHERE id = 7"],
    "traded_and_back": [PLAIN, "UPDATE {t} SET a = 'late' WHERE id < 5", TRADE,
                        "UPDATE {t} SET a = 'between' WHERE id = 7", TRADE],
    "in_a_partitioned_table": [PARTITIONED, "UPDATE {t} SET a = 'late' WHERE id < 5",
                               "ALTER TABLE {t} DROP a, ADD a text", "UPDATE {t} SET a = 'new' WHERE id = 7"],
}
# A PostgreSQL target would have to make another key for the copy, or drop what it inherits there: that table is held.
DUCKDB_CASES = {
    "inherited": [CHILD, "UPDATE {t} SET a = 'late' WHERE id < 5", "ALTER TABLE parent DROP a, ADD a text",
                  "UPDATE {t} SET a = 'new' WHERE id = 7"],
    "renamed_and_added": [PLAIN, "UPDATE {t} SET a = 'late' WHERE id < 5", "ALTER TABLE {t} RENAME a TO c",
                          "ALTER TABLE {t} ADD a text", "UPDATE {t} SET a = 'new', c = 'old' WHERE id = 7"],
    "by_another_name": [PLAIN, "UPDATE {t} SET b = 'late' WHERE id < 5", "ALTER TABLE {t} DROP b, ADD c text",
                        "UPDATE {t} SET c = 'c' WHERE id = 7", "ALTER TABLE {t} RENAME c TO b"],
    "came_and_went": [PLAIN, "ALTER TABLE {t} ADD c text", "UPDATE {t} SET c = 'gone' WHERE id < 5",
                      "ALTER TABLE {t} DROP c, ADD c text DEFAULT 'd'"],
    "no_longer_generated": [GENERATED, "UPDATE {t} SET a = 100 WHERE id < 5",
                            "ALTER TABLE {t} ALTER g DROP EXPRESSION", "UPDATE {t} SET g = 1 WHERE id = 7"],
    "key_again": [PLAIN, "UPDATE {t} SET a = 'late' WHERE id < 5",
                  "ALTER TABLE {t} DROP id, ADD id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
                  "DELETE FROM {t} WHERE id = 9"],
}


@pytest.mark.parametrize("backlog", [False, True], ids=["live", "backlog"])
@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_a_name_is_no_column(shop_into, kind, backlog):
    shop = shop_into(kind)
    cases = {**CASES, **DUCKDB_CASES} if kind == "duckdb" else CASES
    for case, (table, *_) in cases.items():
        shop.execute(table.format(t=case))
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    # So that the stream has described the tables to this session.
    for case in cases:
        shop.execute(f"UPDATE {case} SET a = a")
    shop.mirror.wait_caught_up(shop.cluster)
    if backlog:
        shop.mirror.stop()
    for case, (_, *transactions) in cases.items():
        for transaction in transactions:
            shop.execute(transaction.format(t=case))
    if backlog:
        shop.mirror.start()
    shop.mirror.look(shop.cluster)
    shop.settle(tables=[f"public.{case}" for case in cases])


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_what_is_proven_copies_nothing(shop_into, kind):
    """What a backlog proves is followed in place, whatever the catalogs show by then."""
    shop = shop_into(kind)
    for table in ("additions", "drops", "names"):
        shop.execute(PLAIN.format(t=table))
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    shop.execute("UPDATE additions SET a = 'late' WHERE id < 5")
    shop.execute("ALTER TABLE additions ADD c text DEFAULT 'c'")
    shop.execute("UPDATE additions SET c = 'x' WHERE id = 7")
    shop.execute("ALTER TABLE additions ADD d int")
    shop.execute("UPDATE drops SET a = 'late', b = 'late' WHERE id < 5")
    shop.execute("ALTER TABLE drops DROP a")
    shop.execute("UPDATE drops SET b = 'x' WHERE id = 7")
    shop.execute("UPDATE names SET a = 'late', b = 'late' WHERE id < 5")
    shop.execute("ALTER TABLE names RENAME a TO c")
    shop.execute("UPDATE names SET c = 'x' WHERE id = 7")
    shop.mirror.start()
    shop.mirror.look(shop.cluster)
    shop.settle()
    assert "copied anew" not in shop.mirror.log_text()


NARROW = "CREATE TABLE {t} (id int PRIMARY KEY, n int); INSERT INTO {t} SELECT i, i FROM generate_series(1, 20) i"
# What older rows have in a column that came: the catalogs forget it once the rows were written anew.
ADDED = {
    "then_vacuumed": [PLAIN, "ALTER TABLE {t} ADD v int DEFAULT 5", "VACUUM FULL {t}"],
    "then_vacuumed_and_rows": [PLAIN, "ALTER TABLE {t} ADD v int DEFAULT 5", "VACUUM FULL {t}",
                               "INSERT INTO {t} VALUES (100, 'x')"],
    "then_clustered": [NARROW, "ALTER TABLE {t} ADD v int DEFAULT 5", "CLUSTER {t} USING {t}_pkey"],
    "in_rows_between": [NARROW, "ALTER TABLE {t} ADD v int DEFAULT 5", "UPDATE {t} SET n = 0 WHERE id < 5",
                        "VACUUM FULL {t}", "UPDATE {t} SET v = 6 WHERE id = 9"],
    "volatile": [NARROW, "ALTER TABLE {t} ADD u uuid NOT NULL DEFAULT gen_random_uuid()"],
    "volatile_and_toast": [PLAIN, "ALTER TABLE {t} ADD u uuid NOT NULL DEFAULT gen_random_uuid()"],
    "volatile_and_rows": [NARROW, "ALTER TABLE {t} ADD r float8 DEFAULT random()", "INSERT INTO {t} VALUES (100, 1)"],
    "serial": [NARROW, "ALTER TABLE {t} ADD s serial"],
    "identity": [NARROW, "ALTER TABLE {t} ADD s bigint GENERATED ALWAYS AS IDENTITY"],
    "generated": [NARROW, "ALTER TABLE {t} ADD g int GENERATED ALWAYS AS (n * 2) STORED"],
}


@pytest.mark.parametrize("backlog", [False, True], ids=["live", "backlog"])
@pytest.mark.parametrize("listed", [False, True], ids=["all_tables", "listed"])
@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_what_older_rows_have_in_a_new_column(shop_into, kind, listed, backlog):
    shop = shop_into(kind)
    for case, (table, *_) in ADDED.items():
        shop.execute(table.format(t=case))
    if listed:
        shop.mirror.configure(tables=["public.*"])
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    if backlog:
        shop.mirror.stop()
    for case, (_, *transactions) in ADDED.items():
        for transaction in transactions:
            shop.execute(transaction.format(t=case))
    if backlog:
        shop.mirror.start()
    shop.mirror.look(shop.cluster)
    shop.settle(tables=[f"public.{case}" for case in ADDED])
