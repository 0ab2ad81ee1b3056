"""What a target has already, whose owner is not trusted. Invariant: nothing of it runs with the rights of the superuser
that tailrace is there; and what calls nothing of his is used as it is."""
import pytest

from hostile import HostileDatabase
from tailrace import run

pytestmark = pytest.mark.postgres

EVIL = """
CREATE SCHEMA m;
CREATE FUNCTION m.evil(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
  $$BEGIN PERFORM evil.trap('evil'); RETURN 1; END$$;
"""
TABLE = "CREATE TABLE m.a (id int PRIMARY KEY, v int);"
# By what a table of his reaches his function without calling it by name: the table as he made it, then the source's.
DOMAIN = "CREATE DOMAIN m.dom AS int CHECK (m.evil(VALUE) > 0);"
ENUM = "CREATE TYPE m.e AS ENUM ('1', '2'); CREATE TABLE m.a (id int PRIMARY KEY, v m.e"
MEMBER = "CREATE EXTENSION hstore SCHEMA public; ALTER EXTENSION hstore ADD FUNCTION m.evil(int);"
MULTIRANGE = ("CREATE TYPE m.r AS RANGE (subtype = {}, multirange_type_name = m.mr);"
              "CREATE TABLE m.a (id int PRIMARY KEY, v m.mr)")
GIFTS = {
    "a domain in a check": (DOMAIN + TABLE + "ALTER TABLE m.a ADD CHECK ((v::m.dom) IS NOT NULL)", TABLE, "1"),
    "a domain in an index": (DOMAIN + TABLE + "CREATE INDEX ON m.a ((v::m.dom))", TABLE, "1"),
    "a domain in a predicate": (DOMAIN + TABLE + "CREATE INDEX ON m.a (id) WHERE (v::m.dom) > 0", TABLE, "1"),
    "a domain in a default": (DOMAIN + TABLE + "ALTER TABLE m.a ADD w int DEFAULT (7::m.dom)", TABLE, "1"),
    "a domain in a generated column": (
        DOMAIN + TABLE + "ALTER TABLE m.a ADD w int GENERATED ALWAYS AS ((v::m.dom)) STORED", TABLE, "1"),
    "a domain in a row": (
        DOMAIN + TABLE + "CREATE TYPE m.comp AS (x m.dom); ALTER TABLE m.a ADD CHECK (jsonb_populate_record("
        "NULL::m.comp, jsonb_build_object('x', v)) IS NOT NULL)", TABLE, "1"),
    "a domain in a trigger": (
        DOMAIN + TABLE + "CREATE TRIGGER g BEFORE INSERT ON m.a FOR EACH ROW WHEN ((NEW.v::m.dom) > 0) EXECUTE"
        " FUNCTION suppress_redundant_updates_trigger(); ALTER TABLE m.a ENABLE ALWAYS TRIGGER g", TABLE, "1"),
    "a multirange": (DOMAIN + MULTIRANGE.format("m.dom"), MULTIRANGE.format("int"), "'{[1,2]}'"),
    "a cast to json": (
        ENUM + " CHECK (to_json(v) IS NOT NULL)); CREATE FUNCTION m.j(m.e) RETURNS json LANGUAGE sql IMMUTABLE AS"
        " $$SELECT m.evil(1)::text::json$$; CREATE CAST (m.e AS json) WITH FUNCTION m.j(m.e)", ENUM + ")", "'1'"),
    "a cast to text": (
        ENUM + " CHECK (('a' || v) <> 'a')); CREATE FUNCTION m.t(m.e) RETURNS text LANGUAGE sql IMMUTABLE AS"
        " $$SELECT m.evil(1)::text$$; CREATE CAST (m.e AS text) WITH FUNCTION m.t(m.e)", ENUM + ")", "'1'"),
    "the key of its root": (
        "CREATE TABLE m.root (id int, v int) PARTITION BY LIST ((m.evil(v))); CREATE TABLE m.mid PARTITION OF m.root"
        " FOR VALUES IN (1) PARTITION BY RANGE (id); CREATE TABLE m.a PARTITION OF m.mid FOR VALUES FROM (0) TO (9)",
        TABLE, "1"),
    "a member of his extension": (MEMBER + TABLE + "ALTER TABLE m.a ADD CHECK (m.evil(v) > 0)", TABLE, "1"),
}


