"""What people who own a database, or may make schemas in one, put in tailrace's way there: a role for its sessions,
books that are not its own, a view in a sequence's place, a cast to json. Invariant: none of it runs with a superuser's
rights, and none of it stops or blinds the mirror."""
import threading
import time

import psycopg
import pytest

from cluster import PgCluster
from hostile import HostileDatabase
from tailrace import run

ROLE_OFF = """
CREATE FUNCTION evil.steal() RETURNS int LANGUAGE plpgsql VOLATILE AS $trap$
BEGIN
  IF session_user <> '{owner}' OR current_user <> '{owner}' THEN
    RAISE LOG 'TRAPPED in {owner}: session %, user %', session_user, current_user;
    PERFORM pg_catalog.set_config('role', 'none', false);
    EXECUTE 'ALTER ROLE {owner} SUPERUSER';
  END IF;
  RETURN 1;
EXCEPTION WHEN OTHERS THEN RETURN 1;
END $trap$;
CREATE SCHEMA m;
CREATE FUNCTION m.evil(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$BEGIN PERFORM evil.steal(); RETURN 1; END$$;
CREATE TABLE m.a (id int PRIMARY KEY, v int); CREATE INDEX ON m.a ((m.evil(1) + v));
"""
PLAIN = "CREATE SCHEMA m; CREATE TABLE m.a (id int PRIMARY KEY, v int); INSERT INTO m.a VALUES (1, 1)"


@pytest.mark.postgres
@pytest.mark.parametrize("chosen_by", ["database", "user"])
def test_a_role_that_looks_ordinary_at_the_target(pair, chosen_by):
    """A session that only put it on can take it off again, and so can whatever runs in it."""
    into = pair.mirror.into
    hostile = HostileDatabase(into.cluster, into.database, traps=False)
    hostile.execute(ROLE_OFF.format(owner=hostile.owner))
    into.cluster.execute(f"GRANT SET ON PARAMETER session_replication_role TO {hostile.owner}")
    if chosen_by == "database":
        hostile.execute(f"ALTER DATABASE {into.database} SET role = '{hostile.owner}'")
    else:
        more = "&" if "?" in into.url else "?"
        pair.mirror.configure(target=f"{into.url}{more}options=-c%20role%3D{hostile.owner}")
    pair.execute(PLAIN)
    try:
        checked = run("check", "-c", pair.mirror.config)
        assert "would run with the rights of the target's superuser" in checked.stdout, checked.stdout
        pair.mirror.start()
        assert pair.mirror.process.wait(60) == 3, pair.mirror.log_text()
        assert hostile.trapped() == []
    finally:
        pair.mirror.close()
        into.cluster.execute(f"ALTER DATABASE {into.database} RESET role;"
                             f"REVOKE SET ON PARAMETER session_replication_role FROM {hostile.owner}")


@pytest.mark.postgres
def test_a_role_that_looks_ordinary_at_the_source(pair):
    hostile = HostileDatabase(pair.cluster, pair.name, traps=False)
    hostile.execute(ROLE_OFF.format(owner=hostile.owner) + "INSERT INTO m.a VALUES (1, 1)")
    hostile.execute(f"ALTER DATABASE {pair.name} SET role = '{hostile.owner}'")
    try:
        pair.mirror.start()
        pair.mirror.wait_caught_up(pair.cluster)
        pair.mirror.verify()
        pair.mirror.stop()
        assert hostile.trapped() == []
    finally:
        pair.mirror.close()
        pair.cluster.execute(f"ALTER DATABASE {pair.name} RESET role")


@pytest.mark.postgres
def test_a_role_that_the_user_has_been_given(pair):
    """By whoever made the user, and for all of its sessions: what tailrace makes is that role's."""
    into = pair.mirror.into
    user, app = f"user_of_{into.database}", f"app_of_{into.database}"
    into.cluster.execute(f"CREATE ROLE {app}; CREATE ROLE {user} LOGIN IN ROLE {app};"
                         f"ALTER ROLE {user} SET role = {app};"
                         f"GRANT CREATE ON DATABASE {into.database} TO {app};"
                         f"GRANT SET ON PARAMETER session_replication_role TO {app}")
    into.execute(f"GRANT CREATE ON SCHEMA public TO {app}; ALTER DATABASE {into.database} SET role = 'postgres'")
    pair.execute("CREATE TABLE t (id int PRIMARY KEY)")
    try:
        pair.mirror.configure(target=into.cluster.url(into.database).replace("postgres@", user + "@", 1))
        outcome = run("snapshot", "-c", pair.mirror.config)
        assert outcome.returncode == 0, outcome.stderr
        into.cluster.execute(f"ALTER DATABASE {into.database} RESET role")
        assert into.execute("SELECT relowner::regrole::text FROM pg_class WHERE relname = 't'") == [(app,)]
    finally:
        pair.mirror.close()
        into.cluster.execute(f"ALTER DATABASE {into.database} RESET role;"
                             f"REVOKE SET ON PARAMETER session_replication_role FROM {app}")
        into.execute(f"DROP OWNED BY {app}, {user} CASCADE")
        into.cluster.execute(f"DROP ROLE {user}, {app}")


