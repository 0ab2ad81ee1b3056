"""A PostgreSQL target has constraints, triggers and columns of its own, and it has an opinion. Invariant: at the
checkpoint's LSN the published columns equal the source's, whatever the target adds; what cannot go on says why, and has
written nothing."""
import re
import subprocess

import pytest

from cluster import PgCluster
from tailrace import BINARY, Tailrace
from targets import PostgresTarget
from test_changes import play, wide
from test_restart import refused
from test_types import ARRAYS, COMMON, NEWER, REST, round_trip
from waiting import wait_until

pytestmark = pytest.mark.postgres


def both(pair, sql):
    """The same at the source and, by hand, at the target."""
    pair.execute(sql)
    pair.mirror.into.execute(sql)


def follow(pair):
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)


# What happens to rows -------------------------------------------------------------------------------------

# name: (definitions, rows, transactions). As in test_changes: what a set-wise apply could trip over.
CASES = {
    "deferred_foreign_key": (
        "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY,"
        " parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
        "INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1)",
        ["INSERT INTO child VALUES (2, 50); INSERT INTO parent VALUES (50)",
         "DELETE FROM parent WHERE id = 50; INSERT INTO parent VALUES (50)",
         "UPDATE parent SET id = 60 WHERE id = 50; UPDATE child SET parent = 60 WHERE id = 2",
         "DELETE FROM parent; DELETE FROM child"]),
    "self_reference_with_actions": (
        "CREATE TABLE tree (id int PRIMARY KEY, parent int REFERENCES tree ON DELETE CASCADE ON UPDATE CASCADE)",
        "INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (4, 1), (5, 5)",
        ["INSERT INTO tree VALUES (10, 11), (11, NULL), (12, 10)", "UPDATE tree SET id = 20 WHERE id = 10",
         "DELETE FROM tree WHERE id = 2", "UPDATE tree SET parent = id", "UPDATE tree SET id = id + 100",
         "UPDATE tree SET parent = (SELECT min(id) FROM tree)",
         "DELETE FROM tree WHERE id = (SELECT min(id) FROM tree)"]),
    "unique_values_change_hands": (
        "CREATE TABLE t (id int PRIMARY KEY, code text UNIQUE, v int)",
        "INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3), (4, NULL, 4)",
        ["UPDATE t SET code = '' WHERE id = 1; UPDATE t SET code = 'a' WHERE id = 2;"
         "UPDATE t SET code = 'b' WHERE id = 1",
         "DELETE FROM t WHERE id = 3; INSERT INTO t VALUES (30, 'c', 30)",
         "UPDATE t SET code = 'free' WHERE id = 1; INSERT INTO t VALUES (10, 'b', 10)",
         "UPDATE t SET code = NULL WHERE id = 2; UPDATE t SET code = 'a' WHERE id = 4",
         "INSERT INTO t VALUES (11, 'short', 0); DELETE FROM t WHERE id = 11;"
         "UPDATE t SET code = 'short' WHERE id = 4"]),
    "unique_swap_in_one_statement": (
        "CREATE TABLE t (id int PRIMARY KEY, code text UNIQUE DEFERRABLE)",
        "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        ["UPDATE t SET code = CASE code WHEN 'a' THEN 'b' WHEN 'b' THEN 'a' ELSE code END",
         "UPDATE t SET code = CASE code WHEN 'a' THEN 'b' WHEN 'b' THEN 'c' ELSE 'a' END"]),
    "unique_by_expression_and_predicate": (
        "CREATE TABLE t (id int PRIMARY KEY, email text, active bool); CREATE UNIQUE INDEX ON t (lower(email));"
        "CREATE UNIQUE INDEX ON t (active) WHERE active",
        "INSERT INTO t VALUES (1, 'A', true), (2, 'b', false), (3, 'c', false)",
        ["UPDATE t SET active = false WHERE id = 1; UPDATE t SET active = true WHERE id = 3",
         "DELETE FROM t WHERE id = 3; INSERT INTO t VALUES (4, 'C', true)",
         "UPDATE t SET email = 'x' WHERE id = 1; UPDATE t SET email = 'a' WHERE id = 2;"
         "UPDATE t SET email = 'B' WHERE id = 1"]),
    "exclusion": (
        "CREATE TABLE t (id int PRIMARY KEY, during int4range, EXCLUDE USING gist (during WITH &&));"
        "CREATE TABLE d (id int PRIMARY KEY, during int4range, EXCLUDE USING gist (during WITH &&)"
        " DEFERRABLE INITIALLY DEFERRED)",
        "INSERT INTO t VALUES (1, '[1,5)'), (2, '[5,9)'); INSERT INTO d SELECT * FROM t",
        ["UPDATE t SET during = '[9,13)' WHERE id = 2; UPDATE t SET during = '[4,8)' WHERE id = 1",
         "UPDATE d SET during = CASE id WHEN 1 THEN int4range '[5,9)' ELSE '[1,5)' END",
         "DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (3, '[1,9)')"]),
    "key_rotation_in_one_statement": (
        "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, v text); ALTER TABLE t REPLICA IDENTITY FULL",
        "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        ["UPDATE t SET id = id + 1", "UPDATE t SET id = id - 1", "UPDATE t SET id = id % 3 + 1",
         "UPDATE t SET id = 5 WHERE id = 3; UPDATE t SET id = id + 1 WHERE id < 3"]),
    "key_rotation_by_statements": (
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t VALUES (3, 'c'), (2, 'b'), (1, 'a')",
        ["UPDATE t SET id = 4 WHERE id = 3; UPDATE t SET id = 3 WHERE id = 2; UPDATE t SET id = 2 WHERE id = 1",
         "UPDATE t SET id = 0 WHERE id = 4; UPDATE t SET id = 4 WHERE id = 3; UPDATE t SET id = 3 WHERE id = 0",
         "UPDATE t SET id = -id; UPDATE t SET id = -id + 1"]),
    "a_row_comes_and_goes": (
        "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'old')",
        ["INSERT INTO t VALUES (7, 'a'); DELETE FROM t WHERE id = 7; INSERT INTO t VALUES (7, 'b')",
         "DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, 'new'); DELETE FROM t WHERE id = 1;"
         "INSERT INTO t VALUES (1, 'newer')",
         "INSERT INTO t VALUES (8, 'x'); UPDATE t SET id = 9 WHERE id = 8; DELETE FROM t WHERE id = 9"]),
    "full_identity_with_duplicates": (
        "CREATE TABLE t (a int, b text, j json, p point); ALTER TABLE t REPLICA IDENTITY FULL",
        "INSERT INTO t SELECT i % 3, NULLIF(i % 2, 0)::text, '{\"a\":  1}', '(1,2)' FROM generate_series(1, 30) i",
        ["UPDATE t SET b = 'one' WHERE ctid = (SELECT min(ctid) FROM t WHERE a = 2)",
         "DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t WHERE a = 1)",
         "UPDATE t SET a = a + 1 WHERE b IS NULL", "INSERT INTO t SELECT * FROM t",
         "INSERT INTO t VALUES (0, NULL, NULL, NULL), (0, NULL, NULL, NULL); UPDATE t SET a = 9 WHERE j IS NULL;"
         "DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t WHERE a = 9)"]),
    "unchanged_toast": (
        "CREATE TABLE t (id int PRIMARY KEY, n int, body text); CREATE TABLE f (id int, n int, body text);"
        "ALTER TABLE f REPLICA IDENTITY FULL",
        f"INSERT INTO t SELECT i, 0, {wide(1)} FROM generate_series(1, 6) i; INSERT INTO f SELECT * FROM t",
        ["UPDATE t SET n = n + 1; UPDATE f SET n = n + 1", "UPDATE t SET id = id + 100, n = 5 WHERE id < 3",
         "UPDATE f SET id = id + 100 WHERE id < 3",
         "UPDATE t SET id = 3000 WHERE id = 3; UPDATE t SET id = 3001, n = 8 WHERE id = 3000",
         f"UPDATE t SET body = {wide(2)} WHERE id = 4; UPDATE t SET id = 400 WHERE id = 4",
         "UPDATE t SET id = 50 WHERE id = 5; UPDATE t SET id = 5 WHERE id = 6; UPDATE t SET id = 6 WHERE id = 50",
         "DELETE FROM f WHERE id = 4; UPDATE f SET body = 'short' WHERE id = 5; UPDATE f SET n = 7 WHERE id = 5"]),
    "truncate_with_foreign_keys": (
        "CREATE TABLE a (id serial PRIMARY KEY, v text); CREATE TABLE b (id serial PRIMARY KEY, a int REFERENCES a);"
        "CREATE TABLE c (b int REFERENCES b ON DELETE CASCADE); CREATE TABLE other (id int PRIMARY KEY)",
        "INSERT INTO a (v) VALUES ('x'), ('y'); INSERT INTO b (a) VALUES (1), (2); INSERT INTO c VALUES (1), (2);"
        "INSERT INTO other VALUES (1)",
        ["TRUNCATE a, b, c, other", "INSERT INTO a VALUES (70, 'z'); INSERT INTO b VALUES (80, 70)",
         "TRUNCATE a RESTART IDENTITY CASCADE; INSERT INTO a (v) VALUES ('one'); INSERT INTO b (a) VALUES (1);"
         "INSERT INTO c VALUES (1)",
         "INSERT INTO other VALUES (2); TRUNCATE c, other; INSERT INTO other VALUES (2)", "TRUNCATE b CASCADE"]),
    "computed_and_identity_columns": (
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int,"
        " twice int GENERATED ALWAYS AS (n * 2) STORED, v text DEFAULT 'd')",
        "INSERT INTO t (n) VALUES (1), (2), (NULL)",
        ["INSERT INTO t (n) SELECT i FROM generate_series(10, 40) i", "UPDATE t SET n = n + 1, v = NULL",
         "DELETE FROM t WHERE id = 1; INSERT INTO t (id, n) OVERRIDING SYSTEM VALUE VALUES (1, 5), (-1, 6)",
         "UPDATE t SET id = DEFAULT WHERE id < 5"]),
}