@pytest.mark.parametrize("gift", GIFTS)
def test_what_a_table_reaches(pair, gift):
    there, here, value = GIFTS[gift]
    into = pair.mirror.into
    if gift == "a multirange" and min(pair.cluster.version, into.cluster.version) < 14:
        pytest.skip("multiranges came with PostgreSQL 14")
    hostile = HostileDatabase(into.cluster, into.database, traps=False)
    hostile.execute(EVIL + there)
    pair.execute(f"CREATE SCHEMA m; {here}; INSERT INTO m.a VALUES (1, {value})")
    checked = run("check", "-c", pair.mirror.config)
    assert checked.returncode == 1 and "code of the target's tables" in checked.stdout, checked.stdout
    pair.mirror.start()
    assert pair.mirror.process.wait(60) == 3
    assert "has code of others" in pair.mirror.log_text()
    assert hostile.trapped() == []


def test_a_member_of_an_extension_at_the_source(pair):
    """`verify` would plan a query of the table."""
    hostile = HostileDatabase(pair.cluster, pair.name, traps=False)
    hostile.execute(EVIL + MEMBER + TABLE + "CREATE INDEX ON m.a ((m.evil(1) + v)); INSERT INTO m.a VALUES (1, 1)")
    pair.mirror.configure(tables=["m.a"], schema={"mode": "expect"})
    pair.mirror.into.execute("CREATE SCHEMA m; CREATE TABLE m.a (id int PRIMARY KEY, v int)")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    assert pair.mirror.verify().returncode == 3
    assert hostile.trapped() == []


ORDINARY = """
CREATE SCHEMA m; CREATE TYPE m.mood AS ENUM ('good', 'bad'); CREATE DOMAIN m.short AS text CHECK (length(VALUE) < 9);
CREATE TYPE m.pair AS (mood m.mood, short m.short);
CREATE TABLE m.a (id int PRIMARY KEY, mood m.mood DEFAULT 'good' CHECK (mood IN ('good', 'bad')), short m.short,
  p m.pair, ci public.citext CHECK (ci <> 'X'), h public.hstore CHECK (h ? 'k'), moods m.mood[],
  n int GENERATED ALWAYS AS (length(short::text)) STORED, CHECK (ci::text <> 'y' AND to_json(mood) IS NOT NULL));
CREATE INDEX ON m.a (lower(ci::text)) WHERE mood = 'good'; CREATE INDEX ON m.a ((h -> 'k'));
"""
ROW = "(id, mood, short, p, ci, h, moods) VALUES ({}, 'bad', 's', '(good,x)', 'c', 'k=>1', '{{good}}')"


@pytest.mark.parametrize("whose", ["a superuser's", "the owner's"])
def test_an_ordinary_target(pair, whose):
    """With extensions, types and expressions, and nothing that calls a function of its owner."""
    into = pair.mirror.into
    extensions = "CREATE EXTENSION citext SCHEMA public; CREATE EXTENSION hstore SCHEMA public;"
    hostile = HostileDatabase(into.cluster, into.database, traps=False)
    hostile.as_superuser(extensions)
    (hostile.as_superuser if whose == "a superuser's" else hostile.execute)(ORDINARY)
    pair.execute(extensions + ORDINARY + "INSERT INTO m.a " + ROW.format(1))
    checked = run("check", "-c", pair.mirror.config)
    assert checked.returncode == 0, checked.stdout
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.execute("INSERT INTO m.a " + ROW.format(2) + "; UPDATE m.a SET ci = 'd' WHERE id = 1")
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.stop()
    rows = "SELECT a::text FROM m.a ORDER BY id"
    assert into.execute(rows) == pair.execute(rows)


