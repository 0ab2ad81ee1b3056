"""Who may write to tailrace's own tables, and what hangs on them. Invariant: what is in them is acted upon with the
rights of tailrace's user, so nobody with fewer rights can put something there, or it is refused, before anything is
written, in one sentence with the SQL that mends it."""
import re

import pytest

from cluster import PgCluster
from kill_points import killed_at
from tailrace import run

pytestmark = pytest.mark.postgres

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 50) i"
# What others may do with tailrace's tables, and with the schemas that it makes.
GRANTS = """
WITH places AS (SELECT * FROM pg_namespace WHERE nspname LIKE 'tailrace%'), granted AS (
  SELECT nspname::text AS what, nspowner AS owner, (aclexplode(nspacl)).* FROM places UNION ALL
  SELECT c.relname::text, c.relowner, (aclexplode(c.relacl)).* FROM pg_class c JOIN places n ON n.oid = c.relnamespace
    WHERE n.nspname = 'tailrace' UNION ALL
  SELECT p.proname::text, p.proowner, (aclexplode(coalesce(p.proacl, acldefault('f', p.proowner)))).*
    FROM pg_proc p JOIN places n ON n.oid = p.pronamespace)
SELECT DISTINCT what, grantee::regrole::text, privilege_type FROM granted WHERE grantee <> owner ORDER BY 1"""
# It says with whose rights it ran.
TRAP = """
CREATE SCHEMA strange AUTHORIZATION {0}; SET ROLE {0};
CREATE TABLE strange.trapped (who text); GRANT ALL ON strange.trapped TO PUBLIC;
CREATE FUNCTION strange.trap() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO strange.trapped VALUES (current_user); RETURN coalesce(NEW, OLD); END $$"""
TRIGGER = "CREATE TRIGGER evil BEFORE INSERT OR UPDATE OR DELETE ON tailrace.{} FOR EACH ROW" \
          " EXECUTE FUNCTION strange.trap()"


@pytest.fixture
def stranger(pair):
    """A role of the target's server with no rights of its own."""
    into = pair.mirror.into
    role = f"stranger_{pair.name}"
    into.execute(f"CREATE ROLE {role} LOGIN")
    yield role
    pair.mirror.close()
    into.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


@pytest.fixture
def followed(pair):
    """Its target has books."""
    pair.execute(TABLE)
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.stop()
    return pair


def default_privileges(into, role):
    into.execute("".join(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO {role};"
                         for kind in ("TABLES", "SEQUENCES", "FUNCTIONS", "SCHEMAS")))


def as_stranger(into, role, sql):
    with into.cluster.connect(into.database, user=role) as connection:
        connection.execute(sql)


def refused(pair, *said):
    """By every command that would open the books, and by check. Returns the SQL that mends it."""
    into = pair.mirror.into
    before = into.execute("SELECT * FROM tailrace.checkpoint")
    pair.mirror.start()
    assert pair.mirror.wait_ended() == 3, pair.mirror.tail()
    for command, code in (("verify", 3), ("sync-sequences", 3), ("check", 1)):
        outcome = run(command, "-c", pair.mirror.config)
        assert outcome.returncode == code, (command, outcome.stdout, outcome.stderr)
        for word in said:
            assert word in outcome.stdout + outcome.stderr, (command, outcome.stdout, outcome.stderr)
    log = pair.mirror.log_text()
    assert all(word in log for word in said), pair.mirror.tail()
    assert into.execute("SELECT * FROM tailrace.checkpoint") == before
    said = "At the target, as the owner of the schema tailrace: (.*?)(; SELECT may stay.*)?$"
    return list(re.finditer(said, log, re.M))[-1][1]


def goes_on(pair):
    pair.execute("UPDATE t SET v = 'w' WHERE id < 10; INSERT INTO t VALUES (51, 'v')")
    pair.mirror.start()
    assert pair.settle() == 51


