"""Names at a PostgreSQL target. A relation there is the mirror's own because its books say so, never because of its
name. Invariants: nothing that stands there and is not the mirror's ever changes; and each name holds at the target what
it holds at the source, or the one table that cannot be followed is named, with what is in its way."""
import signal

import psycopg
import pytest

from kill_points import killed_at
from waiting import wait_until

pytestmark = pytest.mark.postgres


def follow(pair, setup, target=None):
    pair.execute(setup)
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    if target:
        pair.mirror.into.execute(target)


def same_by_name(pair):
    try:
        return pair.compared()
    except (AssertionError, psycopg.Error):
        return None


def settled(pair):
    """Waits until each name holds at the target what it holds at the source, while the mirror runs."""
    def look():
        assert pair.mirror.running(), pair.mirror.tail()
        return same_by_name(pair) is not None

    wait_until(look, 40, lambda: f"the same under each name\n{pair.mirror.tail()}")
    pair.verified()
    wait_until(lambda: moved(pair) == [], 30, "an end of what had to make room")


def moved(pair):
    return pair.mirror.into.query("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tailrace\\_moved%'")


# Somebody else's ---------------------------------------------------------------------------------------------

# What stands in the way at the target, and what must not change of it.
STRANGERS = {
    "table": ("CREATE TABLE u (id int PRIMARY KEY, v text); INSERT INTO u SELECT i, 'my own' FROM"
              " generate_series(1, 4) i",
              "SELECT string_agg(u::text, ',' ORDER BY id) FROM u"),
    "empty_table": ("CREATE TABLE u (id int PRIMARY KEY, v text)", "SELECT count(*)::text FROM u"),
    "view": ("CREATE VIEW u AS SELECT 7 AS id, 'mine' AS v", "SELECT u::text FROM u"),
    "materialized_view": ("CREATE MATERIALIZED VIEW u AS SELECT 7 AS id, 'mine' AS v", "SELECT u::text FROM u"),
    "sequence": ("CREATE SEQUENCE u START 77", "SELECT last_value::text FROM u"),
    "index": ("CREATE TABLE other (id int); CREATE INDEX u ON other (id)", "SELECT 'u'::regclass::text"),
    "type": ("CREATE TYPE u AS ENUM ('x')", "SELECT enum_range(NULL::u)::text"),
    "partition": ("CREATE TABLE p (id int, v text) PARTITION BY LIST (id); CREATE TABLE u PARTITION OF p FOR"
                  " VALUES IN (1,"
                  " 2); INSERT INTO u VALUES (1, 'my own')", "SELECT string_agg(p::text, ',') FROM p"),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_a_table_is_renamed_onto_a_strangers_name(pair, kind):
    stranger, looks = STRANGERS[kind]
    follow(pair, "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'source' FROM"
           " generate_series(1, 3)"
                 " i; CREATE TABLE other_one (id int PRIMARY KEY)", stranger)
    before = pair.mirror.into.query(looks)
    pair.execute("ALTER TABLE t RENAME TO u; UPDATE u SET v = 'changed' WHERE id = 1; DELETE FROM u WHERE id = 2;"
                 "INSERT INTO u VALUES (50, 'new')")
    pair.execute("INSERT INTO other_one VALUES (1)")
    held = wait_until(lambda: is_held(pair, "t") or is_held(pair, "u"), 30, lambda: pair.mirror.tail())
    assert "public.u" in held and "public.t" in held.replace('"', "")
    # The others go on.
    pair.execute("INSERT INTO other_one VALUES (2)")
    wait_until(lambda: pair.mirror.into.value("(SELECT count(*) FROM other_one)") == "2", 30)
    assert pair.mirror.into.query(looks) == before
    assert pair.mirror.into.value("(SELECT count(*) FROM t WHERE v = 'source')") == "3"
    assert pair.mirror.verify().returncode != 0
    assert not pair.mirror.status()["in_step"]


def is_held(pair, name):
    """What is said of the table, once it is held."""
    assert pair.mirror.running(), pair.mirror.tail()
    table = pair.mirror.table(f"public.{name}")
    return (table["note"] + table["last_error"]) if table and table["state"] == "held" else None


@pytest.mark.parametrize("name", ["u", '"U u"', '"Ünï"'])
def test_a_stranger_makes_the_table_that_the_source_makes_next(pair, name):
    follow(pair, "CREATE TABLE t (id int PRIMARY KEY)",
           f"CREATE TABLE {name} (id int PRIMARY KEY, v text); INSERT INTO {name} VALUES (1, 'my own')")
    pair.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, v text); INSERT INTO {name} VALUES (1, 'source'), (2,"
                 f" 'source')")
    wait_until(lambda: is_held(pair, name.strip('"')), 40, lambda: pair.mirror.tail())
    pair.execute(f"INSERT INTO t VALUES (1); UPDATE {name} SET v = 'changed'; DELETE FROM {name} WHERE id = 1")
    wait_until(lambda: pair.mirror.into.value("(SELECT count(*) FROM t)") == "1", 30)
    assert pair.mirror.into.query(f"SELECT id::text, v FROM {name}") == [("1", "my own")]


