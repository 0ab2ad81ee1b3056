"""Tables that inherit at a PostgreSQL target. What is of a table is its own rows: those of its heirs, ours or a
stranger's, are other tables' rows."""
import pytest

from structure import compare_structure

pytestmark = pytest.mark.postgres
FULL = """CREATE TABLE p (id int, v text); ALTER TABLE p REPLICA IDENTITY FULL;
CREATE TABLE c (x int) INHERITS (p); ALTER TABLE c REPLICA IDENTITY FULL;
INSERT INTO p SELECT i, 'v' FROM generate_series(1, {rows}) i;
INSERT INTO c SELECT i, 'v', i FROM generate_series(1, {rows}) i"""
KEYS = """CREATE TABLE p (id int PRIMARY KEY, v text); CREATE TABLE c (x int, PRIMARY KEY (id)) INHERITS (p);
INSERT INTO p SELECT i, 'v' FROM generate_series(1, 9) i; INSERT INTO c SELECT i, 'v', i FROM generate_series(1, 9) i"""


def following(pair, made):
    pair.execute(made)
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    return pair.mirror.into


@pytest.mark.parametrize("rows", (3, 60, 5000))
@pytest.mark.parametrize("change", ("DELETE FROM ONLY p", "UPDATE ONLY p SET v = v || '!'",
                                    "DELETE FROM ONLY p WHERE id % 3 = 0; UPDATE c SET v = 'w' WHERE id % 2 = 0"))
def test_rows_that_an_heir_has_too(pair, rows, change):
    """Without a key, a row is found by all that it holds."""
    following(pair, FULL.format(rows=rows))
    pair.execute(change)
    pair.settle()


@pytest.mark.parametrize("conflicts", (None, "error"))
@pytest.mark.parametrize("change", ("UPDATE ONLY p SET v = 'new' WHERE id = 1", "DELETE FROM ONLY p",
                                    "UPDATE ONLY p SET id = id + 100", "UPDATE ONLY p SET v = 'all'"))
def test_keys_that_an_heir_has_too(pair, conflicts, change):
    if conflicts:
        pair.mirror.configure(conflicts={"policy": conflicts})
    following(pair, KEYS)
    pair.execute(change)
    pair.settle()


def test_heirs_of_a_stranger(pair):
    into = following(pair, FULL.format(rows=300))
    into.execute("CREATE TABLE his (note text) INHERITS (p); INSERT INTO his SELECT i, 'v', 'mine'"
                 " FROM generate_series(1, 300) i")
    pair.execute("UPDATE ONLY p SET v = 'w' WHERE id <= 100; DELETE FROM ONLY p WHERE id > 100")
    pair.mirror.wait_caught_up(pair.cluster)
    assert into.query("SELECT count(*), min(v), max(v) FROM his") == [("300", "v", "v")]
    pair.mirror.stop()
    pair.compared()


def test_a_row_that_only_the_heir_has(pair):
    """The parent's is missing: it is said, and the heir's stays."""
    into = following(pair, KEYS)
    into.execute("DELETE FROM ONLY p WHERE id = 5")
    pair.execute("DELETE FROM ONLY p WHERE id = 5")
    pair.mirror.wait_caught_up(pair.cluster)
    pair.settle()


@pytest.mark.parametrize("stopped", (False, True))
def test_a_new_heir_after_its_parent_was_altered(pair, stopped):
    into = following(pair, "CREATE TABLE p (id int PRIMARY KEY, v text)")
    if stopped:
        pair.mirror.stop()
    pair.execute("ALTER TABLE p RENAME v TO w; CREATE TABLE c (x int, PRIMARY KEY (id)) INHERITS (p);"
                 "INSERT INTO c VALUES (1, 'w', 2); INSERT INTO p VALUES (1, 'p')")
    if stopped:
        pair.mirror.start()
    pair.settle()
    assert into.query("SELECT w FROM ONLY p") == [("p",)]


def test_an_heir_of_a_parent_with_a_generated_column(pair):
    into = following(pair, "CREATE TABLE p (id int PRIMARY KEY, v text); CREATE TABLE q (id int PRIMARY KEY, n int,"
                     " g int GENERATED ALWAYS AS (n * 2) STORED)")
    pair.execute("CREATE TABLE c (PRIMARY KEY (id)) INHERITS (p, q); INSERT INTO c (id, v, n) VALUES (1, 'v', 3)")
    pair.settle()
    assert into.query("SELECT g FROM c") == [("6",)]
    compare_structure(pair.cluster, pair.name, into.cluster, into.database)


LOOSENED = {
    "another type": ("ALTER TABLE c NO INHERIT p; ALTER TABLE p ALTER v TYPE int USING 7",
                     "INSERT INTO p VALUES (50, 7)"),
    "a column dropped": ("ALTER TABLE c NO INHERIT p; ALTER TABLE p DROP v", "INSERT INTO p VALUES (50)"),
    "of it alone": ("ALTER TABLE ONLY p DROP v", "INSERT INTO p VALUES (50)"),
    "renamed": ("ALTER TABLE c NO INHERIT p; ALTER TABLE p RENAME v TO w", "INSERT INTO p VALUES (50, 'v')"),
    "each its own": ("ALTER TABLE c NO INHERIT p; ALTER TABLE p ADD y int; ALTER TABLE c ADD y text",
                     "INSERT INTO p VALUES (50, 'v', 7); INSERT INTO c VALUES (50, 'v', 50, 'yy')"),
    "the heir first": ("ALTER TABLE p DROP v", "INSERT INTO c VALUES (50, 50); INSERT INTO p VALUES (50)"),
    "the heir's new name first": ("ALTER TABLE p RENAME v TO w",
                                  "INSERT INTO c VALUES (50, 'v', 50); INSERT INTO p VALUES (50, 'v')"),
}


@pytest.mark.parametrize("how", LOOSENED)
def test_a_parent_is_altered(pair, how):
    """The source's table does not inherit any more, or is altered first: nothing of the target's heir goes."""
    following(pair, KEYS)
    change, rows = LOOSENED[how]
    pair.execute(change)
    pair.execute(rows)
    pair.mirror.look(pair.cluster)
    assert not [table for table in pair.mirror.status()["tables"] if table["state"] == "held"]
    pair.settle()
