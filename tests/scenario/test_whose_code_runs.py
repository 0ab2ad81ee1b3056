"""`schema: copy` by a superuser from a schema whose owner is none. Invariant: nothing that comes from there runs with
more rights than its owner had, or is more open than it was; and what calls nothing of his is made as it was."""
import psycopg
import pytest

from hostile import TRAP, HostileDatabase
from structure import compare_structure
from tailrace import run

pytestmark = pytest.mark.postgres

TRAPS = """
CREATE FUNCTION public.t_bool(anyelement) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
  $$BEGIN RETURN evil.trap('t_bool'); END$$;
CREATE FUNCTION public.t_int(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
  $$BEGIN PERFORM evil.trap('t_int'); RETURN $1; END$$;
CREATE FUNCTION public.t_trigger() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN PERFORM evil.trap('trigger ' || TG_NAME); RETURN NEW; END$$;
CREATE FUNCTION public.t_diff(float8, float8) RETURNS float8 LANGUAGE plpgsql IMMUTABLE AS
  $$BEGIN PERFORM evil.trap('t_diff'); RETURN 1; END$$;
CREATE DOMAIN public.d AS int DEFAULT public.t_int(1) CHECK (public.t_bool(VALUE));
CREATE TYPE public.r AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = public.t_diff);
CREATE TABLE public.a (id int PRIMARY KEY, d public.d, r public.r, "left" int DEFAULT public.t_int(1),
  g int GENERATED ALWAYS AS (public.t_int(id)) STORED CHECK (g > 0), CHECK (public.t_bool(id)));
CREATE TABLE public.later (id int PRIMARY KEY); ALTER TABLE public.later ADD CHECK (public.t_bool(id)) NOT VALID;
CREATE INDEX ON public.a (public.t_int(id)); CREATE INDEX ON public.a (id) WHERE public.t_bool(id);
CREATE INDEX ON public.a USING gist (r);
CREATE TRIGGER always BEFORE INSERT OR UPDATE ON public.a FOR EACH ROW EXECUTE FUNCTION public.t_trigger();
CREATE TRIGGER replica BEFORE INSERT OR UPDATE ON public.a FOR EACH ROW EXECUTE FUNCTION public.t_trigger();
CREATE TRIGGER plain BEFORE INSERT OR UPDATE ON public.a FOR EACH ROW EXECUTE FUNCTION public.t_trigger();
ALTER TABLE public.a ENABLE ALWAYS TRIGGER always, ENABLE REPLICA TRIGGER replica;
CREATE TABLE public.ruled (id int PRIMARY KEY); CREATE TABLE public.log (v int);
CREATE RULE always AS ON INSERT TO public.ruled DO ALSO INSERT INTO public.log VALUES (public.t_int(NEW.id));
ALTER TABLE public.ruled ENABLE ALWAYS RULE always;
CREATE TABLE public.part (id int) PARTITION BY RANGE (id);
CREATE TABLE public.part_1 PARTITION OF public.part FOR VALUES FROM (0) TO (100);
ALTER TABLE public.part_1 ADD CHECK (public.t_bool(id));
CREATE TRIGGER of_parts BEFORE INSERT ON public.part FOR EACH ROW EXECUTE FUNCTION public.t_trigger();
ALTER TABLE public.part_1 ENABLE ALWAYS TRIGGER of_parts;
CREATE VIEW public.v AS SELECT public.t_int(id) AS x FROM public.a;
CREATE MATERIALIZED VIEW public.m AS SELECT public.t_int(id) AS x FROM public.later;
CREATE MATERIALIZED VIEW public.of_view AS SELECT x FROM public.v;
CREATE MATERIALIZED VIEW public.by_text AS SELECT query_to_xml('SELECT evil.trap(''by_text'')', true, true, '') AS x;
CREATE MATERIALIZED VIEW public.settings AS SELECT name FROM pg_catalog.pg_settings;
CREATE STATISTICS public.s ON public.t_int(id), id FROM public.a;
ALTER TABLE public.a ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON public.a USING (public.t_bool(id));
INSERT INTO public.a (id, d, r) SELECT i, i, '[1,2)' FROM generate_series(1, 5) i; INSERT INTO public.later VALUES (1);
INSERT INTO public.ruled VALUES (1); INSERT INTO public.part VALUES (1);
"""
CHANGES = """
INSERT INTO public.a (id, d, r) VALUES (6, 6, '[1,3)'); UPDATE public.a SET d = 7 WHERE id < 3;
INSERT INTO public.later VALUES (2); INSERT INTO public.ruled VALUES (2); INSERT INTO public.part VALUES (2);
INSERT INTO public.strong VALUES (1);
ALTER TABLE public.ruled ADD v int DEFAULT public.t_int(1); INSERT INTO public.ruled VALUES (3);
"""
# His code below a superuser's.
STRONGER = """
CREATE FUNCTION public.strong(int) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN public.t_bool($1);
CREATE TABLE public.strong (id int PRIMARY KEY CHECK (public.strong(id))); GRANT INSERT ON public.strong TO PUBLIC;
"""
HARMLESS = """
CREATE DOMAIN public.short AS text DEFAULT upper('x') CHECK (length(VALUE) < 10);
CREATE TABLE public.t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz DEFAULT now(), s public.short,
  no uuid DEFAULT gen_random_uuid(), n serial, twice int GENERATED ALWAYS AS (n * 2) STORED,
  CONSTRAINT lower CHECK (s = lower(s)), CHECK (at > '2000-01-01'::timestamptz - interval '1 day'));
CREATE INDEX ON public.t (lower(s), (n % 7)) WHERE n > 3; CREATE INDEX ON public.t ((at AT TIME ZONE 'UTC'));
CREATE STATISTICS public.st ON (lower(s)), n FROM public.t;
CREATE TABLE public.h (k text) PARTITION BY HASH (lower(k));
CREATE TABLE public.h0 PARTITION OF public.h FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.at := now(); RETURN NEW; END';
CREATE TRIGGER touch BEFORE UPDATE ON public.t FOR EACH ROW EXECUTE FUNCTION public.touch();
CREATE TRIGGER same BEFORE UPDATE ON public.t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
ALTER TABLE public.t ENABLE ALWAYS TRIGGER same;
CREATE VIEW public.v AS SELECT id, touched FROM (SELECT id, public.double(n) AS touched FROM public.t) x;
CREATE MATERIALIZED VIEW public.m AS SELECT count(*), sum(n), max(s), string_agg(s, ',') FROM public.t WHERE n <> 5;
CREATE RULE quiet AS ON DELETE TO public.h DO INSTEAD NOTHING;
INSERT INTO public.t (s) SELECT 's' || i FROM generate_series(1, 20) i; REFRESH MATERIALIZED VIEW public.m;
"""
CLOSED = """
CREATE FUNCTION public.secret() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user::text';
REVOKE EXECUTE ON FUNCTION public.secret() FROM PUBLIC;
CREATE FUNCTION public.open() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user::text';
CREATE PROCEDURE public.proc() LANGUAGE sql AS ''; REVOKE ALL ON PROCEDURE public.proc() FROM PUBLIC;
CREATE TYPE public.kind AS ENUM ('a'); REVOKE ALL ON TYPE public.kind FROM PUBLIC;
CREATE DOMAIN public.dom AS int; REVOKE ALL ON TYPE public.dom FROM PUBLIC;
CREATE SCHEMA app; CREATE SEQUENCE app.seq; CREATE TABLE app.t (id int PRIMARY KEY, k public.kind, d public.dom);
CREATE VIEW app.v AS SELECT * FROM app.t; CREATE MATERIALIZED VIEW app.m AS SELECT * FROM app.t;
CREATE TABLE public.t (id int PRIMARY KEY);
"""
OPEN = """
SELECT what FROM (
  SELECT 'relation ' || c.oid::regclass, relacl, relowner FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE nspname IN ('app', 'public')
  UNION ALL SELECT 'schema ' || nspname, nspacl, nspowner FROM pg_namespace WHERE nspname = 'app'
  UNION ALL SELECT 'function ' || oid::regprocedure, coalesce(proacl, acldefault('f', proowner)), proowner FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace
  UNION ALL SELECT 'type ' || oid::regtype, coalesce(typacl, acldefault('T', typowner)), typowner FROM pg_type
    WHERE typname IN ('kind', 'dom')) x (what, acl, owner),
  aclexplode(acl) a WHERE a.grantee <> owner ORDER BY 1"""