@pytest.mark.parametrize("mode", ["live", "backlog", "beforehand"])
@pytest.mark.parametrize("case", CASES)
def test_rows(pair, case, mode):
    """Live, many at once, and at once into tables that were made by hand beforehand."""
    definitions, rows, transactions = CASES[case]
    pair.execute(definitions)
    if mode == "beforehand":
        pair.mirror.into.execute(definitions)
        pair.mirror.configure(schema="expect")
    pair.execute(rows)
    follow(pair)
    if mode != "live":
        pair.mirror.stop()
    for transaction in transactions:
        play(pair, [transaction])
        if mode == "live":
            pair.mirror.wait_caught_up(pair.cluster)
    if mode != "live":
        pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.verified()
    pair.settle()


def test_exact_duplicates_survive(pair):
    """One of several equal rows is updated, another deleted: the others stay."""
    pair.execute("CREATE TABLE t (a int, b text); ALTER TABLE t REPLICA IDENTITY FULL;"
                 "INSERT INTO t SELECT 1, 'same' FROM generate_series(1, 5)")
    follow(pair)
    pair.execute("UPDATE t SET b = 'other' WHERE ctid = (SELECT min(ctid) FROM t)")
    pair.execute("DELETE FROM t WHERE ctid = (SELECT max(ctid) FROM t WHERE b = 'same')")
    assert pair.settle() == 4
    assert sorted(pair.mirror.into.query("SELECT b, count(*) FROM public.t GROUP BY b")) == [
        ("other", "1"), ("same", "3")]


