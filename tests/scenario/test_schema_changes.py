"""Definitions that change while they are followed. Invariant: at the checkpoint's LSN the target equals the source,
its columns included."""
import os
import signal
from contextlib import contextmanager

import pytest

from lsn import fill_page
from waiting import wait_until

pytestmark = pytest.mark.duckdb("changes of definitions are not followed into PostgreSQL yet")

START = """
CREATE TABLE t (id int PRIMARY KEY, v text, n int);
INSERT INTO t SELECT i, 'v' || i, i FROM generate_series(1, 200) i;
CREATE TABLE bystander (id int PRIMARY KEY)
"""

# name: transactions; each is one string. What follows a change proves that later rows land right.
CASES = {
    "add_column": ["ALTER TABLE t ADD extra text", "INSERT INTO t VALUES (300, 'x', 1, 'e')",
                   "UPDATE t SET extra = 'u' WHERE id < 10"],
    "add_column_with_default": ["ALTER TABLE t ADD extra int DEFAULT 7 NOT NULL", "INSERT INTO t VALUES (300, 'x', 1)",
                                "UPDATE t SET extra = 8 WHERE id < 10"],
    "add_column_with_volatile_default": ["ALTER TABLE t ADD extra uuid DEFAULT gen_random_uuid()",
                                         "INSERT INTO t VALUES (300, 'x', 1)"],
    "add_column_with_default_and_no_later_change": ["ALTER TABLE t ADD extra text DEFAULT 'same'",
                                                    "INSERT INTO t VALUES (300)"],
    "drop_column": ["ALTER TABLE t DROP n", "INSERT INTO t VALUES (300, 'x')", "UPDATE t SET v = 'u' WHERE id < 10"],
    "rename_column": ["ALTER TABLE t RENAME v TO value", "INSERT INTO t (id, value) VALUES (300, 'x')",
                      "DELETE FROM t WHERE id = 5"],
    "swap_names": ["ALTER TABLE t ADD w text", "ALTER TABLE t RENAME v TO x; ALTER TABLE t RENAME w TO v",
                   "INSERT INTO t (id, v, x) VALUES (300, 'v', 'x')"],
    "drop_and_add_the_same_name": ["ALTER TABLE t DROP v; ALTER TABLE t ADD v int",
                                   "INSERT INTO t (id, v) VALUES (300, 5)"],
    "widen_type": ["ALTER TABLE t ALTER n TYPE bigint", "INSERT INTO t VALUES (300, 'x', 5000000000)"],
    "change_type": ["ALTER TABLE t ALTER n TYPE text USING n || ' pieces'", "INSERT INTO t VALUES (300, 'x', 'many')"],
    "change_precision": ["ALTER TABLE t ADD p numeric(6,2); UPDATE t SET p = id",
                         "ALTER TABLE t ALTER p TYPE numeric(12,4)",
                         "INSERT INTO t VALUES (300, 'x', 1, 12345678.1234)"],
    "rename_table": ["ALTER TABLE t RENAME TO u", "INSERT INTO u VALUES (300, 'x', 1)",
                     "UPDATE u SET n = 0 WHERE id < 9"],
    "set_schema": ["CREATE SCHEMA elsewhere", "ALTER TABLE t SET SCHEMA elsewhere",
                   "INSERT INTO elsewhere.t VALUES (300, 'x', 1)"],
    "change_key": ["ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (n)",
                   "UPDATE t SET id = 0 WHERE n < 10", "DELETE FROM t WHERE n = 20"],
    "full_identity": ["ALTER TABLE t REPLICA IDENTITY FULL", "UPDATE t SET n = n + 1 WHERE id < 10",
                      "ALTER TABLE t REPLICA IDENTITY DEFAULT", "DELETE FROM t WHERE id = 3"],
    "rewrite": ["VACUUM FULL t", "INSERT INTO t VALUES (300, 'x', 1)", "CLUSTER t USING t_pkey",
                "DELETE FROM t WHERE id = 3"],
    "drop_and_make_again": ["DROP TABLE t", "CREATE TABLE t (id bigint PRIMARY KEY, other date)",
                            "INSERT INTO t VALUES (1, '2024-01-01')"],
    "rows_and_definition_in_one_transaction": [
        "INSERT INTO t VALUES (300, 'before', 1); ALTER TABLE t ADD extra text;"
        "INSERT INTO t VALUES (301, 'after', 1, 'e'); ALTER TABLE t DROP n; INSERT INTO t VALUES (302, 'last', 'f')"],
    "updates_then_definition_in_one_transaction": [
        "UPDATE t SET v = 'before' WHERE id < 10; DELETE FROM t WHERE id = 11; ALTER TABLE t ADD extra int DEFAULT 7;"
        "UPDATE t SET extra = 8 WHERE id < 5; ALTER TABLE t ADD more text; UPDATE t SET more = 'm' WHERE id = 3"],
    "definition_between_transactions_that_update": [
        "UPDATE t SET v = 'before' WHERE id < 10", "DELETE FROM t WHERE id = 11",
        "ALTER TABLE t ADD extra int DEFAULT 7", "UPDATE t SET extra = 8 WHERE id < 5", "ALTER TABLE t DROP n",
        "UPDATE t SET v = 'after' WHERE id = 3"],
    "another_table_first_in_the_transaction_that_alters": [
        "UPDATE t SET v = 'before' WHERE id < 10",
        "INSERT INTO bystander VALUES (-1); ALTER TABLE t ADD extra int DEFAULT 7; UPDATE t SET extra = 8 WHERE id < 5",
        "UPDATE t SET v = 'after' WHERE id = 3"],
    "new_enum_value": ["CREATE TYPE mood AS ENUM ('a')", "ALTER TABLE t ADD m mood DEFAULT 'a'",
                       "ALTER TYPE mood ADD VALUE 'b'", "INSERT INTO t VALUES (300, 'x', 1, 'b')",
                       "ALTER TYPE mood RENAME VALUE 'b' TO 'c'", "INSERT INTO t VALUES (301, 'x', 1, 'c')"],
}
# PostgreSQL renames the value in rows that are there without any change in the stream; the mirror has what was sent.
SILENT_AT_SOURCE = {"new_enum_value": "UPDATE t SET m = 'c' WHERE m = 'c'"}