# What the source's superuser has, and what somebody had made at the target before, under those names or near them.
ONE = "LANGUAGE sql IMMUTABLE AS 'SELECT 1';"
CALLS = "LANGUAGE sql IMMUTABLE AS 'SELECT m.evil(1)';"
F = f"CREATE FUNCTION m.f(int) RETURNS int {ONE}"
F_OF_COLUMN = "CREATE FUNCTION m.f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';"
EVIL_F = f"CREATE FUNCTION m.f(int) RETURNS int {CALLS}"
E_TYPE = "CREATE TYPE m.e AS ENUM ('1');"
NAMES = {
    "a function in a check": (F + TABLE + "ALTER TABLE m.a ADD CHECK (m.f(v) > 0)", EVIL_F),
    "a function in a generated column": (F + TABLE + "ALTER TABLE m.a ADD w int GENERATED ALWAYS AS (m.f(v)) STORED",
                                         EVIL_F),
    "a function in an index": (F + TABLE + "CREATE INDEX ON m.a (m.f(v))", EVIL_F),
    "a function in a materialized view": (F + TABLE + "CREATE MATERIALIZED VIEW m.mv AS SELECT m.f(v) FROM m.a",
                                          EVIL_F),
    "a function of a trigger": (
        "CREATE FUNCTION m.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';" + TABLE
        + "CREATE TRIGGER g BEFORE INSERT ON m.a FOR EACH ROW EXECUTE FUNCTION m.f();"
        "ALTER TABLE m.a ENABLE ALWAYS TRIGGER g",
        "CREATE FUNCTION m.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM m.evil(1); RETURN NEW; END'"),
    "a function in a function": (
        F + "CREATE FUNCTION m.g(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN m.f($1); END';"
        + TABLE + "ALTER TABLE m.a ADD CHECK (m.g(v) > 0)", EVIL_F),
    "an overload": (f"CREATE FUNCTION m.f(anyelement) RETURNS int {ONE}" + TABLE + "ALTER TABLE m.a ADD CHECK"
                    " (m.f(v) > 0)", EVIL_F),
    "a view in a materialized view": (
        TABLE + "CREATE VIEW m.w AS SELECT id FROM m.a; CREATE MATERIALIZED VIEW m.mv AS SELECT * FROM m.w",
        "CREATE VIEW m.w AS SELECT m.evil(1) AS id"),
    "a cast in a check": (
        E_TYPE + "CREATE TABLE m.a (id int PRIMARY KEY, v m.e CHECK (v::text <> 'x'))",
        E_TYPE + f"CREATE FUNCTION m.c(m.e) RETURNS text {CALLS.replace('m.evil(1)', 'm.evil(1)::text')}"
        "CREATE CAST (m.e AS text) WITH FUNCTION m.c(m.e) AS IMPLICIT"),
    "a function where a function looks": (
        "CREATE FUNCTION m.g(int) RETURNS int LANGUAGE plpgsql IMMUTABLE SET search_path = m AS"
        " 'BEGIN RETURN round($1); END';" + TABLE + "ALTER TABLE m.a ADD CHECK (m.g(v) > 0)",
        f"CREATE FUNCTION m.round(int) RETURNS int {CALLS}"),
    "a value of a type": (
        "CREATE DOMAIN m.d AS text; CREATE TYPE m.c AS (x m.d);" + TABLE + "CREATE VIEW m.w AS SELECT '(1)'::m.c AS c",
        "CREATE DOMAIN m.d AS text CHECK (m.evil(1) > 0); CREATE TYPE m.c AS (x m.d)"),
    "a value of a type in a trigger": (
        "CREATE DOMAIN m.d AS text; CREATE TYPE m.c AS (x m.d);" + TABLE + "CREATE TRIGGER g BEFORE UPDATE ON m.a FOR"
        " EACH ROW WHEN (('(1)'::m.c).x IS NOT NULL) EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE DOMAIN m.d AS text CHECK (m.evil(1) > 0); CREATE TYPE m.c AS (x m.d)"),
}
REFUSED = {
    "a domain with a check of the same words": (
        F + "CREATE DOMAIN m.d AS int CHECK (m.f(VALUE) > 0); CREATE TABLE m.a (id int PRIMARY KEY, v m.d)",
        EVIL_F + "CREATE DOMAIN m.d AS int CHECK (m.f(VALUE) > 0)"),
    "a domain in a type": (
        "CREATE DOMAIN m.d AS text; CREATE TYPE m.c AS (x m.d); CREATE TABLE m.a (id int PRIMARY KEY, v m.c)",
        "CREATE DOMAIN m.d AS text CHECK (m.evil(1) > 0); CREATE TYPE m.c AS (x m.d)"),
    "a domain in a type that is not there": (
        "CREATE DOMAIN m.d AS text; CREATE TYPE m.c AS (x m.d); CREATE TABLE m.a (id int PRIMARY KEY, v m.c)",
        "CREATE DOMAIN m.d AS text CHECK (m.evil(1) > 0)"),
    "the key of a partitioned table": (
        F_OF_COLUMN + "CREATE TABLE m.a (id int, v int) PARTITION BY LIST ((m.f(v)));"
        "CREATE TABLE m.p PARTITION OF m.a DEFAULT",
        EVIL_F),
}


