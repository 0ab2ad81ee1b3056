"""A table that the target refuses is held, and nothing else is. Invariants: other tables' transactions arrive whole, a
held table's rows stay as they were, it is named wherever somebody looks, and `--recopy` is the way back."""
import pytest

from structure import compare_structure
from tailrace import run
from waiting import wait_until

START = """
CREATE TABLE t (id int PRIMARY KEY, v text, n int);
INSERT INTO t SELECT i, 'v' || i, i FROM generate_series(1, 100) i;
CREATE TABLE bystander (id int PRIMARY KEY)
"""


def follow(shop, sql=START, **settings):
    shop.execute(sql)
    shop.mirror.configure(**settings)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)


def wait_held(mirror, table="public.t"):
    """Its part of the status, once it is held and the others flow."""
    def held(status):
        states = {f"{it['schema']}.{it['name']}": it["state"] for it in status["tables"]}
        return status["state"] == "streaming" and states.get(table) == "held"

    mirror.wait_status(held, what=f"{table} is held")
    return mirror.table(table)


def others_arrive(shop, mirror=None):
    """Whole transactions, but for what a held table has of them."""
    mirror = mirror or shop.mirror
    shop.execute("INSERT INTO bystander SELECT coalesce(max(id), 0) + 1 FROM bystander; UPDATE t SET v = v || '.'")
    last = shop.value("SELECT pg_current_wal_insert_lsn()")
    wait_until(lambda: mirror.status() and mirror.status()["applied"] is not None
               and shop.value(f"SELECT '{mirror.status()['applied']}'::pg_lsn >= '{last}'::pg_lsn"),
               what=lambda: f"the others arrive\n{mirror.tail()}")


def blocked_by_a_view(pair):
    """The target's user looks at a column, which the source drops."""
    pair.mirror.into.execute("CREATE VIEW looks_at_n AS SELECT n FROM t")
    pair.execute("ALTER TABLE t DROP n; UPDATE t SET v = 'after' WHERE id = 1")


def way_free(pair):
    pair.mirror.into.execute("DROP VIEW looks_at_n; ALTER TABLE t DROP n")


def recopied(shop, table="public.t"):
    shop.mirror.stop()
    shop.mirror.start("--recopy", table)
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.wait_status(lambda status: status["in_step"], what="in step")


@pytest.mark.postgres
def test_what_people_read_of_a_held_table(pair):
    """Caught up with the source, and not in step: as the JSON has it."""
    follow(pair)
    pair.mirror.wait_status(lambda status: status["in_step"], what="in step")
    assert " in step" in pair.mirror.text_status() and "not in step" not in pair.mirror.text_status()
    blocked_by_a_view(pair)
    wait_held(pair.mirror)
    others_arrive(pair)
    pair.mirror.wait_status(lambda status: status["lag_seconds"] == 0, what="all the rest")
    assert not pair.mirror.status()["in_step"]
    assert "not in step: 1 of 2 tables held" in pair.mirror.text_status()
    mark = len(pair.mirror.log_text())
    pair.mirror.stop()
    last = pair.mirror.log_text()[mark - 1:].splitlines()[-1]
    assert "stopped at" in last and "not in step: 1 of 2 tables held" in last, last


