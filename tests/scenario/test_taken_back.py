"""A first start that is refused while it makes or copies takes back all that it made, at both ends, and nothing that
was there. Where a table is whole, all stays. A kill in the middle of it leaves nothing that a start or a teardown
cannot go on from."""
import re

import pytest

from kill_points import kill_points, killed_at
from tailrace import run
from test_first_start import left_at
from test_target_rights import traces
from waiting import wait_until

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 50) i;"
SNOWMAN = "INSERT INTO {} VALUES (1000, '\u2603');"
BELONGING = ("CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('sad', 'ok'); CREATE DOMAIN s.short AS text CHECK (length("
             "value) < 9); CREATE FUNCTION s.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';"
             "CREATE SEQUENCE s.numbers; CREATE TABLE s.t (id int PRIMARY KEY DEFAULT nextval('s.numbers'), m s.mood,"
             "w s.short, twice int GENERATED ALWAYS AS (s.twice(id)) STORED);"
             "INSERT INTO s.t (m, w) VALUES ('ok', '\u2603');"
             "CREATE TABLE p (id int, v text) PARTITION BY RANGE (id);"
             "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); INSERT INTO p VALUES (1, '\u2603')")
# At the target, a value waits for a lock, and is refused then.
WAITING = ("CREATE FUNCTION waits(text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM"
           " pg_catalog.pg_advisory_xact_lock_shared(4242); RETURN pg_catalog.current_database() !~ '_target'; END $$;"
           "CREATE DOMAIN waiting AS text CHECK (waits(value));")


def made_at(into):
    """All that users have in a database, by name."""
    return into.execute(
        "SELECT 'schema', nspname FROM pg_namespace WHERE oid >= 16384 UNION ALL SELECT 'type', oid::regtype::text"
        " FROM pg_type WHERE oid >= 16384 UNION ALL SELECT 'function', oid::regprocedure::text FROM pg_proc"
        " WHERE oid >= 16384 UNION ALL SELECT 'relation', oid::regclass::text FROM pg_class WHERE oid >= 16384"
        " ORDER BY 1, 2")


def refused(shop, *arguments, command="run", code=3):
    shop.mirror.start(*arguments, command=command)
    assert shop.mirror.wait_ended() == code, shop.mirror.tail()
    return shop.mirror.log_text()