def test_default_privileges_open_no_books(pair, stranger):
    into = pair.mirror.into
    default_privileges(into, stranger)
    pair.execute(TABLE)
    pair.mirror.env.update(killed_at("postgres.structure.committed"))
    pair.mirror.start()
    assert pair.mirror.wait_ended() == -9
    pair.mirror.env.clear()
    schemas = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tailrace%'"
    assert into.execute(schemas) == [(2,)], "one of them hides the table"
    assert into.execute(GRANTS) == []
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.stop()
    assert into.execute(GRANTS) == []
    goes_on(pair)


def test_default_privileges_open_no_notes_of_deletions(pair_on):
    """Nor the functions that write them, except to the owner of a table, who may add partitions to it."""
    with PgCluster(15, track_commit_timestamp="on") as cluster:
        pair = pair_on(15, cluster)
        into = pair.mirror.into
        cluster.execute("CREATE ROLE stranger LOGIN; CREATE ROLE keeper LOGIN")
        default_privileges(into, "stranger")
        tables = "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);" \
                 "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100)"
        pair.execute(f"{tables}; INSERT INTO t SELECT i, 'v' FROM generate_series(1, 50) i")
        into.execute(f"{tables}; ALTER TABLE t OWNER TO keeper; ALTER TABLE t1 OWNER TO keeper;"
                     "GRANT ALL ON SCHEMA public TO keeper")
        pair.mirror.configure(conflicts={"policy": "last_update_wins"})
        try:
            pair.mirror.start()
            pair.mirror.wait_caught_up(pair.cluster)
            function, = {what for what, _, _ in into.execute(GRANTS)}
            assert into.execute(GRANTS) == [(function, "keeper", "EXECUTE")]
            as_stranger(into, "keeper", "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (100) TO (200);"
                        "DELETE FROM t WHERE id = 50")
            assert into.execute("SELECT key ->> 'id' FROM tailrace.deletions") == [("50",)]
            # What an earlier tailrace made was everybody's.
            pair.mirror.stop()
            into.execute(f"GRANT EXECUTE ON FUNCTION tailrace.{function} TO PUBLIC")
            pair.mirror.start()
            pair.mirror.wait_caught_up(pair.cluster)
            assert into.execute(GRANTS) == [(function, "keeper", "EXECUTE")]
            pair.mirror.stop()
        finally:
            pair.mirror.close()


@pytest.mark.parametrize("grant", [
    "INSERT ON tailrace.structure", "UPDATE (lsn) ON tailrace.checkpoint", "TRIGGER ON ALL TABLES IN SCHEMA tailrace",
    "ALL ON ALL TABLES IN SCHEMA tailrace", "CREATE ON SCHEMA tailrace", "ALL ON ALL SEQUENCES IN SCHEMA tailrace",
    "REFERENCES ON tailrace.tables", "TRUNCATE ON tailrace.skips"])
@pytest.mark.parametrize("whom", ["stranger", "PUBLIC"])
def test_books_that_others_may_write_to(followed, stranger, grant, whom):
    pair, into = followed, followed.mirror.into
    whom = stranger if whom == "stranger" else whom
    into.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA tailrace TO {stranger}; GRANT {grant} TO {whom}")
    mend = refused(pair, f"{whom} may write to tailrace's own tables at the target (")
    assert whom in mend and "SELECT" not in mend
    into.execute(mend)
    goes_on(pair)
    assert {privilege for _, role, privilege in into.execute(GRANTS) if role == stranger} <= {"SELECT", "USAGE"}


@pytest.mark.parametrize("version", [13, 17, 18])
def test_in_other_versions(pair_on, version):
    """17 has one more privilege."""
    pair = pair_on(version)
    into = pair.mirror.into
    pair.execute(TABLE)
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.stop()
    into.execute("GRANT MAINTAIN ON tailrace.tables TO PUBLIC" if version >= 17 else
                 "GRANT TRUNCATE ON tailrace.tables TO PUBLIC")
    into.execute(refused(pair, "PUBLIC may write to tailrace's own tables"))
    into.execute("GRANT ALL ON ALL TABLES IN SCHEMA tailrace TO PUBLIC")
    into.execute(refused(pair, "PUBLIC may write to tailrace's own tables"))
    goes_on(pair)