def hostile_pair(pair):
    """The source's database belongs to an ordinary role; at the target a role of its name waits for what it may get."""
    source = HostileDatabase(pair.cluster, pair.name, traps=False)
    into = pair.mirror.into
    into.cluster.execute(f"CREATE ROLE {source.owner} LOGIN")
    into.execute(TRAP.format(owner=source.owner) + "GRANT USAGE ON SCHEMA evil TO PUBLIC")
    return source


def trapped(pair, source):
    into = pair.mirror.into
    lines = [line for line in into.cluster.log_text().splitlines() if f"TRAPPED in {source.owner}" in line]
    powerful = into.cluster.value(f"SELECT rolsuper FROM pg_roles WHERE rolname = '{source.owner}'")
    return lines[:9] + (["the owner is superuser now"] if powerful else [])


@pytest.mark.parametrize("owners", [False, True], ids=["owned by postgres", "owners"])
def test_a_hostile_schema(pair, owners):
    """Every place where a server runs what a schema's owner wrote, when rows are written or things are made."""
    source = hostile_pair(pair)
    source.execute(TRAPS)
    source.as_superuser(STRONGER)
    pair.mirror.configure(schema={"mode": "copy", "owners": owners, "privileges": owners})
    into = pair.mirror.into
    try:
        pair.mirror.start()
        pair.mirror.wait_caught_up(pair.cluster)
        source.execute(CHANGES)
        pair.mirror.wait_caught_up(pair.cluster)
        pair.mirror.stop()
        into.execute("ANALYZE public.a, public.later, public.part")
        # With owners the server itself fills them as their owner. Else it would fill `settings` with what only a
        # superuser sees.
        assert into.execute("SELECT relname FROM pg_class WHERE relkind = 'm' AND relispopulated ORDER BY 1") == (
            [("by_text",), ("m",), ("of_view",), ("settings",)] if owners else [])
        assert trapped(pair, source) == []
        for rows in ("SELECT id, d FROM public.a ORDER BY id", "SELECT id, v FROM public.ruled ORDER BY id"):
            assert into.execute(rows) == source.execute(rows)
        assert len(into.execute("SELECT id FROM public.part")) == 2
        assert into.execute("SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal AND tgrelid ="
                            " 'public.a'::regclass ORDER BY 1") == [("always", "O"), ("plain", "O"), ("replica", "D")]
        for word in ("constraint", "index", "trigger always", "default value", "t_bool", "schema.trust_source"):
            assert word in pair.mirror.log_text(), word
    finally:
        pair.mirror.close()
        if owners:
            into.execute(f"DROP OWNED BY {source.owner} CASCADE")


