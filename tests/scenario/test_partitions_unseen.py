"""What changes rows without a word in the stream: partitions that come, go or are emptied, and tables that are
UNLOGGED for a while. Invariant: at the checkpoint's LSN after a look at the catalogs, the target equals the source.
Each case has tables of its own, and all share a mirror."""
import pytest

PARTS = """CREATE TABLE {t} (id int, d int, v text, PRIMARY KEY (id, d)) PARTITION BY LIST (d);
           CREATE TABLE {t}_1 PARTITION OF {t} FOR VALUES IN (1); CREATE TABLE {t}_2 PARTITION OF {t} FOR VALUES IN (2);
           CREATE TABLE {t}_d PARTITION OF {t} DEFAULT;
           INSERT INTO {t} SELECT i, i % 4, 'v' || i FROM generate_series(1, 40) i"""
LISTED = """CREATE TABLE {t} (id int, d int, v text, w int, PRIMARY KEY (id, d)) PARTITION BY LIST (d);
            CREATE TABLE {t}_1 PARTITION OF {t} FOR VALUES IN (1);
            INSERT INTO {t} SELECT i, 1, 'v' || i FROM generate_series(1, 40) i"""
SEVENTH = ["CREATE TABLE {t}_7 PARTITION OF {t} FOR VALUES IN (7)", "INSERT INTO {t} VALUES (90, 7)"]
NARROW = "CREATE TABLE {t} (id int PRIMARY KEY, n int); INSERT INTO {t} SELECT i, i FROM generate_series(1, 20) i"
WIDE = "CREATE TABLE {t} (id int PRIMARY KEY, n text); INSERT INTO {t} SELECT i, i FROM generate_series(1, 20) i"
UNLOGGED = ["ALTER TABLE {t} SET UNLOGGED", "INSERT INTO {t} VALUES (90, 1); UPDATE {t} SET n = 99 WHERE id = 1",
            "ALTER TABLE {t} SET LOGGED", "INSERT INTO {t} VALUES (91, 1)"]
MOVED = """BEGIN; CREATE TABLE {t}_3 (LIKE {t} INCLUDING ALL);
           INSERT INTO {t}_3 SELECT * FROM {t}_d WHERE d = 3; DELETE FROM {t}_d WHERE d = 3;
           ALTER TABLE {t} ATTACH PARTITION {t}_3 FOR VALUES IN (3); COMMIT"""