@pytest.mark.parametrize("recopy", [False, True], ids=["stream", "recopy"])
@pytest.mark.parametrize("how", ["dropped", "renamed"])
def test_a_strangers_table_takes_the_name_of_ours(pair, how, recopy):
    ours = {"dropped": "DROP TABLE t", "renamed": "ALTER TABLE t RENAME TO t_before"}[how]
    follow(pair, "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
           f"{ours}; CREATE TABLE t (id int, v text); INSERT INTO t VALUES (1, 'my own'), (9, 'my own')")
    if recopy:
        pair.mirror.stop()
        pair.mirror.start("--recopy", "public.t")
    else:
        pair.execute("UPDATE t SET v = 'changed'; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (5, 'x')")
        pair.execute("TRUNCATE t")
    wait_until(lambda: is_held(pair, "t"), 30, lambda: pair.mirror.tail())
    assert pair.mirror.into.query("SELECT id::text, v FROM t ORDER BY id") == [("1", "my own"), ("9", "my own")]
    # Once the name is free, the table is made anew.
    pair.mirror.stop()
    pair.mirror.into.execute("ALTER TABLE t RENAME TO strangers; DROP TABLE IF EXISTS t_before")
    pair.mirror.start("--recopy", "public.t")
    settled(pair)
    assert pair.mirror.into.value("(SELECT count(*) FROM strangers WHERE v = 'my own')") == "2"