@pytest.mark.parametrize("backlog", [False, True], ids=["live", "backlog"])
@pytest.mark.parametrize("case", CASES)
def test_definition_changes(shop, case, backlog):
    shop.execute(START)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    if backlog:
        shop.mirror.stop()
    for transaction in CASES[case]:
        shop.execute(transaction)
        shop.execute("INSERT INTO bystander SELECT count(*) FROM bystander")
    if case in SILENT_AT_SOURCE:
        shop.execute(SILENT_AT_SOURCE[case])
    if backlog:
        shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.settle()


def test_many_changes_with_rows_between(shop):
    shop.execute(START)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    for step in range(15):
        shop.execute(f"ALTER TABLE t ADD c{step} int DEFAULT {step}")
        shop.execute(f"INSERT INTO t (id, v, c{step}) VALUES ({1000 + step}, 'row', -1)")
        if step % 3 == 2:
            shop.execute(f"ALTER TABLE t DROP c{step - 1}; UPDATE t SET n = n + 1 WHERE id % 7 = {step % 7}")
    shop.settle()


@contextmanager
def quiet(cluster):
    """Nobody but tests writes WAL there."""
    writer = int(cluster.value("SELECT pid FROM pg_stat_activity WHERE backend_type = 'background writer'"))
    os.kill(writer, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(writer, signal.SIGCONT)


def test_the_log_ends_with_its_page(shop):
    """What nobody writes to is looked at in the catalogs, and followed once the stream is where they were read: a
    place that an idle server's stream never reaches, if it is that of the next record, on the next page."""
    shop.execute(START)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    with shop.cluster.connect(shop.name) as connection, quiet(shop.cluster):
        connection.execute("ALTER TABLE bystander ADD added int DEFAULT 7")
        fill_page(connection)
        wait_until(lambda: "bystander changed its definition" in shop.mirror.tail(), 30, lambda: shop.mirror.tail())
    shop.settle()