# Values of g, by the key's type: some go as an array, some are staged.
KEYS = {
    "smallint": "g", "int": "g - 300", "bigint": "g::bigint * 1000000007 * (1 - g % 2 * 2)", "numeric": "g / 7.0",
    "text": "repeat('k', g % 50) || g", "varchar(20)": "'v ' || g", "char(9)": "g", "uuid": "md5(g::text)::uuid",
    "date": "date '4711-01-01 BC' + g * 5000", "timestamp": "timestamp '1999-01-01' + g * interval '1.000001 s'",
    "timestamptz": "timestamptz '1999-12-31 23:50+01' + g * interval '1.000001 s'", "bytea": "int4send(g)",
    "inet": "inet '10.0.0.0' + g", "int[]": "ARRAY[g, NULL, 2]",
    "positive": "g", "mood": "('m' || g % 600)::mood", "text COLLATE folded": "'key ' || g",
}


@pytest.mark.parametrize("format", ["binary", "text"])
def test_many_deletes_by_every_kind_of_key(pair, format):
    """At once; also of a table of two key columns, and of a partitioned one."""
    pair.execute("CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TYPE mood AS ENUM ("
                 + ", ".join(f"'m{i}'" for i in range(600)) + ");"
                 "CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    tables = [(f"k{number}", f"CREATE TABLE k{number} (v int, id {kind} PRIMARY KEY)",
               f"INSERT INTO k{number} SELECT g, {value} FROM generate_series(1, 599) g")
              for number, (kind, value) in enumerate(KEYS.items())]
    tables += [("two", "CREATE TABLE two (a text, v int, b int, PRIMARY KEY (b, a))",
                "INSERT INTO two SELECT g % 10, g, g FROM generate_series(1, 599) g"),
               ("parts", "CREATE TABLE parts (v int, id int PRIMARY KEY) PARTITION BY RANGE (id);"
                "CREATE TABLE parts_a PARTITION OF parts FOR VALUES FROM (0) TO (300);"
                "CREATE TABLE parts_b PARTITION OF parts FOR VALUES FROM (300) TO (600)",
                "INSERT INTO parts SELECT g, g FROM generate_series(1, 599) g")]
    for _, definition, rows in tables:
        pair.execute(f"{definition}; {rows}")
    if format == "text":
        # What is of another type there makes all of the stream text.
        pair.mirror.into.execute("CREATE TABLE k1 (id bigint PRIMARY KEY, v int)")
    pair.mirror.configure(log={"level": "debug"})
    follow(pair)
    pair.mirror.stop()
    pair.execute("; ".join(f"DELETE FROM {name} WHERE v % 3 <> 0" for name, _, _ in tables))
    pair.mirror.start()
    assert pair.settle() == 199 * len(tables)
    assert f"in {format} format" in pair.mirror.log_text()
    assert "is applied row by row" not in pair.mirror.log_text()