def meeting(pair, here, there, value="1"):
    """It copies what is made here into a database where somebody made that there."""
    hostile = HostileDatabase(pair.mirror.into.cluster, pair.mirror.into.database, traps=False)
    hostile.execute(EVIL + there)
    pair.execute(f"CREATE SCHEMA m; {here}; INSERT INTO m.a (id, v) VALUES (1, '{value}')")
    pair.mirror.start()
    return hostile


@pytest.mark.parametrize("name", NAMES)
def test_what_the_structure_would_meet(pair, name):
    into = pair.mirror.into
    hostile = meeting(pair, *NAMES[name])
    pair.mirror.wait_caught_up(pair.cluster)
    pair.execute("UPDATE m.a SET v = v; INSERT INTO m.a (id, v) SELECT 2, v FROM m.a; DELETE FROM m.a WHERE id = 1")
    pair.mirror.wait_caught_up(pair.cluster)
    assert into.execute("SELECT concat(id, ' ', v) FROM m.a") == [("2 1",)]
    assert "left out" in pair.mirror.log_text() and "somebody else has" in pair.mirror.log_text()
    pair.mirror.stop()
    assert hostile.trapped() == []


@pytest.mark.parametrize("name", REFUSED)
def test_types_that_the_structure_would_meet(pair, name):
    into = pair.mirror.into
    hostile = meeting(pair, *REFUSED[name], value="(1)" if "m.c)" in REFUSED[name][0] else "1")
    pair.mirror.wait_status(lambda _: (pair.mirror.table("m.a") or {}).get("state") == "held")
    pair.mirror.stop()
    log = pair.mirror.log_text()
    assert "would run with the rights of the target's" in log and "OWNER TO" in log
    assert hostile.trapped() == []
    assert into.execute("SELECT to_regclass('m.a')::text") == [(None,)]


def test_a_type_of_a_column_that_is_not_published(pair):
    """It is made too, and each row runs its check."""
    if pair.cluster.version < 15:
        pytest.skip("lists of columns came with PostgreSQL 15")
    into = pair.mirror.into
    hostile = HostileDatabase(into.cluster, into.database, traps=False)
    hostile.execute(EVIL + "CREATE DOMAIN m.d AS int CHECK (m.evil(1) > 0)")
    pair.execute("CREATE SCHEMA m; CREATE DOMAIN m.d AS int;" + TABLE + "ALTER TABLE m.a ADD w m.d")
    pair.mirror.configure(tables=[{"table": "m.a", "columns": ["id", "v"]}])
    pair.mirror.start()
    state = "held", "streaming"
    pair.mirror.wait_status(lambda _: (pair.mirror.table("m.a") or {}).get("state") in state)
    pair.execute("INSERT INTO m.a VALUES (1, 1)")
    pair.mirror.wait_status(lambda _: (pair.mirror.table("m.a") or {}).get("state") == "held")
    pair.mirror.stop()
    assert "has code of others" in pair.mirror.log_text()
    assert hostile.trapped() == []


def test_another_domain_in_a_type(pair):
    """A superuser's, so nothing of it is code of others; yet not every value of the source's fits."""
    into = pair.mirror.into
    into.execute("CREATE SCHEMA m; CREATE DOMAIN m.d AS text CHECK (VALUE <> 'x'); CREATE TYPE m.c AS (x m.d)")
    pair.execute("CREATE SCHEMA m; CREATE DOMAIN m.d AS text; CREATE TYPE m.c AS (x m.d);"
                 "CREATE TABLE m.a (id int PRIMARY KEY, v m.c); INSERT INTO m.a VALUES (1, '(x)')")
    pair.mirror.start()
    pair.mirror.wait_status(lambda _: (pair.mirror.table("m.a") or {}).get("state") == "held")
    pair.mirror.stop()
    assert "the type m.c is another at the target" in pair.mirror.log_text()
    into.execute("DROP TYPE m.c; DROP DOMAIN m.d")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)