def test_a_partition_key_is_refused(pair):
    """The table cannot be made without it, and each row would run it."""
    source = hostile_pair(pair)
    source.execute("CREATE FUNCTION public.t_int(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS"
                   " $$BEGIN PERFORM evil.trap('partition key'); RETURN $1; END$$;"
                   "CREATE TABLE public.t (id int) PARTITION BY RANGE (public.t_int(id));"
                   "CREATE TABLE public.t1 PARTITION OF public.t FOR VALUES FROM (0) TO (100);"
                   "INSERT INTO public.t VALUES (1)")
    pair.mirror.start()
    assert pair.mirror.wait_ended() == 3, pair.mirror.tail()
    assert "partition key of table" in pair.mirror.log_text() and "schema.trust_source" in pair.mirror.log_text()
    assert trapped(pair, source) == [] and pair.mirror.into.tables() == set()


def test_trust_source_makes_all_of_it(pair):
    source = hostile_pair(pair)
    source.execute(TRAPS)
    pair.mirror.configure(schema={"mode": "copy", "trust_source": True})
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.stop()
    assert trapped(pair, source), "as it was asked for"


def test_what_calls_nothing_of_users_loses_nothing(pair):
    source = hostile_pair(pair)
    source.execute("CREATE FUNCTION public.double(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';"
                   + HARMLESS)
    source.as_superuser("DROP SCHEMA evil CASCADE")
    pair.mirror.into.execute("DROP SCHEMA evil CASCADE")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.stop()
    compare_structure(pair.cluster, pair.name, pair.mirror.into.cluster, pair.mirror.into.database)
    assert "left out" not in pair.mirror.log_text()