# What the target has of its own ---------------------------------------------------------------------------

COUNTER = """
CREATE TABLE counted (n int); INSERT INTO counted VALUES (0);
CREATE FUNCTION count_rows() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN UPDATE public.counted SET n = n + CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END; RETURN NULL; END $$;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'an ordinary trigger'; END $$;
CREATE TRIGGER counter AFTER INSERT OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION count_rows();
CREATE TRIGGER ordinary AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION refuse();
ALTER TABLE t ENABLE REPLICA TRIGGER counter
"""


def test_truncate_reaches_what_the_sources_reached(pair):
    """Foreign keys lead to further tables here: to one that only the target has, and to one whose copy is newer than
    the TRUNCATE. Both keep their rows."""
    pair.execute("CREATE TABLE parent (id serial PRIMARY KEY, n int);"
                 "CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent);"
                 "INSERT INTO parent (n) VALUES (1), (2); INSERT INTO child VALUES (1, 1)")
    follow(pair)
    pair.mirror.stop()
    pair.mirror.into.execute("CREATE TABLE own (id int, parent int REFERENCES parent); INSERT INTO own VALUES (1, 2);"
                             "SELECT setval('parent_id_seq', 100000)")
    pair.execute("TRUNCATE parent RESTART IDENTITY CASCADE")
    pair.execute("INSERT INTO parent (n) VALUES (7); INSERT INTO child VALUES (8, 1)")
    with open(pair.mirror.log, "ab") as log:
        pair.mirror.process = subprocess.Popen([BINARY, "run", "-c", pair.mirror.config, "--recopy", "public.child"],
                                               stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    pair.mirror.wait_caught_up(pair.cluster)
    assert pair.mirror.into.execute("SELECT id, parent FROM child") == [(8, 1)]
    assert pair.mirror.into.execute("SELECT id, n FROM parent") == [(1, 7)]
    assert pair.mirror.into.execute("SELECT id, parent FROM own") == [(1, 2)]
    assert pair.mirror.into.value("(SELECT last_value < 100000 FROM parent_id_seq)") == "true"


def test_replica_triggers_fire_and_ordinary_ones_do_not(pair):
    """A trigger that counts rows in and out sees each of them once."""
    both(pair, "CREATE TABLE t (id int PRIMARY KEY, v text)")
    pair.mirror.into.execute(COUNTER)
    pair.mirror.configure(schema="expect")
    pair.execute("INSERT INTO t SELECT i, 'copied' FROM generate_series(1, 100) i")
    follow(pair)
    play(pair, ["INSERT INTO t SELECT i, 'streamed' FROM generate_series(101, 2000) i",
                "DELETE FROM t WHERE id % 7 = 0", "UPDATE t SET v = 'u' WHERE id % 3 = 0",
                "UPDATE t SET id = id + 10000 WHERE id % 5 = 0",
                "DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1)"])
    rows = pair.settle()
    assert pair.mirror.into.value("(SELECT n FROM counted)") == str(rows)


def test_triggers_that_come_along_do_not_fire_again(pair):
    """What a trigger did at the source arrives as rows; the same trigger at the target would double it."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE audit (n serial, id int);"
                 "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
                 " $$ BEGIN INSERT INTO audit (id) VALUES (NEW.id); RETURN NEW; END $$;"
                 "CREATE TRIGGER note AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION note();"
                 "INSERT INTO t VALUES (1), (2)")
    follow(pair)
    pair.execute("INSERT INTO t SELECT generate_series(3, 50)")
    assert pair.settle() == 100


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
def test_columns_that_only_the_target_has(pair, identity):
    """They keep their values under every update of the row, also when its key moves; columns may be in any order."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v text, n int, body text);"
                 f"ALTER TABLE t REPLICA IDENTITY {identity};"
                 f"INSERT INTO t SELECT i, 'v' || i, i, {wide(1)} FROM generate_series(1, 40) i")
    pair.mirror.into.execute("CREATE TABLE t (mine text, n int, body text, noted timestamptz DEFAULT now(), v text,"
                             " id int PRIMARY KEY)")
    pair.mirror.configure(schema="expect")
    follow(pair)
    pair.mirror.into.execute("UPDATE t SET mine = 'of ' || n, noted = NULL")
    play(pair, ["UPDATE t SET v = 'u' WHERE id % 2 = 0", "UPDATE t SET id = id + 1000 WHERE id % 3 = 0",
                "UPDATE t SET id = id + 1, v = 'moved' WHERE id = 1003; UPDATE t SET id = 1003 WHERE id = 1004",
                "UPDATE t SET id = 77 WHERE id = 1; UPDATE t SET id = 1 WHERE id = 2;"
                "UPDATE t SET id = 2 WHERE id = 77",
                "DELETE FROM t WHERE id = 5", "INSERT INTO t VALUES (500, 'new', 500, 'short')"])
    assert pair.settle(extra={"public.t": ["mine", "noted"]}) == 40
    target = pair.mirror.into
    assert target.query("SELECT id::text, mine FROM t WHERE mine IS DISTINCT FROM 'of ' || n") == [("500", None)]
    assert target.value("(SELECT count(*) FROM t WHERE noted IS NOT NULL)") == "1", "the new row has its default"