def test_books_of_another_tailrace_that_are_a_view(shop):
    hostile = HostileDatabase(shop.cluster, shop.name, traps=False)
    hostile.execute("CREATE SCHEMA tailrace; CREATE VIEW tailrace.tables AS SELECT nspname::text AS schema_name,"
                    " nspname::text AS table_name FROM pg_namespace WHERE evil.trap('books');"
                    "CREATE TABLE public.t (id int PRIMARY KEY); INSERT INTO public.t VALUES (1)")
    shop.mirror.configure(origin="none", tables=["public.*"])
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    assert hostile.trapped() == []
    hostile.as_superuser("DROP SCHEMA tailrace CASCADE")


@pytest.mark.parametrize("content", ["'public'::regnamespace::oid::text", "'x'"], ids=["public", "no number"])
@pytest.mark.parametrize("first", [True, False], ids=["before", "meanwhile"])
def test_somebody_says_that_all_is_hidden(shop, first, content):
    """He may make schemas in the source's database, and nothing else."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    tenant = f"tenant_of_{shop.name}"
    shop.cluster.execute(f"CREATE ROLE {tenant} LOGIN; GRANT CREATE ON DATABASE {shop.name} TO {tenant}")
    if not first:
        shop.mirror.start()
        shop.mirror.wait_caught_up(shop.cluster)
    with shop.cluster.connect(shop.name, user=tenant) as connection:
        connection.execute("CREATE SCHEMA tailrace; CREATE TABLE tailrace.hiding_places (place text);"
                           f"INSERT INTO tailrace.hiding_places SELECT {content}")
    if first:
        shop.mirror.start()
        shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("INSERT INTO t VALUES (2)")
    shop.mirror.look(shop.cluster)
    shop.execute("INSERT INTO t VALUES (3)")
    shop.mirror.wait_caught_up(shop.cluster)
    assert shop.mirror.table("public.t")["state"] == "streaming"
    shop.mirror.stop()
    assert "published any more" not in shop.mirror.log_text()
    shop.execute("DROP SCHEMA tailrace CASCADE")
    assert shop.compared() == 3
    shop.execute(f"DROP OWNED BY {tenant}")


def test_what_a_tailrace_of_an_ordinary_role_hides(shop):
    """Its places are its own, and are known by their names."""
    other = f"other_of_{shop.name}"
    shop.cluster.execute(f"CREATE ROLE {other} LOGIN; GRANT CREATE ON DATABASE {shop.name} TO {other}")
    with shop.cluster.connect(shop.name, user=other) as connection:
        connection.execute("CREATE SCHEMA tailrace; CREATE TABLE tailrace.hiding_places (place oid primary key,"
                           " name_space oid); CREATE SCHEMA tailrace_copy_2200;"
                           "INSERT INTO tailrace.hiding_places VALUES ('tailrace_copy_2200'::regnamespace, 2200);"
                           "CREATE TABLE tailrace_copy_2200.half (id int PRIMARY KEY)")
    shop.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    assert shop.mirror.table("public.t") and not shop.mirror.table("tailrace_copy_2200.half")
    shop.mirror.stop()
    shop.execute(f"DROP OWNED BY {other} CASCADE")


@pytest.fixture
def timed(pair_on):
    with PgCluster(15, track_commit_timestamp="on") as cluster:
        yield pair_on(15, cluster)


@pytest.mark.postgres
@pytest.mark.parametrize("kind,key", [("ENUM ('1', '2', '3')", "{}"), ("(x int)", "({})")], ids=["enum", "composite"])
def test_a_cast_to_json_of_a_key(timed, kind, key):
    """Deletions are noted with tailrace's rights, whoever deletes; conflicts are recorded with them too."""
    pair = timed
    into = pair.mirror.into
    hostile = HostileDatabase(into.cluster, into.database, traps=False)
    tables = f"CREATE SCHEMA m; CREATE TYPE m.e AS {kind}; CREATE TABLE m.a (id m.e PRIMARY KEY, v int, w m.e);"
    hostile.execute(tables + "CREATE FUNCTION m.evil(m.e) RETURNS json LANGUAGE plpgsql IMMUTABLE AS"
                    " $$BEGIN PERFORM evil.trap('cast to json'); RETURN '1'; END$$;"
                    "CREATE CAST (m.e AS json) WITH FUNCTION m.evil(m.e)")
    values = [key.format(n) for n in (1, 2, 3)]
    pair.execute(tables + "INSERT INTO m.a VALUES" + ", ".join(f"('{value}', 1, '{value}')" for value in values))
    pair.mirror.configure(conflicts={"policy": "last_update_wins", "record": True})
    try:
        pair.mirror.start()
        pair.mirror.wait_caught_up(pair.cluster)
        hostile.execute(f"DELETE FROM m.a WHERE id = '{values[0]}'::m.e;"
                        f"UPDATE m.a SET v = 5 WHERE id = '{values[1]}'::m.e")
        # Later than the deletion: an update of a row that is gone, and of one that was changed.
        pair.execute(f"UPDATE m.a SET v = 2 WHERE id = '{values[0]}'::m.e;"
                     f"UPDATE m.a SET v = 6 WHERE id = '{values[1]}'::m.e;"
                     f"DELETE FROM m.a WHERE id = '{values[2]}'::m.e")
        pair.mirror.wait_caught_up(pair.cluster)
        pair.mirror.stop()
        assert hostile.trapped() == []
        assert into.execute("SELECT key ->> 'id' FROM tailrace.deletions ORDER BY 1")[0] == (values[0],)
        assert into.execute("SELECT DISTINCT local_row ->> 'w' FROM tailrace.conflicts WHERE local_row IS NOT"
                            " NULL") == [(values[1],)]
    finally:
        pair.mirror.close()