@pytest.mark.parametrize("default_privileges", [False, True], ids=["", "default privileges"])
def test_nothing_is_more_open_than_at_the_source(pair, default_privileges):
    """A function's owner took it from PUBLIC; the target's default privileges would give everything to everybody."""
    source = hostile_pair(pair)
    source.execute(CLOSED)
    into = pair.mirror.into
    if default_privileges:
        into.execute("ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC;" + "".join(
            f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO PUBLIC, {source.owner};"
            for kind in ("TABLES", "SEQUENCES", "FUNCTIONS", "TYPES")))
    outcome = run("snapshot", "-c", pair.mirror.config)
    assert outcome.returncode == 0, outcome.stderr
    wanted = source.as_superuser(OPEN)
    assert into.execute(OPEN) == wanted == [("function open()",)]
    # What belongs to the target's superuser now lends nobody his rights.
    with into.cluster.connect(into.database, user=source.owner) as connection:
        assert connection.execute("SELECT public.open()").fetchone() == (source.owner,)


def test_grants_on_views_need_their_owners(pair):
    """A view reads with its owner's rights, and that is the target's user here."""
    source = hostile_pair(pair)
    source.execute("CREATE TABLE public.t (id int PRIMARY KEY); CREATE VIEW public.hashes AS SELECT rolpassword FROM"
                   f" pg_catalog.pg_authid; GRANT SELECT ON public.hashes, public.t TO {source.owner}, pg_monitor")
    pair.mirror.configure(schema={"mode": "copy", "privileges": True})
    outcome = run("snapshot", "-c", pair.mirror.config)
    assert outcome.returncode == 0, outcome.stderr
    assert pair.mirror.into.execute(
        "SELECT relname, pg_catalog.has_table_privilege('pg_monitor', oid, 'SELECT') FROM pg_class"
        " WHERE relname IN ('t', 'hashes') ORDER BY 1") == [("hashes", False), ("t", True)]


RULED = """
CREATE TABLE public.t (id int PRIMARY KEY); CREATE TABLE public.log (id int); CREATE TABLE public.v_base (id int);
CREATE VIEW public.v AS SELECT id FROM public.v_base;
CREATE RULE log AS ON INSERT TO public.t DO ALSO INSERT INTO public.log VALUES (NEW.id);
CREATE RULE lends AS ON INSERT TO public.t DO ALSO UPDATE pg_catalog.pg_authid SET rolsuper = true
  WHERE rolname = '{mate}';
CREATE RULE reads AS ON INSERT TO public.t DO ALSO INSERT INTO public.log SELECT id FROM public.of_postgres;
CREATE RULE views AS ON UPDATE TO public.t DO ALSO INSERT INTO public.log SELECT id FROM public.v;
GRANT ALL ON public.t, public.log TO {mate};
"""