@pytest.mark.parametrize("there, words", [
    ("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY)", ["public.t", "missing_one"]),
    ("CREATE TABLE t (id int PRIMARY KEY, v text, missing_one int)", ["public.u"]),
], ids=["column", "table"])
def test_what_the_target_lacks(pair, there, words):
    """Known before anything is written, there or at the source."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v text, missing_one int); CREATE TABLE u (id int PRIMARY KEY);"
                 "INSERT INTO t VALUES (1, 'a', 1); INSERT INTO u VALUES (1)")
    pair.mirror.into.execute(there)
    pair.mirror.configure(schema="expect")
    text = refused(pair, *words)
    assert one_line(text, *words), text
    assert pair.mirror.into.rows() == 0
    assert pair.value(f"SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{pair.name}'") == 0


def one_line(text, *words):
    """The first line that says all the words, with the remedy below it; None if there is none."""
    return next((line for line in text.replace("\n  ", " ").splitlines() if all(word in line for word in words)), None)


@pytest.mark.parametrize("constraint, bad", [
    ("CONSTRAINT at_most CHECK (n < 1000)", "INSERT INTO t VALUES (500, 'bad', 5000)"),
    ("CONSTRAINT at_most CHECK (n < 1000)", "UPDATE t SET n = 5000 WHERE id = 3"),
    ("CONSTRAINT at_most UNIQUE (v)", "INSERT INTO t VALUES (500, 'v1', 1)"),
    ("CONSTRAINT at_most UNIQUE (v)", "UPDATE t SET v = 'v1' WHERE id = 3"),
], ids=["check by insert", "check by update", "unique by insert", "unique by update"])
def test_a_constraint_that_only_the_target_has(pair, constraint, bad):
    """It stops at the transaction that cannot be applied, says which and why, and goes on once that is mended."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v text, n int);"
                 "INSERT INTO t SELECT i, 'v' || i, i FROM generate_series(1, 100) i")
    pair.mirror.configure(conflicts={"policy": "error"})
    follow(pair)
    pair.mirror.into.execute(f"ALTER TABLE t ADD {constraint}")
    pair.execute("INSERT INTO t VALUES (200, 'good', 1)")
    pair.mirror.wait_caught_up(pair.cluster)
    pair.execute(f"BEGIN; INSERT INTO t VALUES (300, 'in the same transaction', 1); {bad}; COMMIT")
    pair.execute("DELETE FROM t WHERE id = 7")
    assert pair.mirror.wait_ended() > 0
    told = one_line(pair.mirror.log_text(), "public.t", "at_most")
    assert told, pair.mirror.tail()
    assert re.search(r"\b[0-9A-F]+/[0-9A-F]+\b", told), f"where in the source: {told}"
    assert "terminate called" not in pair.mirror.log_text()
    assert pair.mirror.into.value("(SELECT count(*) FROM t WHERE id IN (200, 300))") == "1"
    refused(pair, "at_most")
    pair.mirror.into.execute("ALTER TABLE t DROP CONSTRAINT at_most")
    pair.mirror.start()
    assert pair.settle() >= 101