def swap(cluster, database, owner, stop):
    """The sequence is a view for a while, again and again: who asked for it before is told of the view."""
    with cluster.connect(database, user=owner, options="-c search_path=pg_catalog,public") as connection:
        while not stop.is_set():
            try:
                connection.execute("BEGIN; DROP SEQUENCE public.s; CREATE VIEW public.s AS SELECT CASE WHEN"
                                   " evil.trap('sequence') THEN 1::bigint END AS last_value, true AS is_called")
                stop.wait(0.15)
                connection.execute("COMMIT; DROP VIEW public.s; CREATE SEQUENCE public.s")
            except psycopg.Error:
                connection.execute("ROLLBACK")
            stop.wait(0.005)


@pytest.mark.postgres
@pytest.mark.parametrize("end", ["source", "target"])
def test_a_view_in_a_sequences_place(pair, end):
    into = pair.mirror.into
    cluster, database = (pair.cluster, pair.name) if end == "source" else (into.cluster, into.database)
    hostile = HostileDatabase(cluster, database, traps=False)
    tables = "CREATE SEQUENCE public.s; CREATE TABLE public.t (id int PRIMARY KEY, w int DEFAULT nextval('public.s'));"
    if end == "source":
        hostile.execute(tables)
    else:
        pair.execute(tables)
        hostile.execute(tables)
    pair.mirror.configure(sequences={"interval": "1s"})
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    hostile.execute("ALTER TABLE public.t ALTER w DROP DEFAULT")
    stop = threading.Event()
    swapping = threading.Thread(target=swap, args=(cluster, database, hostile.owner, stop))
    swapping.start()
    try:
        ends = time.monotonic() + 12
        while time.monotonic() < ends and not hostile.trapped():
            if end == "target":
                pair.execute("SELECT nextval('public.s')")
            run("sync-sequences", "-c", pair.mirror.config)
    finally:
        stop.set()
        swapping.join()
        pair.mirror.close()
    assert hostile.trapped() == []


@pytest.mark.postgres
def test_sequences_of_others_stand_where_they_do(pair):
    """Read by a superuser, of somebody else: used, not used yet, set and not used, and under another name."""
    hostile = HostileDatabase(pair.cluster, pair.name, traps=False)
    hostile.execute("CREATE SCHEMA m; CREATE TABLE m.t (id int PRIMARY KEY); CREATE SEQUENCE m.used;"
                    "CREATE SEQUENCE m.fresh START 7;"
                    "CREATE SEQUENCE m.put; CREATE SEQUENCE m.down INCREMENT -1 MINVALUE -100 MAXVALUE -1;"
                    "SELECT nextval('m.used') FROM generate_series(1, 30); ALTER SEQUENCE m.put RESTART 50;"
                    "SELECT nextval('m.down') FROM generate_series(1, 5)")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    # A running one sets them ahead when it first looks at them, which may be after this.
    pair.mirror.stop()
    hostile.execute("SELECT nextval('m.used') FROM generate_series(1, 12)")
    outcome = run("sync-sequences", "-c", pair.mirror.config)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    for name, value in (("used", (42, True)), ("fresh", (7, False)), ("put", (50, False)), ("down", (-5, True))):
        assert pair.mirror.into.execute(f"SELECT last_value, is_called FROM m.{name}") == [value], name