def test_a_stranger_takes_the_name_before_all_is_made(pair):
    """Indexes, keys, triggers and policies wait in the books for the end of the copy: they are our table's."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE INDEX t_v ON t (v);"
                 "INSERT INTO t VALUES (1, 'a');"
                 "CREATE TABLE u (id int PRIMARY KEY, t int REFERENCES t); CREATE INDEX u_t ON u (t);"
                 "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
                 "CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();"
                 "ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (true);"
                 "ALTER TABLE t REPLICA IDENTITY FULL")
    pair.mirror.env = killed_at("postgres.copy.committed", 2)
    pair.mirror.start()
    assert pair.mirror.wait_ended() == -signal.SIGKILL
    into = pair.mirror.into
    into.execute("ALTER TABLE t RENAME TO t_before; DROP INDEX IF EXISTS t_v; CREATE TABLE t (id int, v text);"
                 "INSERT INTO t VALUES (1, 'my own'), (1, 'my own')")
    pair.mirror.env = {}
    pair.mirror.start()
    pair.mirror.wait_streaming()
    pair.execute("UPDATE t SET v = 'b'")
    wait_until(lambda: is_held(pair, "t"), 40, lambda: pair.mirror.tail())
    pair.execute("INSERT INTO u VALUES (1)")
    wait_until(lambda: into.value("(SELECT count(*) FROM u)") == "1", 30, lambda: pair.mirror.tail())
    assert into.query("SELECT id::text, v FROM t") == [("1", "my own"), ("1", "my own")]
    marks = "SELECT relhasindex, relhastriggers, relrowsecurity, relreplident FROM pg_class WHERE oid = 't'::regclass"
    assert into.query(marks) == [("f", "f", "f", "d")]
    assert into.value("to_regclass('u_t')") == "u_t"
    # Indexes and keys may have been made before the end already.
    for what in ("trigger f", "policy p"):
        assert f"the {what} of public.t: what is called" in pair.mirror.log_text(), what
    assert "constraint u_t_fkey of public.u: what is called" in pair.mirror.log_text()


# Our own -----------------------------------------------------------------------------------------------------

# name: (definitions and rows, transactions)
TWO = "CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a SELECT i, 'a' FROM generate_series(1, 3) i;" \
      "CREATE TABLE b (id int PRIMARY KEY, v text); INSERT INTO b SELECT i, 'b' FROM generate_series(1, 4) i;"
CASES = {
    "two_trade_names": (TWO, [
        "ALTER TABLE a RENAME TO x; ALTER TABLE b RENAME TO a; ALTER TABLE x RENAME TO b",
        "INSERT INTO a VALUES (100, 'of b'); UPDATE b SET v = 'of a' WHERE id = 2; DELETE FROM a WHERE id = 1"]),
    "two_trade_names_and_rest": (TWO, [
        "ALTER TABLE a RENAME TO x; ALTER TABLE b RENAME TO a; ALTER TABLE x RENAME TO b"]),
    "one_changes_and_the_other_rests": (TWO, [
        "ALTER TABLE a RENAME TO x; ALTER TABLE b RENAME TO a; ALTER TABLE x RENAME TO b; UPDATE b SET v = 'of a'"]),
    "back_again": (TWO, [
        "ALTER TABLE a RENAME TO x; ALTER TABLE b RENAME TO a; ALTER TABLE x RENAME TO b; UPDATE a SET v = '1'",
        "ALTER TABLE a RENAME TO x; ALTER TABLE b RENAME TO a; ALTER TABLE x RENAME TO b; UPDATE b SET v = '2'"]),
    "three_in_a_ring": (TWO + "CREATE TABLE \"C c\" (id int PRIMARY KEY); INSERT INTO \"C c\" VALUES (1)", [
        "ALTER TABLE a RENAME TO x; ALTER TABLE b RENAME TO a; ALTER TABLE \"C c\" RENAME TO b;"
        "ALTER TABLE x RENAME TO \"C c\"", "DELETE FROM b", "INSERT INTO \"C c\" VALUES (7, 'of a')"]),
    "rotation": (
        "CREATE TABLE log (id int PRIMARY KEY, v text); INSERT INTO log SELECT i, 'day1' FROM generate_series(1, 3) i;"
        "CREATE TABLE log_1 (id serial PRIMARY KEY, v text); INSERT INTO log_1 SELECT i, 'day0' FROM generate_series(1,"
        " 4) i; CREATE TABLE day (id int PRIMARY KEY)", [
            "ALTER TABLE log_1 RENAME TO log_2; ALTER TABLE log RENAME TO log_1; CREATE TABLE log (id int PRIMARY"
            " KEY, v"
            " text); INSERT INTO log VALUES (1, 'day2'); INSERT INTO day VALUES (1)",
            "INSERT INTO log VALUES (2, 'day2'); INSERT INTO log_1 VALUES (100, 'late day1')"]),
    "staging_was_followed": (
        "CREATE TABLE price (id serial PRIMARY KEY, v text); INSERT INTO price (v) SELECT 'old' FROM"
        " generate_series(1, 50);"
        "CREATE TABLE price_new (LIKE price INCLUDING ALL); CREATE INDEX ON price (v);"
        "INSERT INTO price_new SELECT i, 'new' FROM generate_series(1, 60) i", [
            "ALTER SEQUENCE price_id_seq OWNED BY price_new.id; DROP TABLE price; ALTER TABLE price_new RENAME TO"
            " price",
            "INSERT INTO price VALUES (100, 'after')"]),
    "staging_in_one_transaction": (
        "CREATE TABLE price (id int PRIMARY KEY, v text); INSERT INTO price SELECT i, 'old' FROM"
        " generate_series(1, 50) i", [
            "CREATE TABLE price_new (LIKE price INCLUDING ALL); INSERT INTO price_new SELECT i, 'new' FROM"
            " generate_series(1, 60) i; DROP TABLE price; ALTER TABLE price_new RENAME TO price"]),
    "made_anew": (
        "CREATE TABLE t (id serial PRIMARY KEY, v text UNIQUE); INSERT INTO t (v) SELECT i FROM generate_series(1,"
        " 9) i", [
            "DROP TABLE t; CREATE TABLE t (id serial PRIMARY KEY, v text UNIQUE, w int); INSERT INTO t (v, w)"
            " VALUES ('1', 2)",
            "INSERT INTO t (v, w) VALUES ('2', 3)"]),
    "to_another_schema_and_name": (
        "CREATE SCHEMA other; CREATE TABLE t (id serial PRIMARY KEY, v text); INSERT INTO t (v) VALUES ('a');"
        "CREATE TABLE other.t (id int CONSTRAINT other_key PRIMARY KEY, v text);"
        "INSERT INTO other.t VALUES (1, 'other')", [
            "ALTER TABLE other.t RENAME TO u; ALTER TABLE t SET SCHEMA other; INSERT INTO other.t (v) VALUES ('b')",
            "ALTER TABLE other.u SET SCHEMA public; ALTER TABLE u RENAME TO t; INSERT INTO t VALUES (2, 'u')"]),
    "a_schema_is_renamed": (
        "CREATE SCHEMA s; CREATE TABLE s.t (id serial PRIMARY KEY, v text); INSERT INTO s.t (v) VALUES ('a')", [
            "ALTER SCHEMA s RENAME TO s2; INSERT INTO s2.t (v) VALUES ('b')"]),
}


@pytest.mark.parametrize("backlog", [False, True], ids=["live", "backlog"])
@pytest.mark.parametrize("case", CASES)
def test_names_of_ours(pair, case, backlog):
    setup, transactions = CASES[case]
    follow(pair, setup, "CREATE TABLE a_strangers (id int); INSERT INTO a_strangers VALUES (1)")
    if backlog:
        pair.mirror.stop()
    for transaction in transactions:
        pair.execute(transaction)
    if backlog:
        pair.mirror.start()
    settled(pair)
    assert pair.mirror.into.value("(SELECT count(*) FROM a_strangers)") == "1"
    pair.mirror.stop()


def test_a_stranger_has_the_schema_for_what_makes_room(pair):
    """Whoever owns the schema that a table is moved to could drop it there."""
    into = pair.mirror.into
    follow(pair, "CREATE TABLE log (id int PRIMARY KEY, v text); INSERT INTO log VALUES (1, 'day1');"
                 "CREATE TABLE log_1 (id int PRIMARY KEY, v text); INSERT INTO log_1 VALUES (1, 'day0')")
    stranger = f"stranger_of_{pair.name}"
    into.execute(f"CREATE ROLE {stranger} LOGIN; GRANT CREATE ON DATABASE {into.database} TO {stranger}")
    oids = into.execute("SELECT oid FROM pg_class WHERE relname IN ('log', 'log_1') AND relkind = 'r'")
    names = [f"tailrace_moved_{oid}" for (oid,) in oids]
    try:
        with into.cluster.connect(into.database, user=stranger) as connection:
            connection.execute("; ".join(f"CREATE SCHEMA {name}" for name in names))
        # Nobody makes `log` anew yet: it stays where it was moved to.
        with pair.connect(autocommit=False) as open_one:
            open_one.execute("ALTER TABLE log RENAME TO x; ALTER TABLE log_1 RENAME TO log; ALTER TABLE x RENAME TO"
                             " log_1; INSERT INTO log VALUES (2, 'day0')")
        wait_until(lambda: same_by_name(pair) is not None, 40, lambda: pair.mirror.tail())
        pair.execute("INSERT INTO log_1 VALUES (2, 'day1')")
        wait_until(lambda: same_by_name(pair) is not None, 40, lambda: pair.mirror.tail())
        # What was moved had a schema of its own; the stranger's are as he left them.
        left = into.execute("SELECT n.nspname, r.rolname, count(c) FROM pg_namespace n JOIN pg_roles r ON r.oid ="
                            " nspowner LEFT JOIN pg_class c ON c.relnamespace = n.oid WHERE nspname LIKE"
                            " 'tailrace\\_moved%' GROUP BY 1, 2")
        assert sorted(left) == sorted((name, stranger, 0) for name in names)
        moved_to = [line for line in pair.mirror.log_text().splitlines() if "until that has settled" in line]
        assert moved_to and all(any(f"{name}_1.log" in line for name in names) for line in moved_to), moved_to
        pair.mirror.stop()
        assert pair.mirror.into.execute("SELECT count(*) FROM tailrace.moved_places") == [(0,)]
    finally:
        into.execute(f"DROP OWNED BY {stranger}; DROP ROLE {stranger}")


def test_a_partition_is_detached_and_kept(pair):
    follow(pair, "CREATE TABLE m (id int, d int, PRIMARY KEY (id, d)) PARTITION BY LIST (d);"
                 "CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1); CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2);"
                 "INSERT INTO m VALUES (1, 1), (2, 2)")
    pair.execute("INSERT INTO m VALUES (5, 2)")
    pair.execute("ALTER TABLE m DETACH PARTITION m2")
    pair.execute("INSERT INTO m VALUES (3, 1); INSERT INTO m2 VALUES (4, 2)")
    settled(pair)


# What was followed by itself, then is a partition of a table.
ROOT = """CREATE TABLE m (id int, d int, v text, PRIMARY KEY (id, d)) PARTITION BY LIST (d);
          CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1); INSERT INTO m VALUES (1, 1, 'a');
          CREATE TABLE q (LIKE m INCLUDING ALL); INSERT INTO q SELECT i, 2, 'q' FROM generate_series(1, 5) i;"""
ATTACHED = {
    "as_it_is": (ROOT, ["ALTER TABLE m ATTACH PARTITION q FOR VALUES IN (2)"]),
    "under_another_name": (ROOT, ["ALTER TABLE q RENAME TO q2; ALTER TABLE m ATTACH PARTITION q2 FOR VALUES IN (2);"
                                  "CREATE TABLE q (id int PRIMARY KEY); INSERT INTO q VALUES (7)"]),
    "to_a_new_table": (ROOT, ["CREATE TABLE n (LIKE m INCLUDING ALL) PARTITION BY LIST (d);"
                              "ALTER TABLE n ATTACH PARTITION q FOR VALUES IN (2)"]),
    "under_the_new_tables_name": (
        "CREATE TABLE m (id int PRIMARY KEY, d int, v text);"
        "INSERT INTO m SELECT i, 2, 'q' FROM generate_series(1, 5) i",
        ["ALTER TABLE m RENAME TO q; ALTER INDEX m_pkey RENAME TO q_pkey;"
         "CREATE TABLE m (id int PRIMARY KEY, d int, v text) PARTITION BY RANGE (id);"
         "ALTER TABLE m ATTACH PARTITION q FOR VALUES FROM (0) TO (1000)"]),
    "from_another_table": (
        ROOT + "CREATE TABLE n (LIKE m INCLUDING ALL) PARTITION BY LIST (d);"
               "ALTER TABLE n ATTACH PARTITION q FOR VALUES IN (2)",
        ["ALTER TABLE n DETACH PARTITION q; ALTER TABLE m ATTACH PARTITION q FOR VALUES IN (2)"]),
    "and_taken_back": (ROOT, ["ALTER TABLE m ATTACH PARTITION q FOR VALUES IN (2)", "ALTER TABLE m DETACH PARTITION q",
                              "INSERT INTO q VALUES (70, 2, 'alone')"]),
}


@pytest.mark.parametrize("backlog", [False, True], ids=["live", "backlog"])
@pytest.mark.parametrize("case", ATTACHED)
def test_a_table_of_ours_is_attached(pair, case, backlog):
    setup, transactions = ATTACHED[case]
    follow(pair, setup)
    if backlog:
        pair.mirror.stop()
    for transaction in transactions:
        pair.execute(transaction)
        if not backlog:
            pair.mirror.look(pair.cluster)  # the rows alone may be the same under each name
            settled(pair)
    pair.execute("UPDATE q SET id = id + 100" + (", v = 'after'" if case != "under_another_name" else ""))
    if backlog:
        pair.mirror.start()
    settled(pair)
    assert "is held" not in pair.mirror.log_text()
    partitions = "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relispartition AND c.relkind = 'r' ORDER BY 1"
    with pair.connect() as source:
        assert pair.mirror.into.query(partitions) == source.execute(partitions).fetchall()


def test_a_strangers_table_is_in_the_way_of_a_partition(pair):
    """What stands there and is not the mirror's makes no way."""
    follow(pair, ROOT.split("CREATE TABLE q")[0], "CREATE TABLE q (mine text); INSERT INTO q VALUES ('mine')")
    pair.execute("CREATE TABLE q PARTITION OF m FOR VALUES IN (2); INSERT INTO m VALUES (2, 2, 'b')")
    wait_until(lambda: is_held(pair, "m"), 40, lambda: pair.mirror.tail())
    assert pair.mirror.into.query("SELECT mine FROM q") == [("mine",)]