@pytest.mark.postgres
def test_a_view_that_gave_way_for_nothing(pair):
    """The column cannot go, so that the view is there as before, and nobody is sent round in circles for it."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v text, n int); INSERT INTO t VALUES (1, 'one', 1);"
                 "CREATE VIEW all_of_t AS SELECT * FROM t")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.into.execute("CREATE POLICY p ON t USING (n > 0)")
    pair.execute("DROP VIEW all_of_t; ALTER TABLE t DROP n")
    wait_held(pair.mirror)
    pair.mirror.stop()
    assert pair.mirror.log_text().count("the target's structure is to follow") <= 2, pair.mirror.tail()
    assert "prepared anew" not in pair.mirror.log_text()
    assert pair.mirror.into.query("SELECT n FROM all_of_t") == [("1",)]


@pytest.mark.postgres
def test_a_definition_that_cannot_be_followed_holds_its_table(pair):
    follow(pair)
    blocked_by_a_view(pair)
    table = wait_held(pair.mirror)
    assert "looks_at_n" in table["last_error"]
    before = pair.mirror.into.query("SELECT * FROM t ORDER BY id")
    others_arrive(pair)
    assert pair.mirror.into.query("SELECT * FROM t ORDER BY id") == before
    assert pair.mirror.into.query("SELECT count(*) FROM bystander") == [("1",)]
    status = pair.mirror.status()
    assert not status["in_step"] and pair.mirror.running()
    assert "! held: " in pair.mirror.text_status()
    report = pair.mirror.verify()
    assert report.returncode == 1 and "HELD" in report.stdout and "looks_at_n" in report.stdout
    # It never ends a later start, however the last one ended.
    for end in (pair.mirror.stop, pair.mirror.kill):
        others_arrive(pair)
        end()
        written = len(pair.mirror.log_text())
        pair.mirror.start()
        wait_held(pair.mirror)
        said = [line for line in pair.mirror.log_text()[written:].splitlines() if "public.t is held" in line]
        assert len(said) == 1 and "--recopy public.t" in said[0], said
    others_arrive(pair)
    way_free(pair)
    recopied(pair)
    assert pair.settle() == 100 + 4


@pytest.mark.postgres
def test_stop_ends_the_run_with_the_same_words(pair):
    follow(pair, on_schema_error="stop")
    blocked_by_a_view(pair)
    pair.execute("INSERT INTO bystander VALUES (1)")
    assert pair.mirror.wait_ended() == 3
    assert "looks_at_n" in pair.mirror.tail()
    way_free(pair)
    pair.mirror.start()
    pair.settle()


@pytest.mark.postgres
def test_a_missing_table_where_none_is_made(pair):
    pair.mirror.into.execute("CREATE TABLE t (id int PRIMARY KEY, v text, n int)")
    pair.mirror.into.execute("CREATE TABLE bystander (id int PRIMARY KEY)")
    follow(pair, schema="expect")
    pair.execute("CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late VALUES (1)")
    table = wait_held(pair.mirror, "public.late")
    assert "has no table public.late" in table["last_error"]
    others_arrive(pair)
    # What nothing was copied of is tried again by the next start.
    pair.mirror.stop()
    pair.mirror.start()
    wait_held(pair.mirror, "public.late")
    pair.mirror.stop()
    pair.mirror.into.execute("CREATE TABLE late (id int PRIMARY KEY)")
    pair.execute("INSERT INTO late VALUES (2)")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.wait_status(lambda status: status["in_step"], what="in step")
    pair.settle()


@pytest.mark.postgres
def test_a_strangers_rows_are_not_emptied_by_trying_again(pair):
    follow(pair)
    pair.mirror.into.execute("CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late VALUES (77)")
    pair.execute("CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late VALUES (1)")
    table = wait_held(pair.mirror, "public.late")
    assert "holds rows already" in table["last_error"]
    for arguments in ([], ["--recopy", "public.late"]):
        pair.mirror.stop()
        pair.mirror.start(*arguments)
        wait_held(pair.mirror, "public.late")
        assert pair.mirror.into.query("SELECT * FROM late") == [("77",)]


@pytest.mark.postgres
def test_a_held_table_that_leaves_is_nobodys_trouble(pair):
    follow(pair)
    blocked_by_a_view(pair)
    wait_held(pair.mirror)
    pair.execute("DROP TABLE t")
    run("refresh", *pair.mirror.named())
    pair.mirror.wait_status(lambda status: status["in_step"], what="in step without it")


# Bytes of no encoding -------------------------------------------------------------------------------------

@pytest.fixture
def raw(cluster):
    """A database of encoding SQL_ASCII, which holds whatever bytes it was given."""
    name = "raw_bytes"
    cluster.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0")
    yield name
    cluster.drop_database(name)


RAW = """
CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'plain');
CREATE TABLE bystander (id int PRIMARY KEY)
"""


def rows_of(mirror):
    mirror.stop()
    return mirror.into.query("SELECT id::text, v FROM public.t ORDER BY 1")


@pytest.mark.parametrize("when", ["in the copy", "in the stream"])
def test_a_byte_that_is_not_utf8_holds_its_table(shop, raw, when):
    mirror = shop.another(name=f"{shop.name}_raw", source=shop.cluster.url(raw))
    shop.cluster.execute(RAW, raw)
    bad = "INSERT INTO t VALUES (2, E'caf\\xe9'); INSERT INTO bystander VALUES (1)"
    if when == "in the copy":
        shop.cluster.execute(bad, raw)
        mirror.start()
    else:
        mirror.start()
        mirror.wait_caught_up(shop.cluster)
        shop.cluster.execute(bad, raw)
    table = wait_held(mirror)
    assert "not UTF-8" in table["last_error"] and "public.t" in table["last_error"]
    shop.cluster.execute("INSERT INTO bystander VALUES (2)", raw)
    mirror.wait_status(lambda status: any(it["name"] == "bystander" and it["inserts"] + it["rows_copied"] >= 2
                                          for it in status["tables"]), what="the others go on")
    shop.cluster.execute("UPDATE t SET v = 'mended' WHERE id = 2", raw)
    mirror.stop()
    mirror.start("--recopy", "public.t")
    mirror.wait_status(lambda status: status["in_step"], what="in step")
    assert rows_of(mirror) == [("1", "plain"), ("2", "mended")]
    assert mirror.into.query("SELECT id::text FROM public.bystander ORDER BY 1") == [("1",), ("2",)]


@pytest.mark.postgres
def test_sql_ascii_to_sql_ascii_copies_bytes(pair, raw):
    into = pair.mirror.into
    pair.target_server.execute(f"DROP DATABASE {into.database}")
    pair.target_server.execute(f"CREATE DATABASE {into.database} ENCODING 'SQL_ASCII' TEMPLATE template0")
    mirror = pair.another(name=f"{pair.name}_raw", source=pair.cluster.url(raw), into=into)
    pair.cluster.execute(RAW + "; INSERT INTO t VALUES (2, E'caf\\xe9')", raw)
    mirror.start()
    mirror.wait_caught_up(pair.cluster)
    pair.cluster.execute("INSERT INTO t VALUES (3, E'\\xff'); UPDATE t SET v = E'\\xc3' WHERE id = 1", raw)
    mirror.wait_caught_up(pair.cluster)
    bytes_of = "SELECT id, encode(v::bytea, 'hex') FROM t ORDER BY 1"
    assert into.query(bytes_of) == [("1", "c3"), ("2", "636166e9"), ("3", "ff")]


# The target's own say -------------------------------------------------------------------------------------

@pytest.mark.postgres
def test_a_trigger_that_leaves_a_row_alone_decides(pair):
    follow(pair)
    pair.mirror.into.execute("""
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF old.id % 2 = 0 THEN RETURN NULL; END IF;
            IF tg_op = ''DELETE'' THEN RETURN old; END IF; RETURN new; END';
        CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION keep();
        ALTER TABLE t ENABLE ALWAYS TRIGGER keep""")
    pair.execute("UPDATE t SET v = 'new' WHERE id <= 4")
    pair.execute("DELETE FROM t WHERE id BETWEEN 5 AND 8; INSERT INTO bystander VALUES (1)")
    pair.mirror.wait_caught_up(pair.cluster)
    assert pair.mirror.into.query("SELECT id, v FROM t WHERE id <= 8 ORDER BY id") == [
        ("1", "new"), ("2", "v2"), ("3", "new"), ("4", "v4"), ("6", "v6"), ("8", "v8")]
    # A row that is not there is still told of.
    pair.mirror.into.execute("SET session_replication_role = replica; ALTER TABLE t DISABLE TRIGGER keep;"
                             " DELETE FROM t WHERE id = 20; ALTER TABLE t ENABLE ALWAYS TRIGGER keep")
    pair.execute("UPDATE t SET v = 'gone' WHERE id = 20")
    pair.mirror.wait_status(lambda status: status["conflicts"].get("update_missing") == 1, what="a conflict")
    pair.mirror.stop()


@pytest.mark.postgres
@pytest.mark.parametrize("change", ["ALTER TABLE t DROP v", "ALTER TABLE t RENAME v TO w", "DROP TABLE t",
                                    "ALTER TABLE t RENAME TO mine"])
def test_a_table_that_somebody_changes_at_the_target_meanwhile(pair, change):
    """Nobody looks before each change; the run finds out which table it is, and goes on with the others."""
    follow(pair)
    pair.execute("UPDATE t SET v = 'before' WHERE id = 1; INSERT INTO bystander VALUES (-1)")
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.into.execute(change)
    others_arrive(pair)
    wait_held(pair.mirror)
    others_arrive(pair)
    assert not pair.mirror.status()["in_step"]
    assert pair.mirror.into.query("SELECT count(*) FROM bystander") == [("3",)]


GUARDED = START + """;
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER g BEFORE UPDATE OF n ON t FOR EACH ROW EXECUTE FUNCTION f();
CREATE POLICY p ON t USING (n > 0);
CREATE VIEW looks_at_n AS SELECT n FROM t"""
# What the source alters under triggers, policies, views and keys, and what of them it has afterwards.
GIVES_WAY = {
    "dropped": "DROP TRIGGER g ON t; DROP POLICY p ON t; DROP VIEW looks_at_n; ALTER TABLE t DROP n",
    "cascade": "ALTER TABLE t DROP n CASCADE",
    "retyped": "DROP TRIGGER g ON t; DROP POLICY p ON t; DROP VIEW looks_at_n; ALTER TABLE t ALTER n TYPE bigint;"
               "CREATE TRIGGER g BEFORE UPDATE OF n, v ON t FOR EACH ROW EXECUTE FUNCTION f();"
               "ALTER TABLE t DISABLE TRIGGER g; CREATE POLICY p ON t USING (n > 1)",
    "key": "ALTER TABLE t DROP id CASCADE; ALTER TABLE t ADD PRIMARY KEY (v)",
}


@pytest.mark.postgres
@pytest.mark.parametrize("case", GIVES_WAY)
def test_what_tailrace_made_gives_way(pair, case):
    """As it did at the source. What the source has again is made again."""
    sql = GUARDED
    if case == "key":
        sql += "; CREATE TABLE child (id int PRIMARY KEY, t int REFERENCES t); INSERT INTO child VALUES (1, 1)"
    follow(pair, sql)
    pair.execute(GIVES_WAY[case])
    pair.execute("UPDATE t SET v = v || '.'")
    others_arrive(pair)
    pair.mirror.look(pair.cluster)
    pair.mirror.wait_caught_up(pair.cluster)
    log = pair.mirror.log_text()
    assert "held" not in log and log.count("structure is to follow") <= 2, pair.mirror.tail()
    pair.settle()
    if case != "key":  # made later
        compare_structure(pair.cluster, pair.name, pair.mirror.into.cluster, pair.mirror.into.database)


@pytest.mark.postgres
@pytest.mark.parametrize("way", ["CREATE TRIGGER mine BEFORE UPDATE OF n ON t FOR EACH ROW EXECUTE FUNCTION f()",
                                 "DROP TRIGGER g ON t; CREATE TRIGGER g BEFORE UPDATE OF n ON t FOR EACH ROW"
                                 " EXECUTE FUNCTION f()"], ids=["another_name", "our_name"])
def test_a_strangers_trigger_does_not(pair, way):
    """Also under the name of ours. All is as it was, and said once."""
    follow(pair, GUARDED)
    pair.mirror.into.execute(way)
    pair.execute("ALTER TABLE t DROP n CASCADE")
    wait_held(pair.mirror)
    others_arrive(pair)
    log = pair.mirror.log_text()
    assert log.count("is held") == 1 and "prepared anew" not in log and "CASCADE" not in log, pair.mirror.tail()
    assert log.count("structure is to follow") <= 2
    assert pair.mirror.into.query("SELECT count(*) FROM looks_at_n") == [("100",)]
    assert ("p",) in pair.mirror.into.query("SELECT polname FROM pg_policy")


@pytest.mark.postgres
def test_nobody_is_told_to_cascade(pair):
    """PostgreSQL's advice for what depends on a column would take along what is not tailrace's."""
    follow(pair)
    pair.mirror.into.execute("CREATE POLICY looks_at_n ON t USING (n > 0)")
    pair.execute("ALTER TABLE t DROP n; UPDATE t SET v = 'after' WHERE id = 1")
    wait_held(pair.mirror)
    log = pair.mirror.log_text()
    assert "looks_at_n" in log and "by hand" in log and "CASCADE" not in log + str(pair.mirror.status()), log