def test_owners_come_along_and_a_later_table_uses_what_is_theirs(pair):
    """What tailrace made for them earlier is not a stranger's to what comes of theirs."""
    into = pair.mirror.into
    source = HostileDatabase(pair.cluster, pair.name, traps=False)
    into.cluster.execute(f"CREATE ROLE {source.owner} LOGIN")
    pair.mirror.configure(schema={"owners": True})
    source.execute("DROP SCHEMA evil CASCADE; CREATE SCHEMA m;" + E_TYPE +
                   "CREATE DOMAIN m.short AS text CHECK (length(VALUE) < 9); CREATE TABLE m.t (id int PRIMARY KEY)")
    try:
        pair.mirror.start()
        pair.mirror.wait_caught_up(pair.cluster)
        pair.mirror.stop()
        source.execute("CREATE TABLE m.a (id int PRIMARY KEY, v m.e CHECK (v = '1'), s m.short,"
                       " CHECK (v::text <> 'x')); INSERT INTO m.a VALUES (1, '1', 's')")
        pair.mirror.start()
        pair.mirror.wait_status(lambda _: (pair.mirror.table("m.a") or {}).get("state") == "streaming")
        pair.mirror.wait_caught_up(pair.cluster)
        pair.mirror.stop()
        checks = "SELECT count(*) FROM pg_constraint WHERE contype = 'c' AND conrelid = 'm.a'::regclass"
        assert into.execute(checks) == [(2,)]
        assert "left out" not in pair.mirror.log_text()
    finally:
        pair.mirror.close()
        into.execute(f"DROP OWNED BY {source.owner} CASCADE")


DOMAIN_CHECK = "CREATE DOMAIN m.d AS int CHECK (m.evil(VALUE) > 0)"
LATER = {
    "a column": (DOMAIN_CHECK, "CREATE DOMAIN m.d AS int; ALTER TABLE m.a ADD w m.d DEFAULT 1"),
    "a column of an array": (DOMAIN_CHECK, "CREATE DOMAIN m.d AS int; ALTER TABLE m.a ADD w m.d[] DEFAULT '{1}'"),
    "another type": (DOMAIN_CHECK, "CREATE DOMAIN m.d AS int; ALTER TABLE m.a ALTER v TYPE m.d"),
    "a partition with a key": (EVIL_F, F_OF_COLUMN + "CREATE TABLE m.r1 PARTITION OF m.root FOR VALUES IN (1) PARTITION"
                               " BY LIST ((m.f(v))); CREATE TABLE m.r11 PARTITION OF m.r1 DEFAULT"),
    "a partition of a partition": (EVIL_F, F + "CREATE TABLE m.r1 PARTITION OF m.root FOR VALUES IN (1);"
                                   "ALTER TABLE m.r1 ADD CHECK (m.f(v) > 0)"),
}


@pytest.mark.parametrize("name", LATER)
def test_what_a_later_definition_would_meet(pair, name):
    there, later = LATER[name]
    into = pair.mirror.into
    hostile = HostileDatabase(into.cluster, into.database, traps=False)
    hostile.execute(EVIL + there)
    pair.execute("CREATE SCHEMA m;" + TABLE + "CREATE TABLE m.root (id int, v int) PARTITION BY LIST (id);"
                 "CREATE TABLE m.b (id int PRIMARY KEY); INSERT INTO m.a VALUES (1, 1)")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.execute(later + "; INSERT INTO m.a (id, v) VALUES (2, 2); INSERT INTO m.b VALUES (1)")
    if "partition" in name:
        pair.execute("INSERT INTO m.root VALUES (1, 1)")
    pair.mirror.wait_status(lambda _: into.execute("SELECT id FROM m.b") == [(1,)])
    if name != "a partition of a partition":
        held = "m.root" if "partition" in name else "m.a"
        pair.mirror.wait_status(lambda _: pair.mirror.table(held)["state"] == "held")
        assert "would run with the rights of the target's" in pair.mirror.table(held)["last_error"]
    pair.execute("INSERT INTO m.b VALUES (2)")
    pair.mirror.wait_status(lambda _: into.execute("SELECT id FROM m.b ORDER BY 1") == [(1,), (2,)])
    pair.mirror.stop()
    assert hostile.trapped() == []