def test_a_statement_of_somebody_s_is_not_run(followed, stranger):
    pair, into = followed, followed.mirror.into
    into.execute(f"GRANT USAGE ON SCHEMA tailrace TO {stranger};"
                 f"GRANT ALL ON ALL TABLES IN SCHEMA tailrace TO {stranger}")
    as_stranger(into, stranger, "INSERT INTO tailrace.structure (subscription, number, parallel, what, statement,"
                f" roles, optional) SELECT subscription, 99, false, 'a view', 'ALTER ROLE {stranger} SUPERUSER',"
                " '{}', true FROM tailrace.checkpoint")
    into.execute(refused(pair, "tailrace.structure"))
    assert into.execute(f"SELECT rolsuper FROM pg_roles WHERE rolname = '{stranger}'") == [(False,)]
    into.execute("DELETE FROM tailrace.structure WHERE number = 99")
    goes_on(pair)


@pytest.mark.parametrize("attached", [
    TRIGGER.format("checkpoint"), TRIGGER.format("skips"),
    "CREATE RULE evil AS ON INSERT TO tailrace.tables DO ALSO NOTHING",
    "CREATE POLICY evil ON tailrace.structure USING (true)", "ALTER TABLE tailrace.hidden ENABLE ROW LEVEL SECURITY",
    "CREATE TABLE mine (name text REFERENCES tailrace.checkpoint)",
    "CREATE TABLE mine () INHERITS (tailrace.structure)",
    "CREATE FUNCTION strange.fine(text) RETURNS bool LANGUAGE sql AS 'SELECT true';"
    "ALTER TABLE tailrace.checkpoint ADD CHECK (strange.fine(slot))"],
    ids=["trigger", "trigger of skips", "rule", "policy", "row security", "foreign key", "heir", "check"])
def test_what_hangs_on_books(followed, stranger, attached):
    """By somebody who held a right to it for a while."""
    pair, into = followed, followed.mirror.into
    into.execute(TRAP.format(stranger))
    into.execute(attached)
    into.execute(refused(pair, "tailrace did not make"))
    goes_on(pair)
    assert into.execute("SELECT * FROM strange.trapped") == []


def test_a_trigger_meanwhile(followed, stranger):
    """Its owner lets somebody hang things on the books while tailrace runs: they do not fire, and the next time that
    it would make something, it looks."""
    pair, into = followed, followed.mirror.into
    into.execute(TRAP.format(stranger))
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    into.execute(f"GRANT USAGE ON SCHEMA tailrace TO {stranger};"
                 f"GRANT ALL ON ALL TABLES IN SCHEMA tailrace TO {stranger}")
    books = ("checkpoint", "tables", "structure", "skips")
    as_stranger(into, stranger, ";".join(TRIGGER.format(name) for name in books))
    ahead = pair.value("SELECT pg_current_wal_flush_lsn()::text")
    assert run("skip", "-c", pair.mirror.config, "--lsn", ahead).returncode == 0
    pair.execute("UPDATE t SET v = 'w'")
    pair.mirror.wait_caught_up(pair.cluster)
    assert into.execute("SELECT count(*) FROM tailrace.skips") == [(1,)]
    pair.execute("CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (1)")
    assert pair.mirror.wait_ended() == 3, pair.mirror.tail()
    assert f"{stranger} may write to tailrace's own tables" in pair.mirror.log_text()
    assert "is held" not in pair.mirror.log_text()
    assert into.execute("SELECT * FROM strange.trapped") == []
    into.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA tailrace FROM {stranger}")
    into.execute("".join(f"DROP TRIGGER evil ON tailrace.{name};" for name in books))
    pair.mirror.start()
    assert pair.settle() == 51


