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