# name: the table, then transactions.
CASES = {
    "one_truncated": [PARTS, "TRUNCATE {t}_1", "INSERT INTO {t} VALUES (90, 1)"],
    "one_truncated_after_all_were": [PARTS, "TRUNCATE {t}", "INSERT INTO {t} VALUES (90, 1), (91, 2)",
                                     "TRUNCATE {t}_1"],
    "one_dropped": [PARTS, "DROP TABLE {t}_1", "INSERT INTO {t} VALUES (90, 2)"],
    "attached_with_rows": [PARTS, "DELETE FROM {t} WHERE d = 3", "CREATE TABLE {t}_3 (LIKE {t} INCLUDING ALL)",
                           "INSERT INTO {t}_3 VALUES (90, 3)",
                           "ALTER TABLE {t} ATTACH PARTITION {t}_3 FOR VALUES IN (3)"],
    "moved_and_attached": [PARTS, MOVED],
    "moved_attached_and_changed": [PARTS, MOVED, "UPDATE {t} SET id = id + 1000", "DELETE FROM {t} WHERE d = 3"],
    "wider_moved_and_attached": [PARTS, "ALTER TABLE {t} ADD c text", MOVED],
    "wider_and_created": [PARTS, "DELETE FROM {t} WHERE d = 3", "ALTER TABLE {t} ADD c text",
                          "CREATE TABLE {t}_3 PARTITION OF {t} FOR VALUES IN (3)",
                          "INSERT INTO {t} VALUES (90, 3, 'v', 'c')"],
    "attached_below": [PARTS, "DELETE FROM {t} WHERE d = 3",
                       "CREATE TABLE {t}_3 (LIKE {t} INCLUDING ALL) PARTITION BY LIST (d);"
                       "CREATE TABLE {t}_3a PARTITION OF {t}_3 FOR VALUES IN (3); INSERT INTO {t}_3 VALUES (90, 3);"
                       "ALTER TABLE {t} ATTACH PARTITION {t}_3 FOR VALUES IN (3)"],
    "created_filled_and_truncated": [PARTS, "DELETE FROM {t} WHERE d = 3",
                                     "CREATE TABLE {t}_3 PARTITION OF {t} FOR VALUES IN (3)",
                                     "INSERT INTO {t} VALUES (90, 3)", "TRUNCATE {t}_3",
                                     "INSERT INTO {t} VALUES (91, 3)"],
    "created_filled_and_emptied": [PARTS, "DELETE FROM {t} WHERE d = 3",
                                   "CREATE TABLE {t}_3 PARTITION OF {t} FOR VALUES IN (3)",
                                   "INSERT INTO {t} VALUES (90, 3)", "TRUNCATE {t}_3"],
    "came_and_went": [PARTS, "CREATE TABLE {t}_7 PARTITION OF {t} FOR VALUES IN (7)",
                      "INSERT INTO {t} VALUES (90, 7), (91, 7)", "DROP TABLE {t}_7"],
    "came_with_much_and_went": [PARTS, "CREATE TABLE {t}_7 PARTITION OF {t} FOR VALUES IN (7)",
                                "INSERT INTO {t} SELECT i, 7, repeat('v', 400) FROM generate_series(90, 3000) i",
                                "DROP TABLE {t}_7"],
    "came_below_and_went": [PARTS, "CREATE TABLE {t}_7 PARTITION OF {t} FOR VALUES IN (7, 8) PARTITION BY LIST (d)",
                            "CREATE TABLE {t}_7a PARTITION OF {t}_7 FOR VALUES IN (7)",
                            "INSERT INTO {t} VALUES (90, 7), (91, 7)", "DROP TABLE {t}_7"],
    "came_and_was_replaced": [PARTS, "CREATE TABLE {t}_7 PARTITION OF {t} FOR VALUES IN (7)",
                              "INSERT INTO {t} VALUES (90, 7), (91, 7)", "DROP TABLE {t}_7",
                              "CREATE TABLE {t}_7 PARTITION OF {t} FOR VALUES IN (7)",
                              "INSERT INTO {t} VALUES (91, 7), (92, 7)"],
    "came_and_went_without_a_default": [LISTED, *SEVENTH, "DROP TABLE {t}_7", "INSERT INTO {t} VALUES (91, 1)"],
    "came_and_left_without_a_default": [LISTED, *SEVENTH, "ALTER TABLE {t} DETACH PARTITION {t}_7; DROP TABLE {t}_7",
                                        "INSERT INTO {t} VALUES (91, 1)"],
    "came_and_got_a_column": [LISTED, *SEVENTH, "ALTER TABLE {t} ADD x int", "INSERT INTO {t} VALUES (91, 7)"],
    "came_and_lost_a_column": [LISTED, *SEVENTH, "ALTER TABLE {t} DROP w", "INSERT INTO {t} VALUES (91, 7)"],
    "unlogged_partition": [PARTS, "ALTER TABLE {t}_1 SET UNLOGGED", "INSERT INTO {t} VALUES (90, 1)",
                           "ALTER TABLE {t}_1 SET LOGGED", "INSERT INTO {t} VALUES (91, 1)"],
    "unlogged": [WIDE, *UNLOGGED],
    "unlogged_without_toast": [NARROW, *UNLOGGED],
    "unlogged_and_truncated": [NARROW, "TRUNCATE {t}", *UNLOGGED],
    "unlogged_and_truncated_meanwhile": [NARROW, UNLOGGED[0], "TRUNCATE {t}", *UNLOGGED[1:]],
}
# The table that is left holds its rows at a PostgreSQL target too, as a partition there.
DUCKDB_CASES = {
    "detached": [PARTS, "ALTER TABLE {t} DETACH PARTITION {t}_1", "INSERT INTO {t}_1 VALUES (90, 1)",
                 "INSERT INTO {t} VALUES (91, 2)"],
    "detached_and_back": [PARTS, "ALTER TABLE {t} DETACH PARTITION {t}_1", "INSERT INTO {t}_1 VALUES (90, 1)",
                          "ALTER TABLE {t} ATTACH PARTITION {t}_1 FOR VALUES IN (1)"],
    "attached_changed_and_detached": [PARTS, "DELETE FROM {t} WHERE d = 3",
                                      "CREATE TABLE {t}_3 (LIKE {t} INCLUDING ALL);"
                                      "INSERT INTO {t}_3 VALUES (90, 3), (91, 3), (92, 3);"
                                      "ALTER TABLE {t} ATTACH PARTITION {t}_3 FOR VALUES IN (3)",
                                      "UPDATE {t} SET v = 'late' WHERE id IN (1, 90)", "DELETE FROM {t} WHERE id = 91",
                                      "ALTER TABLE {t} DETACH PARTITION {t}_3"],
}