@pytest.mark.parametrize("rows", (3, 300))
def test_the_targets_own_isolation_level_is_not_taken(pair, rows):
    """Of two connections, a later statement must see what the other one committed meanwhile."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY)")
    follow(pair)
    pair.mirror.stop()
    target = pair.mirror.into
    target.execute("ALTER TABLE t ADD level text DEFAULT current_setting('transaction_isolation');"
                   f"ALTER DATABASE {target.database} SET default_transaction_isolation = 'serializable'")
    pair.execute(f"INSERT INTO t SELECT generate_series(1, {rows})")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    assert target.value("(SELECT string_agg(DISTINCT level, ',') FROM t)") == "read committed"


def test_a_deferred_constraint_that_only_the_target_has(pair):
    """It fails at the commit, when all was said to be well."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1)")
    follow(pair)
    pair.mirror.into.execute(
        "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF NEW.n > 10 THEN RAISE EXCEPTION 'far too late'; END IF; RETURN NULL; END $$;"
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
        " EXECUTE FUNCTION late(); ALTER TABLE t ENABLE REPLICA TRIGGER late")
    pair.execute("INSERT INTO t VALUES (2, 2)")
    pair.execute("INSERT INTO t VALUES (3, 30)")
    assert pair.mirror.wait_ended() > 0
    assert "far too late" in pair.mirror.log_text()
    assert pair.mirror.into.value("(SELECT count(*) FROM t WHERE n > 10)") == "0"
    pair.mirror.into.execute("DROP TRIGGER late ON t")
    pair.mirror.start()
    assert pair.settle() == 3


