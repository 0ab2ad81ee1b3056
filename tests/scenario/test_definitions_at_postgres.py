"""Definitions that change at the source while a PostgreSQL target follows, beyond columns: types, partitions, views,
new tables beside what the target has. Invariant: at the checkpoint's LSN each name holds at the target what it holds at
the source; what cannot be followed holds its one table, and says why."""
import pytest

from tailrace import run
from test_foreign_names import follow, is_held, settled
from waiting import wait_until

pytestmark = pytest.mark.postgres

PARTITIONS = """
CREATE TABLE ev (id int, d date, PRIMARY KEY (id, d)) PARTITION BY RANGE (d); CREATE INDEX ON ev (d);
CREATE TABLE ev_2024 PARTITION OF ev FOR VALUES FROM ('2024-01-01') TO ('2025-01-01'); INSERT INTO ev VALUES (1,
'2024-05-05')"""

# name: (definitions and rows, transactions)
CASES = {
    "enum_gets_labels": (
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE t (id int PRIMARY KEY, m mood, ms mood[]);"
        "INSERT INTO t VALUES (1, 'sad', '{ok}')",
        ["ALTER TYPE mood ADD VALUE 'happy' BEFORE 'ok'", "INSERT INTO t VALUES (2, 'happy', '{happy,sad}')",
         "ALTER TYPE mood ADD VALUE 'first' BEFORE 'sad'", "ALTER TYPE mood ADD VALUE 'it''s last'",
         "UPDATE t SET m = 'first', ms = array['it''s last', 'first']::mood[] WHERE id = 1"]),
    "new_type_for_a_new_column": (
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)",
        ["CREATE TYPE mood AS ENUM ('a', 'b'); ALTER TABLE t ADD m mood DEFAULT 'a'", "INSERT INTO t VALUES (2, 'b')",
         "CREATE DOMAIN small AS int CHECK (VALUE < 10); ALTER TABLE t ADD s small; INSERT INTO t VALUES (3, 'a', 5)",
         "CREATE TYPE pair AS (x int, y text); ALTER TABLE t ADD p pair; INSERT INTO t VALUES (4, 'a', 5, '(1,x)')"]),
    "integer_becomes_bigint": (
        "CREATE TABLE t (id serial PRIMARY KEY, n int DEFAULT 5); INSERT INTO t (n) SELECT i FROM"
        " generate_series(1, 10) i",
        ["ALTER TABLE t ALTER n TYPE bigint", "INSERT INTO t VALUES (100, 5000000000)",
         "ALTER TABLE t ALTER id TYPE bigint; INSERT INTO t VALUES (5000000000, 1)"]),
    "types_of_every_other_kind": (
        "CREATE TABLE t (id int PRIMARY KEY, a text DEFAULT 'x', b numeric(6, 2), c int, d varchar(5));"
        "INSERT INTO t VALUES (1, '7', 1.25, 3, 'abc')",
        ["ALTER TABLE t ALTER a DROP DEFAULT, ALTER a TYPE int USING a::int; INSERT INTO t VALUES (2, 8)",
         "ALTER TABLE t ALTER b TYPE numeric(12, 5); INSERT INTO t VALUES (3, 8, 1.12345)",
         "ALTER TABLE t ALTER c TYPE timestamptz USING to_timestamp(c); INSERT INTO t VALUES (4, 1, 1, now())",
         "ALTER TABLE t ALTER d TYPE varchar(50) USING d || 'longer than five';"
         "INSERT INTO t (id, d) VALUES (5, 'ten letters')",
         "CREATE TYPE e AS ENUM ('x'); ALTER TABLE t ALTER d TYPE e USING 'x'; INSERT INTO t (id, d) VALUES (6, 'x')"]),
    "columns_trade_names_and_types": (
        "CREATE TABLE t (id int PRIMARY KEY, a int, b text); INSERT INTO t VALUES (1, 1, 'one')",
        ["ALTER TABLE t RENAME a TO x; ALTER TABLE t RENAME b TO a; ALTER TABLE t RENAME x TO b;"
         "ALTER TABLE t ALTER b TYPE bigint; INSERT INTO t VALUES (2, 5000000000, 'two')"]),
    "column_dropped_under_a_view": (
        "CREATE TABLE t (id int PRIMARY KEY, a text, b text); INSERT INTO t VALUES (1, 'a', 'b');"
        "CREATE VIEW v AS SELECT id, a FROM t; CREATE VIEW \"V v\" AS SELECT a FROM v",
        ["DROP VIEW v CASCADE; ALTER TABLE t DROP a", "INSERT INTO t VALUES (2, 'b')"]),
    "next_partition": (PARTITIONS, [
        "CREATE TABLE ev_2025 PARTITION OF ev FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
        "INSERT INTO ev VALUES (2, '2025-05-05')",
        "CREATE TABLE \"Ev rest\" PARTITION OF ev DEFAULT PARTITION BY LIST (id);"
        "CREATE TABLE ev_rest_1 PARTITION OF \"Ev rest\" DEFAULT; INSERT INTO ev VALUES (3, '2030-01-01')"]),
    "partitioned_table_made_anew": (PARTITIONS, [
        "DROP TABLE ev", PARTITIONS + "; INSERT INTO ev VALUES (9, '2024-09-09')"]),
    "another_partition_with_the_same_bounds": (PARTITIONS, [
        "CREATE TABLE ev_new (LIKE ev INCLUDING ALL); INSERT INTO ev_new VALUES (7, '2024-07-07');"
        "DROP TABLE ev_2024; ALTER TABLE ev ATTACH PARTITION ev_new FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
        "INSERT INTO ev VALUES (8, '2024-08-08')"]),
    "a_partition_is_split": (PARTITIONS, [
        "ALTER TABLE ev DETACH PARTITION ev_2024; ALTER TABLE ev_2024 RENAME TO ev_h1;"
        "ALTER TABLE ev ATTACH PARTITION ev_h1 FOR VALUES FROM ('2024-01-01') TO ('2024-07-01');"
        "CREATE TABLE ev_h2 PARTITION OF ev FOR VALUES FROM ('2024-07-01') TO ('2025-01-01')",
        "INSERT INTO ev VALUES (8, '2024-08-08')"]),
    "a_partition_with_other_bounds": (PARTITIONS, [
        "ALTER TABLE ev DETACH PARTITION ev_2024;"
        "ALTER TABLE ev ATTACH PARTITION ev_2024 FOR VALUES FROM ('2023-01-01') TO ('2025-01-01')",
        "INSERT INTO ev VALUES (3, '2023-03-03')"]),
    "a_partition_below_another": (PARTITIONS, [
        "ALTER TABLE ev DETACH PARTITION ev_2024; CREATE TABLE ev_all PARTITION OF ev DEFAULT PARTITION BY RANGE (d);"
        "ALTER TABLE ev_all ATTACH PARTITION ev_2024 FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');"
        "CREATE TABLE ev_rest PARTITION OF ev_all DEFAULT", "INSERT INTO ev VALUES (3, '2023-03-03')"]),
    "new_tables_beside_what_is_there": (
        "CREATE TYPE st AS ENUM ('a', 'b'); CREATE DOMAIN dm AS int CHECK (VALUE > 0); CREATE SEQUENCE sq;"
        "CREATE TYPE co AS (a int, b st); CREATE TYPE ra AS RANGE (subtype = int4);"
        "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'select $1';"
        "CREATE TABLE t1 (id int PRIMARY KEY, s st, d dm, n int DEFAULT nextval('sq'));"
        "CREATE VIEW v1 AS SELECT id FROM t1;"
        "CREATE MATERIALIZED VIEW m1 AS SELECT count(*) FROM t1; INSERT INTO t1 VALUES (1, 'a', 1)",
        ["CREATE TABLE t2 (id int PRIMARY KEY); INSERT INTO t2 VALUES (1)",
         "CREATE TABLE t3 (id int PRIMARY KEY DEFAULT nextval('sq'), s st, d dm, c co, r ra, t1 int REFERENCES t1);"
         "INSERT INTO t3 VALUES (1, 'b', 2, '(1,a)', '[1,3)', 1);"
         "CREATE VIEW v3 AS SELECT t1.id FROM t1 JOIN t3 USING (s)"]),
}