@pytest.mark.parametrize("how", ["", "owners", "trust_source"])
def test_rules_lend_the_rights_of_their_tables_owner(pair, how):
    """Whoever has the copied grant on the table has them run."""
    source = hostile_pair(pair)
    into = pair.mirror.into
    mate = f"mate_of_{source.owner}"
    for cluster in (pair.cluster, into.cluster):
        cluster.execute(f"CREATE ROLE {mate} LOGIN")
    pair.execute("CREATE TABLE public.of_postgres (id int PRIMARY KEY); INSERT INTO public.of_postgres VALUES (7);"
                 "GRANT USAGE, CREATE ON SCHEMA public TO PUBLIC")
    source.execute(RULED.format(mate=mate))
    pair.mirror.configure(schema={"privileges": True, **({how: True} if how else {})})
    try:
        outcome = run("snapshot", "-c", pair.mirror.config)
        assert outcome.returncode == 0, outcome.stderr
        rules = into.execute("SELECT rulename FROM pg_rules WHERE schemaname = 'public' ORDER BY 1")
        assert rules == ([(name,) for name in ("lends", "log", "reads", "views")] if how else [("log",)])
        assert ("rule lends of public.t of " + source.owner in outcome.stderr) == (not how), outcome.stderr
        if how == "trust_source":
            return
        with into.cluster.connect(into.database, user=mate) as connection:
            if how == "owners":
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute("INSERT INTO public.t VALUES (1)")
            else:
                connection.execute("INSERT INTO public.t VALUES (1)")
                assert connection.execute("SELECT id FROM public.log").fetchall() == [(1,)]
        assert into.execute(f"SELECT rolsuper FROM pg_roles WHERE rolname = '{mate}'") == [(False,)]
    finally:
        pair.mirror.close()
        into.execute(f"DROP OWNED BY {mate}; DROP OWNED BY {source.owner} CASCADE")


@pytest.mark.parametrize("recopied", [False, True], ids=["a partition with rows", "recopy"])
def test_a_table_is_emptied_without_its_triggers(pair, recopied):
    """They are made as ordinary ones. A TRUNCATE of ours is not one of the source's, and fires none."""
    source = hostile_pair(pair)
    source.execute("""
        CREATE FUNCTION public.t_trigger() RETURNS trigger LANGUAGE plpgsql AS
          $$BEGIN PERFORM evil.trap('trigger ' || TG_NAME); RETURN NULL; END$$;
        CREATE TABLE public.part (id int) PARTITION BY RANGE (id);
        CREATE TABLE public.rest PARTITION OF public.part DEFAULT;
        CREATE TRIGGER emptied BEFORE TRUNCATE ON public.part EXECUTE FUNCTION public.t_trigger();
        CREATE TRIGGER emptied BEFORE TRUNCATE ON public.rest EXECUTE FUNCTION public.t_trigger();
        CREATE TRIGGER deleted BEFORE DELETE ON public.part FOR EACH ROW EXECUTE FUNCTION public.t_trigger();
        INSERT INTO public.part VALUES (1), (2)""")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    if recopied:
        pair.mirror.stop()
        pair.mirror.start("--recopy", "public.part")
        pair.mirror.wait_caught_up(pair.cluster)
        assert trapped(pair, source) == []
    source.execute("CREATE TABLE public.more (id int); INSERT INTO public.more VALUES (101);"
                   "CREATE TRIGGER emptied BEFORE TRUNCATE ON public.more EXECUTE FUNCTION public.t_trigger();"
                   "ALTER TABLE public.part ATTACH PARTITION public.more FOR VALUES FROM (100) TO (200)")
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.look(pair.cluster)
    pair.mirror.stop()
    assert trapped(pair, source) == []
    assert len(pair.mirror.into.execute("SELECT id FROM public.part")) == 3