def test_a_row_that_is_gone_at_the_target(pair):
    """Somebody else wrote there. It stops rather than shrugs, where it is told to."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    pair.mirror.configure(conflicts={"policy": "error"})
    follow(pair)
    pair.mirror.into.execute("DELETE FROM t WHERE id = 2")
    pair.execute("UPDATE t SET v = 'u' WHERE id = 2")
    assert pair.mirror.wait_ended() > 0
    assert "public.t" in pair.mirror.log_text()
    pair.mirror.into.execute("INSERT INTO t VALUES (2, 'b')")
    pair.mirror.start()
    assert pair.settle() == 2


# What is made at the target -------------------------------------------------------------------------------

DEFINITIONS = """
SELECT c.relname, c.relkind::text, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated::text,
  pg_get_partkeydef(c.oid),
  (SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k WHERE conrelid = c.oid AND contype = 'p')
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.relname, a.attnum"""


def test_tables_are_made_like_the_source(pair):
    """Types with their modifiers, NOT NULL, primary keys, computed columns and partitions."""
    pair.execute("""
        CREATE TABLE t (b varchar(20) NOT NULL, a numeric(10,2), junk int, ts timestamptz(3), arr int[],
                        g int GENERATED ALWAYS AS (length(b)) STORED, PRIMARY KEY (a, b));
        ALTER TABLE t DROP junk; INSERT INTO t (b, a) VALUES ('x', 1.5);
        CREATE TABLE p (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
        CREATE TABLE p2 PARTITION OF p DEFAULT PARTITION BY HASH (id);
        CREATE TABLE p2a PARTITION OF p2 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
        INSERT INTO p VALUES (1, '2024-05-05'), (2, '2030-01-01')""")
    follow(pair)
    pair.execute("UPDATE p SET at = at + 400; INSERT INTO t (b, a) VALUES ('yy', 2)")
    assert pair.settle() == 4
    assert pair.mirror.into.execute(DEFINITIONS) == pair.execute(DEFINITIONS)


# Other versions -------------------------------------------------------------------------------------------

# What DuckDB has no test for, since all of it is text there. Some of it has no binary form, and some is a number that
# means something else on another server.
CATALOG_TYPES = {
    "int8range": ["[1,5)", "empty"],
    "tsrange": ['["2024-01-01 00:00:00","2024-01-02 00:00:00")'],
    "tid": ["(0,1)", "(4294967295,65535)"],
    "cid": ["0", "4294967295"],
    "refcursor": ["", "my cursor"],
    "aclitem": ["postgres=r/postgres"],
    "regproc": ["now"],
    "regprocedure": ["abs(integer)"],
    "regoper": ["||/"],
    "regoperator": ["+(integer,integer)"],
    "regcollation": ['"C"'],
    "regconfig": ["english"],
    "regdictionary": ["simple"],
    "regnamespace": ["public", "pg_catalog"],
    "regrole": ["postgres"],
}
RANGES = {
    "datemultirange": ["{[2024-01-01,2024-02-01)}"],
    "int8multirange": ["{}", "{[1,5),[7,9)}"],
    "nummultirange": ["{[1.10,2.20]}"],
    "tsmultirange": ['{["2024-01-01 00:00:00","2024-01-02 00:00:00")}'],
    "tstzmultirange": ['{(,"2024-01-01 00:00:00+00")}'],
}


def merged(*parts):
    whole = {}
    for part in parts:
        for type_name, values in part.items():
            whole[type_name] = whole.get(type_name, []) + values
    return whole


@pytest.mark.parametrize("binary", ["auto", "off"])
@pytest.mark.parametrize("source, target", [(13, 18), (15, 18), (18, 15)], ids=lambda version: f"pg{version}")
def test_every_type_between_versions(pair_on, source, target, binary):
    """Copied and streamed; the text that both servers show is the same."""
    newer = [NEWER[14], NEWER[15], RANGES] if source >= 15 else []
    round_trip(pair_on(source, target), merged(COMMON, REST, ARRAYS, CATALOG_TYPES, *newer), binary)


def test_a_value_that_the_target_cannot_hold(pair_on):
    """PostgreSQL 17 knows infinite intervals, 15 does not: it stops and says so, and nothing is altered."""
    pair = pair_on(18, 15)
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v interval); INSERT INTO t VALUES (1, '1 day')")
    follow(pair)
    pair.execute("INSERT INTO t VALUES (2, 'infinity')")
    assert pair.mirror.wait_ended() > 0
    assert "public.t" in pair.mirror.log_text()
    assert pair.mirror.into.rows() == 1


@pytest.mark.parametrize("binary", ["auto", "off"])
def test_object_names_stay_names(pair, binary):
    """regclass is a number inside, and the same number is another table at the target."""
    pair.execute("CREATE TABLE named (id int PRIMARY KEY);"
                 "CREATE TABLE t (id int PRIMARY KEY, c regclass, a regclass[])")
    pair.mirror.into.execute("CREATE TABLE one_more (id int)")
    pair.execute("INSERT INTO t VALUES (1, 'named', '{named,t}')")
    pair.mirror.configure(binary=binary)
    follow(pair)
    pair.execute("INSERT INTO t VALUES (2, 'named', '{t}'); UPDATE t SET c = 't' WHERE id = 1")
    assert pair.settle() == 2


# Several mirrors ------------------------------------------------------------------------------------------

def test_two_sources_into_one_database(pair_on):
    """Two names, different tables; one is killed again and again, and the other does not notice."""
    one, two = pair_on(), pair_on()
    for pair, table in ((one, "ones"), (two, "twos")):
        pair.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, v text);"
                     f"INSERT INTO {table} SELECT i, '{table}' FROM generate_series(1, 1000) i")
    two.mirror.into.close()
    two.mirror.into = one.mirror.into
    two.mirror.configure()
    follow(one)
    follow(two)
    for step in range(4):
        two.execute(f"UPDATE twos SET id = id + 10000 WHERE id % 9 = {step}")
        one.execute(f"UPDATE ones SET v = 'u{step}' WHERE id % 4 = {step}; DELETE FROM ones WHERE id = {step + 1}")
        two.mirror.kill()
        one.mirror.wait_caught_up(one.cluster)
        two.mirror.start()
    two.mirror.wait_caught_up(two.cluster)
    assert one.mirror.status()["reconnects"] == 0
    one.verified()
    two.verified()
    assert (one.settle(), two.settle()) == (996, 1000)


def test_the_same_mirror_twice(pair):
    """The second one of a name waits or leaves; it never writes beside the first."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT generate_series(1, 100)")
    follow(pair)
    second = pair.another(name=pair.name, into=pair.mirror.into)
    second.start()
    wait_until(lambda: not second.running() or pair.name in second.log_text(), what="a word of the second one")
    pair.execute("UPDATE t SET v = 'u'")
    pair.mirror.wait_caught_up(pair.cluster)
    assert pair.mirror.running()
    second.close()
    assert pair.settle() == 100


# What a start costs -----------------------------------------------------------------------------------------

def test_a_first_copy_takes_few_connections(tmp_path):
    """Each is a process at its server, and knows nothing of the catalogs yet: of a small copy they are most of the
    time. Two at the source, by which it is asked and streamed from, and four at the target: for the books, to apply, to
    copy and to make the key. Once it follows, one more at each is asked whether it answers."""
    with PgCluster(log_connections="on") as source, PgCluster(log_connections="on") as target:
        source.create_database("shop")
        source.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 10000)", "shop")
        with Tailrace(source.url("shop"), tmp_path, "shop", PostgresTarget(target, "shop")) as mirror:
            # Before it listens, whoever asks for its status asks its target.
            wait_until(lambda: "streaming from" in mirror.log_text(), what=mirror.tail)
            mirror.wait_caught_up(source)
            assert mirror.into.value("(SELECT count(*) FROM t)") == "10000"
            for server, most in ((source, 3), (target, 5)):
                opened = re.findall(r"authorized: .*application_name=(.*)", server.log_text())
                assert len(opened) <= most, opened