@pytest.mark.parametrize("backlog", [False, True], ids=["live", "backlog"])
@pytest.mark.parametrize("case", CASES)
def test_definitions(pair, case, backlog):
    setup, transactions = CASES[case]
    follow(pair, setup)
    if backlog:
        pair.mirror.stop()
    for transaction in transactions:
        pair.execute(transaction)
        if not backlog:
            pair.mirror.wait_caught_up(pair.cluster)
    if backlog:
        pair.mirror.start()
    settled(pair)
    text = pair.mirror.log_text()
    assert "left out of the target's structure" not in text
    pair.mirror.stop()


def test_new_things_without_a_row(pair):
    """Types, a sequence that belongs to nothing, and a table of them in which nothing is written: a look brings the
    table with all that it needs, and a restart finds nothing amiss."""
    follow(pair, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    into = pair.mirror.into
    pair.execute("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN small AS int CHECK (VALUE < 10);"
                 "CREATE SEQUENCE alone; CREATE TABLE empty (id int PRIMARY KEY, m mood DEFAULT 'ok', s small)")
    pair.mirror.wait_caught_up(pair.cluster)
    outcome = run("refresh", *pair.mirror.named())
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert into.value("to_regclass('public.empty')") is not None, pair.mirror.tail()
    pair.mirror.stop()
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    settled(pair)
    assert into.query("SELECT enum_range(NULL::mood)::text") == [("{sad,ok}",)]
    pair.execute("INSERT INTO empty (id, s) VALUES (1, 9)")
    settled(pair)
    assert into.query("SELECT m::text, s::text FROM empty") == [("ok", "9")]
    assert "left out of the target's structure" not in pair.mirror.log_text()
    assert pair.settle() == 2


def test_a_new_partition_has_the_name_by_itself(pair):
    follow(pair, PARTITIONS)
    pair.execute("CREATE TABLE ev_2025 PARTITION OF ev FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');"
                 "INSERT INTO ev VALUES (2, '2025-05-05')")
    pair.mirror.wait_caught_up(pair.cluster)
    assert pair.mirror.into.value("(SELECT count(*) FROM ev_2025)") == "1"
    parents = pair.mirror.into.query("SELECT count(*)::text FROM pg_index i JOIN pg_inherits h ON h.inhrelid ="
                                     " i.indexrelid WHERE i.indrelid = 'ev_2025'::regclass")
    assert parents == [("2",)]


@pytest.mark.parametrize("taken", [False, True], ids=["free", "taken"])
def test_an_index_of_its_own_comes_with_a_partition(pair, taken):
    """A table that is attached. Where its index cannot be made, its rows are followed all the same."""
    follow(pair, PARTITIONS + "; CREATE TABLE ev_2025 (LIKE ev); CREATE INDEX ev_2025_by_d ON ev_2025 (d DESC, id)")
    into = pair.mirror.into
    if taken:
        into.execute("DROP INDEX ev_2025_by_d; CREATE TABLE ev_2025_by_d (mine int)")
    pair.execute("ALTER TABLE ev ATTACH PARTITION ev_2025 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');"
                 "INSERT INTO ev VALUES (2, '2025-05-05')")
    settled(pair)
    found = into.query("SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_inherits h"
                       " ON h.inhrelid = i.indrelid WHERE h.inhparent = 'ev'::regclass"
                       " AND i.indexrelid::regclass::text LIKE '%by_d'")
    assert found == ([] if taken else [("ev_2025_by_d",)]), pair.mirror.tail()


def test_a_view_comes_back_after_a_change_below_it(pair):
    follow(pair, "CREATE TABLE t (id int PRIMARY KEY, a int, b int); CREATE VIEW v AS SELECT id, a, b FROM t")
    pair.execute("DROP VIEW v; ALTER TABLE t DROP b; ALTER TABLE t ALTER a TYPE bigint;"
                 "CREATE VIEW v AS SELECT id, a FROM t; INSERT INTO t VALUES (1, 5000000000)")
    settled(pair)
    wait_until(lambda: pair.mirror.into.value("to_regclass('v')") is not None, 30, lambda: pair.mirror.tail())
    assert pair.mirror.into.query("SELECT a::text FROM v") == [("5000000000",)]


def test_an_object_of_somebody_else_holds_only_what_needs_it(pair):
    follow(pair, "CREATE TABLE t (id int PRIMARY KEY)",
           "CREATE TYPE st AS ENUM ('x'); CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'select 7'")
    pair.execute("CREATE TYPE st AS ENUM ('a', 'b'); CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'select 8';"
                 "CREATE TABLE needs_it (id int PRIMARY KEY, s st); CREATE TABLE does_not (id int PRIMARY KEY);"
                 "INSERT INTO needs_it VALUES (1, 'a'); INSERT INTO does_not VALUES (1)")
    said = wait_until(lambda: is_held(pair, "needs_it"), 40, lambda: pair.mirror.tail())
    assert "public.st" in said
    wait_until(lambda: pair.mirror.into.value("to_regclass('does_not')") is not None
               and pair.mirror.into.value("(SELECT count(*) FROM does_not)") == "1", 30, lambda: pair.mirror.tail())
    assert pair.mirror.into.query("SELECT enum_range(NULL::st)::text, f(1)::text") == [("{x}", "7")]


def test_an_enum_that_the_user_made_is_not_altered(pair):
    pair.mirror.into.execute("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE t (id int PRIMARY KEY, m mood)")
    follow(pair, "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE t (id int PRIMARY KEY, m mood);"
                 "CREATE TABLE other (id int PRIMARY KEY)")
    pair.execute("ALTER TYPE mood ADD VALUE 'happy'")
    pair.execute("INSERT INTO t VALUES (2, 'happy'); INSERT INTO other VALUES (1)")
    assert "mood" in wait_until(lambda: is_held(pair, "t"), 40, lambda: pair.mirror.tail())
    pair.execute("INSERT INTO other VALUES (2)")
    wait_until(lambda: pair.mirror.into.value("(SELECT count(*) FROM other)") == "2", 30)
    assert pair.mirror.into.query("SELECT enum_range(NULL::mood)::text") == [("{sad,ok}",)]


def test_a_users_view_holds_the_table_below_it(pair):
    follow(pair, "CREATE TABLE t (id int PRIMARY KEY, a text); CREATE TABLE other (id int PRIMARY KEY)",
           "CREATE VIEW report AS SELECT a FROM t")
    pair.execute("ALTER TABLE t DROP a; INSERT INTO t VALUES (1)")
    assert "report" in wait_until(lambda: is_held(pair, "t"), 40, lambda: pair.mirror.tail())
    pair.execute("INSERT INTO other VALUES (1)")
    wait_until(lambda: pair.mirror.into.value("(SELECT count(*) FROM other)") == "1", 30)
    pair.mirror.stop()
    pair.mirror.into.execute("DROP VIEW report")
    pair.mirror.start("--recopy", "public.t")
    settled(pair)