@pytest.mark.parametrize("backlog", [False, True], ids=["live", "backlog"])
@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_rows_that_no_change_brought(shop_into, kind, backlog):
    shop = shop_into(kind)
    cases = {**CASES, **DUCKDB_CASES} if kind == "duckdb" else CASES
    for case, (table, *_) in cases.items():
        shop.execute(table.format(t=case))
    shop.mirror.start()
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
def test_a_leaf_that_came_before_a_kill_and_went_after_it(shop_into, kind):
    """Its rows are in the target, and no look at the catalogs has seen it."""
    shop = shop_into(kind)
    shop.execute(PARTS.format(t="t"))
    shop.mirror.start()
    shop.mirror.look(shop.cluster)
    shop.execute("CREATE TABLE t_7 PARTITION OF t FOR VALUES IN (7)")
    shop.execute("INSERT INTO t VALUES (90, 7), (91, 1)")
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.kill()
    shop.execute("DROP TABLE t_7")
    shop.mirror.start()
    shop.mirror.look(shop.cluster)
    shop.settle()


def test_a_leaf_that_a_transaction_filled_which_is_not_wanted(shop_into):
    """The stream describes it there, and not again for what is wanted."""
    shop = shop_into("duckdb")
    shop.mirror.configure(origin="none")
    shop.execute(PARTS.format(t="t"))
    shop.mirror.start()
    shop.mirror.look(shop.cluster)
    shop.execute("CREATE TABLE t_7 PARTITION OF t FOR VALUES IN (7)")
    shop.execute("SELECT pg_replication_origin_create('elsewhere')")
    try:
        shop.execute("SELECT pg_replication_origin_session_setup('elsewhere'); INSERT INTO t VALUES (90, 7)")
        shop.execute("INSERT INTO t VALUES (91, 7)")
        shop.execute("DROP TABLE t_7")
        shop.mirror.look(shop.cluster)
        shop.settle()
    finally:
        shop.execute("SELECT pg_replication_origin_drop('elsewhere')")


HARMLESS = {
    "vacuumed": [WIDE, "VACUUM FULL {t}", "CLUSTER {t} USING {t}_pkey"],
    "truncated": [WIDE, "TRUNCATE {t}", "INSERT INTO {t} VALUES (90, 1)"],
    "truncated_without_toast": [NARROW, "TRUNCATE {t}", "INSERT INTO {t} VALUES (90, 1)"],
    "all_truncated": [PARTS, "TRUNCATE {t}", "INSERT INTO {t} VALUES (90, 1), (91, 2)"],
    "created": [PARTS, "DELETE FROM {t} WHERE d = 3", "CREATE TABLE {t}_3 PARTITION OF {t} FOR VALUES IN (3)",
                "INSERT INTO {t} VALUES (90, 3)"],
    "constrained": [WIDE, "VACUUM FULL {t}", "ALTER TABLE {t} ALTER n SET NOT NULL"],
}
DUCKDB_HARMLESS = {
    "attached_empty": [PARTS, "DELETE FROM {t} WHERE d = 3", "CREATE TABLE {t}_3 (LIKE {t} INCLUDING ALL)",
                       "ALTER TABLE {t} ATTACH PARTITION {t}_3 FOR VALUES IN (3)"],
}


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_what_leaves_the_rows_alone_copies_nothing(shop_into, kind):
    shop = shop_into(kind)
    cases = {**HARMLESS, **DUCKDB_HARMLESS} if kind == "duckdb" else HARMLESS
    for case, (table, *_) in cases.items():
        shop.execute(table.format(t=case))
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.look(shop.cluster)
    for case, (_, *transactions) in cases.items():
        for transaction in transactions:
            shop.execute(transaction.format(t=case))
    shop.mirror.look(shop.cluster)
    # What was seen is recorded: nothing is suspected after a new start.
    shop.mirror.stop()
    shop.mirror.start()
    shop.mirror.look(shop.cluster)
    shop.settle(tables=[f"public.{case}" for case in cases])
    assert "copied anew" not in shop.mirror.log_text()


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_what_is_not_known_is_taken_as_it_is(shop_into, kind):
    """Mirrors of an earlier tailrace know nothing of partitions: nothing is copied anew for that, and then noticed."""
    shop = shop_into(kind)
    for table, sql in (("parts", PARTS), ("wide", WIDE), ("narrow", NARROW)):
        shop.execute(sql.format(t=table))
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    with shop.mirror.into.opened(writable=True) as target:
        target.query("UPDATE tailrace.tables SET storage = ''")
    shop.execute("ALTER TABLE narrow ADD v text DEFAULT 'v'")
    shop.execute("INSERT INTO narrow VALUES (90, 1); INSERT INTO parts VALUES (90, 1)")
    shop.mirror.start()
    shop.mirror.look(shop.cluster)
    assert "copied anew" not in shop.mirror.log_text()
    shop.execute("TRUNCATE parts_1; ALTER TABLE wide SET UNLOGGED; DELETE FROM wide; ALTER TABLE wide SET LOGGED")
    shop.mirror.look(shop.cluster)
    shop.settle(tables=["public.parts", "public.wide", "public.narrow"])