@pytest.mark.parametrize("live", [True, False], ids=["live", "backlog"])
def test_a_keys_name_that_a_table_had_which_is_gone(pair, live):
    """Dropped, made again and renamed: the new table's key has the name that the old one's has at the target still."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1);"
                 "CREATE TABLE k (id int PRIMARY KEY, u int CONSTRAINT odd UNIQUE); INSERT INTO k VALUES (1, 1)")
    pair.mirror.start()
    pair.mirror.look(pair.cluster)
    if not live:
        pair.mirror.stop()
    pair.execute("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (2, 'new')")
    pair.execute("ALTER TABLE t RENAME TO other")
    # The table is still there, and followed; what had the name has another one now.
    pair.execute("ALTER INDEX odd RENAME TO even; CREATE TABLE l (id int PRIMARY KEY, u int CONSTRAINT odd UNIQUE);"
                 "INSERT INTO l VALUES (1, 1)")
    if not live:
        pair.mirror.start()
    pair.mirror.look(pair.cluster)
    pair.execute("INSERT INTO other VALUES (3, 'newer'); INSERT INTO k VALUES (2, 2); INSERT INTO l VALUES (2, 2)")
    pair.settle(tables=["public.other", "public.k", "public.l"])
    with pair.mirror.opened() as into:
        assert into.value("SELECT conindid::regclass::text FROM pg_constraint WHERE conrelid = 'other'::regclass "
                          "AND contype = 'p'") == "t_pkey"


def test_an_index_of_the_targets_own_keeps_its_name(pair):
    """On a table of ours, made by the target's users: what comes with that name is held."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'v')")
    pair.mirror.start()
    pair.mirror.look(pair.cluster)
    pair.mirror.into.execute("CREATE INDEX theirs ON t (v)")
    pair.execute("CREATE TABLE u (id int PRIMARY KEY, v text); CREATE INDEX theirs ON u (v)")
    pair.mirror.wait_status(lambda status: "held" in [table["state"] for table in status["tables"]], what="it is held")
    with pair.mirror.opened() as into:
        assert into.value("SELECT indrelid::regclass::text FROM pg_index WHERE indexrelid = 'theirs'::regclass") == "t"