def test_event_triggers_see_what_is_made(pair):
    """They are superusers', and may have work with new tables."""
    into = pair.mirror.into
    into.execute("CREATE TABLE made (what text); CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS"
                 " $$ BEGIN INSERT INTO public.made VALUES (tg_tag); END $$;"
                 "CREATE EVENT TRIGGER note ON ddl_command_end WHEN tag IN ('CREATE TABLE', 'CREATE INDEX',"
                 " 'ALTER TABLE', 'CREATE VIEW') EXECUTE FUNCTION note(); TRUNCATE made")
    pair.execute(TABLE + "; CREATE VIEW v AS SELECT * FROM t")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    assert {"CREATE TABLE", "CREATE VIEW"} <= {what for what, in into.execute("SELECT what FROM made")}
    pair.settle()
    into.execute("DROP EVENT TRIGGER note")


def test_readers_and_members_are_welcome(pair, stranger):
    """Who may read, who is a member of the books' owner, and the owner itself, by a grant of its own."""
    into = pair.mirror.into
    owner = f"owner_{pair.name}"
    into.execute(f'CREATE ROLE {owner} LOGIN; GRANT ALL ON DATABASE "{into.database}" TO {owner};'
                 f"GRANT ALL ON SCHEMA public TO {owner}; GRANT SET ON PARAMETER session_replication_role TO {owner};"
                 f"CREATE ROLE {owner}_s LOGIN; GRANT {owner} TO {owner}_s; CREATE ROLE {owner}_group;"
                 f"GRANT {owner}_group TO {owner}, {stranger}")
    into.url = into.url.replace("postgres@", f"{owner}@")
    pair.mirror.configure()
    pair.execute(TABLE)
    try:
        pair.mirror.start()
        pair.mirror.wait_caught_up(pair.cluster)
        pair.mirror.stop()
        into.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA tailrace TO {owner}, {owner}_s, postgres;"
                     f"GRANT USAGE, CREATE ON SCHEMA tailrace TO {owner}_s; GRANT USAGE ON SCHEMA tailrace TO PUBLIC;"
                     "GRANT SELECT ON ALL TABLES IN SCHEMA tailrace TO PUBLIC;"
                     f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA tailrace TO {stranger}")
        goes_on(pair)
        # A group that the owner is in has other members.
        into.execute(f"GRANT INSERT ON tailrace.structure TO {owner}_group")
        mend = refused(pair, f"{owner}_group may write")
        as_stranger(into, owner, mend)
        pair.execute("UPDATE t SET v = 'x'")
        pair.mirror.start()
        assert pair.settle() == 51
    finally:
        pair.mirror.close()
        into.execute(f"DROP OWNED BY {owner}, {owner}_s, {owner}_group CASCADE;"
                     f"DROP ROLE {owner}, {owner}_s, {owner}_group")


def test_hiding_places_that_others_may_write_to(pair, stranger):
    """At a source, the books of another tailrace say what is not to be followed, unless somebody else may say it."""
    tenant = f"tenant_of_{pair.name}"
    pair.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1);"
                 "CREATE SCHEMA tailrace; CREATE TABLE tailrace.hiding_places (place oid primary key, name_space oid);"
                 f"CREATE ROLE {tenant} LOGIN; GRANT USAGE ON SCHEMA tailrace TO {tenant};"
                 f"GRANT INSERT ON tailrace.hiding_places TO {tenant};"
                 "CREATE SCHEMA tailrace_copy_2200; CREATE TABLE tailrace_copy_2200.half (id int PRIMARY KEY);"
                 "INSERT INTO tailrace.hiding_places VALUES ('tailrace_copy_2200'::regnamespace, 2200)")
    with pair.connect(user=tenant) as connection:
        connection.execute("INSERT INTO tailrace.hiding_places VALUES ('public'::regnamespace, 1)")
    try:
        pair.mirror.start()
        pair.mirror.wait_caught_up(pair.cluster)
        pair.execute("INSERT INTO t VALUES (2)")
        pair.mirror.wait_caught_up(pair.cluster)
        assert pair.mirror.table("public.t") and not pair.mirror.table("tailrace_copy_2200.half")
        pair.mirror.stop()
        assert pair.mirror.into.execute("SELECT count(*) FROM t") == [(2,)]
    finally:
        pair.mirror.close()
        pair.execute(f"DROP OWNED BY {tenant} CASCADE; DROP ROLE {tenant}")