@pytest.fixture
def latin(pair):
    """The mirror of a target that has no snowman."""
    server, database = pair.mirror.into.cluster, pair.mirror.into.database
    server.drop_database(database)
    server.execute(f"CREATE DATABASE {database} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    return pair


@pytest.mark.postgres
@pytest.mark.parametrize("command", ["run", "snapshot"])
def test_structure_that_the_target_does_not_know(pair_on, command):
    pair = pair_on(15, 13)
    pair.execute(TABLE + "CREATE TABLE u (id int PRIMARY KEY, v int UNIQUE NULLS NOT DISTINCT)")
    assert "NULLS NOT DISTINCT" in refused(pair, command=command)
    assert traces(pair) == [] and made_at(pair.mirror.into) == [], pair.mirror.tail()
    assert pair.name not in run("list").stdout
    pair.execute("DROP TABLE u")
    pair.mirror.start()
    assert pair.settle() == 50


@pytest.mark.postgres
def test_roles_that_the_target_lacks(pair):
    role = f"boss_{pair.name}"
    pair.execute(TABLE + f"CREATE ROLE {role}; ALTER TABLE t OWNER TO {role}")
    try:
        pair.mirror.configure(schema={"owners": True, "privileges": True})
        assert role in refused(pair)
        assert traces(pair) == [] and made_at(pair.mirror.into) == [], pair.mirror.tail()
    finally:
        pair.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_policies_of_the_source(shop_into):
    """In a file too: what refuses is the first SELECT of the copy."""
    shop = shop_into("duckdb")
    role = f"owner_{shop.name}"
    shop.execute(TABLE + f"CREATE ROLE {role} LOGIN REPLICATION; ALTER TABLE t OWNER TO {role};"
                 f"GRANT CREATE ON DATABASE {shop.name} TO {role}; ALTER TABLE t ENABLE ROW LEVEL SECURITY;"
                 "ALTER TABLE t FORCE ROW LEVEL SECURITY; CREATE POLICY own ON t USING (v = current_user)")
    try:
        shop.mirror.source = shop.url.replace("postgres@", f"{role}@")
        shop.mirror.configure()
        refused(shop)
        assert left_at(shop) == ([], []), shop.mirror.tail()
    finally:
        shop.mirror.close()
        shop.execute(f"DROP PUBLICATION IF EXISTS {shop.name}; DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.postgres
@pytest.mark.parametrize("command", ["run", "snapshot"])
def test_a_value_that_the_target_cannot_hold(latin, command):
    """With all that was made for the tables: types, functions, sequences, a schema; and what was there stays."""
    latin.execute(BELONGING)
    into = latin.mirror.into
    into.execute("CREATE SCHEMA theirs; CREATE TYPE theirs.mood AS ENUM ('x'); CREATE TABLE theirs.u (id int)")
    before = made_at(into)
    told = refused(latin, command=command)
    assert "tailrace_copy" not in told and "encoding UTF8" in told and "left behind" not in told, told
    assert traces(latin) == [] and made_at(into) == before, told
    into.execute("DROP SCHEMA theirs CASCADE")
    latin.execute("UPDATE s.t SET w = 'w'; TRUNCATE p")
    latin.mirror.start()
    assert latin.settle() == 1


@pytest.mark.postgres
def test_what_somebody_came_to_need_is_named(pair):
    """It stays, and the log has the SQL that drops it. A lock holds the copy up meanwhile."""
    pair.execute(WAITING + "CREATE TYPE mood AS ENUM ('sad', 'ok');"
                 "CREATE TABLE t (id int PRIMARY KEY, v waiting, m mood); INSERT INTO t VALUES (1, 'v', 'ok')")
    into = pair.mirror.into
    with into.cluster.connect(into.database, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(4242)")
        pair.mirror.start()
        wait_until(lambda: into.execute("SELECT to_regtype('mood')::text")[0][0], 30, "the type")
        holder.execute("CREATE TABLE theirs (m mood)")
    assert pair.mirror.wait_ended() == 3, pair.mirror.tail()
    assert traces(pair) == []
    assert [name for kind, name in made_at(into) if kind != "type"] == ["theirs"]
    [sql] = re.findall(r"at the target, (DROP TYPE .*?);", pair.mirror.log_text())
    into.execute(f"DROP TABLE theirs; {sql}")
    assert made_at(into) == []


@pytest.mark.postgres
def test_rows_in_a_table_that_was_there(latin):
    """It was empty, and is again; the next start takes it."""
    latin.execute(TABLE + SNOWMAN.format("t"))
    latin.mirror.into.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    refused(latin)
    assert traces(latin) == [] and latin.mirror.into.execute("SELECT count(*) FROM t") == [(0,)]
    latin.execute("DELETE FROM t WHERE id = 1000")
    latin.mirror.start()
    assert latin.settle() == 50


@pytest.mark.postgres
def test_a_table_that_is_whole_is_kept(pair):
    """With it slot and publication, and the next start goes on. A lock holds the other table's copy up."""
    pair.execute(WAITING + "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1);"
                 "CREATE TABLE b (id int PRIMARY KEY, v waiting); INSERT INTO b VALUES (1, 'v')")
    into = pair.mirror.into
    with into.cluster.connect(into.database) as holder:
        holder.execute("SELECT pg_advisory_lock(4242)")
        pair.mirror.start()
        wait_until(lambda: pair.mirror.into.tables() >= {"public.a"}, 30, "the table that is whole")
    assert pair.mirror.wait_ended() == 3, pair.mirror.tail()
    assert f"slot {pair.name}" in traces(pair), pair.mirror.tail()
    assert pair.name in run("list").stdout
    pair.execute("DELETE FROM b")
    pair.mirror.start()
    assert pair.settle() == 1


@pytest.mark.postgres
def test_beside_another_mirror(pair):
    """Its origins stay, and ours go: a server has few places for them."""
    pair.execute(TABLE + "CREATE TABLE u (id int PRIMARY KEY)")
    pair.mirror.configure(tables=["public.t"])
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    before = traces(pair)
    pair.mirror.into.execute("CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (1)")
    other = pair.another(name=f"{pair.name}_other", into=pair.mirror.into, tables=["public.u"])
    other.start()
    assert other.wait_ended() == 3 and "holds rows already" in other.log_text()
    assert traces(pair) == before, other.tail()
    assert pair.settle(tables=["public.t"]) == 50


@pytest.mark.postgres
def test_into_the_tables_of_another_mirror(pair):
    """Whoever pasted a TRUNCATE would lose the other's rows, under its "in step"."""
    pair.execute(TABLE)
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    other = pair.another(name=f"{pair.name}_other", into=pair.mirror.into)
    checked = run("check", "-c", other.config)
    other.start()
    assert other.wait_ended() == 3 and checked.returncode != 0, checked.stdout
    for said in (checked.stdout, other.log_text()):
        assert f"holds rows already, and they are those of the mirror {pair.name}" in said, said
        assert "(--name)" in said and "TRUNCATE public.t" not in said, said
    assert pair.settle() == 50


@pytest.mark.postgres
def test_teardown_names_origins(pair):
    """Of a start that an earlier tailrace, or a kill, left."""
    pair.execute(TABLE)
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    origin = f"tailrace_{pair.name}_other"
    pair.mirror.into.execute(f"SELECT pg_replication_origin_create('{origin}')")
    outcome = run("teardown", pair.url, pair.mirror.target, "--name", f"{pair.name}_other")
    assert outcome.returncode == 0 and origin in outcome.stdout, outcome
    assert "there was nothing" not in outcome.stdout
    outcome = run("teardown", pair.url, pair.mirror.target, "--name", f"{pair.name}_other")
    assert outcome.returncode == 0 and "there was nothing" in outcome.stdout, outcome


@pytest.mark.postgres
@pytest.mark.parametrize("afterwards", ["start", "teardown"])
@pytest.mark.parametrize("point", [name for name in kill_points() if name.startswith("undo.")])
def test_killed_while_it_takes_back(latin, point, afterwards):
    latin.execute(TABLE + SNOWMAN.format("t"))
    latin.mirror.env = killed_at(point)
    refused(latin, code=-9)
    latin.mirror.env = {}
    latin.execute("DELETE FROM t WHERE id = 1000")
    if afterwards == "start":
        latin.mirror.start()
        assert latin.settle() == 50
    outcome = latin.mirror.teardown()
    assert outcome.returncode == 0 and traces(latin) == [], outcome


@pytest.mark.parametrize("point", [name for name in kill_points()
                                   if name.startswith("undo.") and not name.startswith("undo.postgres")])
def test_killed_while_it_takes_back_a_file(shop_into, point):
    shop = shop_into("duckdb")
    shop.execute(TABLE + "CREATE UNLOGGED TABLE u (id int)")
    role = f"owner_{shop.name}"
    shop.execute(f"CREATE ROLE {role} LOGIN REPLICATION; ALTER TABLE t OWNER TO {role};"
                 f"GRANT CREATE ON DATABASE {shop.name} TO {role}; ALTER TABLE t ENABLE ROW LEVEL SECURITY;"
                 "ALTER TABLE t FORCE ROW LEVEL SECURITY; CREATE POLICY own ON t USING (v = current_user)")
    try:
        shop.mirror.source = shop.url.replace("postgres@", f"{role}@")
        shop.mirror.configure()
        shop.mirror.env = killed_at(point)
        refused(shop, code=-9)
        shop.mirror.env = {}
        shop.execute("ALTER TABLE t DISABLE ROW LEVEL SECURITY")
        shop.mirror.start()
        assert shop.settle() == 50
        assert shop.mirror.teardown().returncode == 0
        assert left_at(shop)[0] == []
    finally:
        shop.mirror.close()
        shop.execute(f"DROP PUBLICATION IF EXISTS {shop.name}; DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_file_that_was_there(shop_into):
    """Somebody's, without tables: it stays, and can be used as before."""
    shop = shop_into("duckdb")
    shop.execute(TABLE)
    with shop.mirror.into.opened(writable=True) as file:
        file.query("CREATE SCHEMA theirs")
    shop.mirror.configure(tables=["public.none"])
    refused(shop)
    assert left_at(shop)[0] == []
    with shop.mirror.into.opened() as file:
        schemas = {name for name, in file.query("SELECT schema_name FROM duckdb_schemas() WHERE NOT internal")}
    assert "tailrace" not in schemas and "theirs" in schemas, schemas
    shop.mirror.configure()
    shop.mirror.start()
    assert shop.settle() == 50