# Each gives a table of his own code that runs when somebody reads it, writes to it, or copies into it.
GIVES = {
    "statistics": "CREATE STATISTICS m.s ON (m.evil(1) + v), id FROM m.a",
    "index": "CREATE INDEX ON m.a ((m.evil(1) + v))",
    "operator": "CREATE OPERATOR m.&&& (LEFTARG = int, RIGHTARG = int, FUNCTION = m.evil2); CREATE INDEX ON m.a"
                " ((1 OPERATOR(m.&&&) 2), v)",
    "check": "ALTER TABLE m.a ADD CHECK (m.evil(v) > 0)",
    "trigger": "CREATE TRIGGER g BEFORE INSERT ON m.a FOR EACH ROW EXECUTE FUNCTION m.evil_trigger(); ALTER TABLE m.a"
               " ENABLE ALWAYS TRIGGER g",
    "domain": "CREATE DOMAIN m.d AS int CHECK (m.evil(VALUE) > 0); ALTER TABLE m.a ALTER v TYPE m.d",
    "domain of a domain": "CREATE DOMAIN m.d AS int CHECK (m.evil(VALUE) > 0); CREATE DOMAIN m.e AS m.d;"
                          " ALTER TABLE m.a ALTER v TYPE m.e",
    "partition": "DROP TABLE m.a; CREATE TABLE m.a (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);"
                 " CREATE TABLE m.a1 PARTITION OF m.a DEFAULT; ALTER TABLE m.a1 ADD CHECK (m.evil(v) > 0)",
    "default": "ALTER TABLE m.a ADD w int DEFAULT m.evil(1)",
    "generated": "ALTER TABLE m.a ADD w int GENERATED ALWAYS AS (m.evil(v)) STORED",
    "parsed body": "CREATE FUNCTION m.calls(int) RETURNS int LANGUAGE sql IMMUTABLE RETURN m.evil($1);"
                   " ALTER TABLE m.a ADD CHECK (m.calls(v) > 0)",
}


@pytest.mark.parametrize("gift", GIVES)
def test_code_of_a_table_that_the_target_has(pair, gift):
    """Its owner owns the database, and wants to be superuser."""
    into = pair.mirror.into
    hostile = HostileDatabase(into.cluster, into.database, traps=False)
    hostile.execute("CREATE SCHEMA m; CREATE TABLE m.a (id int PRIMARY KEY, v int);"
                    "CREATE FUNCTION m.evil(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS"
                    " $$BEGIN PERFORM evil.trap('evil'); RETURN 1; END$$;"
                    "CREATE FUNCTION m.evil2(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT m.evil($1)';"
                    "CREATE FUNCTION m.evil_trigger() RETURNS trigger LANGUAGE plpgsql AS"
                    " $$BEGIN PERFORM evil.trap('trigger'); RETURN NEW; END$$;" + GIVES[gift])
    pair.execute("CREATE SCHEMA m; CREATE TABLE m.a (id int PRIMARY KEY, v int); INSERT INTO m.a VALUES (1, 1)")
    try:
        checked = run("check", "-c", pair.mirror.config)
        assert checked.returncode == 1 and "code of the target's tables" in checked.stdout, checked.stdout
        pair.mirror.start()
        assert pair.mirror.process.wait(60) == 3
        assert hostile.trapped() == []
        assert "schema.trust_source" in pair.mirror.log_text()
        pair.mirror.configure(schema={"trust_source": True})
        pair.mirror.start()
        pair.mirror.wait_caught_up(pair.cluster)
        pair.mirror.stop()
        assert hostile.trapped(), "as it was asked for"
    finally:
        pair.mirror.close()


def test_a_table_gets_code_between_two_runs(pair):
    into = pair.mirror.into
    hostile = HostileDatabase(into.cluster, into.database, traps=False)
    hostile.execute("CREATE SCHEMA m; CREATE TABLE m.a (id int PRIMARY KEY, v int)")
    pair.execute("CREATE SCHEMA m; CREATE TABLE m.a (id int PRIMARY KEY, v int); INSERT INTO m.a VALUES (1, 1)")
    checked = run("check", "-c", pair.mirror.config)
    assert checked.returncode == 0 and f"{hostile.owner}, who own such tables" in checked.stdout, checked.stdout
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.stop()
    hostile.execute("CREATE FUNCTION m.evil(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS"
                    " $$BEGIN PERFORM evil.trap('evil'); RETURN 1; END$$;" + GIVES["statistics"])
    pair.execute("UPDATE m.a SET v = 2; CREATE TABLE m.b (id int PRIMARY KEY); INSERT INTO m.b VALUES (1)")
    pair.mirror.start()
    pair.mirror.wait_status(lambda _: (pair.mirror.table("m.a") or {}).get("state") == "held")
    pair.mirror.wait_status(lambda _: (pair.mirror.table("m.b") or {}).get("state") == "streaming")
    assert pair.mirror.verify().returncode == 1
    pair.mirror.stop()
    assert hostile.trapped() == []


def test_a_superuser_who_is_none_at_the_target(pair):
    """With owners he has there what he made, and could give it other code."""
    role = f"boss_{pair.name}"
    into = pair.mirror.into
    pair.execute(f"CREATE ROLE {role} SUPERUSER; SET ROLE {role}; CREATE TABLE public.t (id int PRIMARY KEY);"
                 "CREATE FUNCTION public.f(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 0';"
                 "ALTER TABLE public.t ADD CONSTRAINT runs CHECK (public.f(id)); INSERT INTO public.t VALUES (1)")
    into.execute(f"CREATE ROLE {role}")
    pair.mirror.configure(schema={"owners": True})
    try:
        pair.mirror.start()
        pair.mirror.wait_caught_up(pair.cluster)
        pair.mirror.stop()
        assert into.execute("SELECT relowner::regrole::text, (SELECT count(*) FROM pg_constraint WHERE conrelid = c.oid"
                            " AND contype = 'c') FROM pg_class c WHERE relname = 't'") == [(role, 0)]
        assert "constraint runs on table" in pair.mirror.log_text()
    finally:
        pair.mirror.close()
        for side in (pair, into):
            side.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


STRONG = """
CREATE FUNCTION public.evil() RETURNS int LANGUAGE plpgsql AS $$BEGIN
  IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN EXECUTE 'CREATE ROLE {made}'; END IF;
  RETURN 1; END$$;
CREATE FUNCTION public.lends() RETURNS name LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user';
CREATE TABLE public.t (id int PRIMARY KEY); INSERT INTO public.t VALUES (1);
CREATE MATERIALIZED VIEW public.m AS SELECT public.evil() AS x;
CREATE VIEW public.v AS SELECT pg_catalog.count(*) FROM public.t; GRANT SELECT ON public.v TO pg_monitor;
"""


@pytest.mark.parametrize("right", ["SUPERUSER", "CREATEROLE", "member"])
def test_an_owner_who_may_do_more_at_the_target(pair, right):
    """The role of his name there is somebody else."""
    source = hostile_pair(pair)
    into = pair.mirror.into
    made = f"made_by_{source.owner}"
    source.execute(STRONG.format(made=made))
    into.execute(f"GRANT pg_read_all_settings TO {source.owner}" if right == "member" else
                 f"ALTER ROLE {source.owner} {right}")
    pair.mirror.configure(schema={"owners": True, "privileges": True})
    try:
        pair.mirror.start()
        pair.mirror.wait_caught_up(pair.cluster)
        pair.mirror.stop()
        assert into.execute("SELECT rolname FROM pg_roles WHERE rolname = %s" % f"'{made}'") == []
        assert into.execute("SELECT relname, relowner::regrole::text FROM pg_class WHERE relname IN ('t', 'm')"
                            " ORDER BY 1") == [("m", "postgres"), ("t", "postgres")]
        assert into.execute("SELECT prosecdef, proowner::regrole::text FROM pg_proc WHERE proname = 'lends'") == [
            (False, "postgres")]
        assert into.execute("SELECT has_table_privilege('pg_monitor', 'public.v', 'SELECT')") == [(False,)]
        log = pair.mirror.log_text()
        assert "stays the target user's" in log and "contents of materialized view" in log
    finally:
        pair.mirror.close()
        into.execute(f"ALTER ROLE {source.owner} NOSUPERUSER; DROP OWNED BY {source.owner} CASCADE")
