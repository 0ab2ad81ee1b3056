"""What a PostgreSQL target's user may do, and what is left there in the end. Invariant: what cannot be done is said in
one sentence with its remedy, before anything is written; and teardown leaves no trace."""
import pytest

from hostile import HostileDatabase
from tailrace import run

pytestmark = pytest.mark.postgres

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 50) i"


@pytest.fixture
def plain_role(pair):
    """A role of the target's server that owns nothing but may create; the mirror connects as it."""
    into = pair.mirror.into
    role = f"plain_{pair.name}"
    into.execute(f'CREATE ROLE {role} LOGIN; GRANT ALL ON DATABASE "{into.database}" TO {role};'
                 f"GRANT ALL ON SCHEMA public TO {role}")
    into.url = into.url.replace("postgres@", f"{role}@")
    pair.mirror.configure()
    yield role
    pair.mirror.close()
    into.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def traces(pair):
    """All that tailrace may have left at both ends."""
    name = pair.name
    here = pair.execute("SELECT 'slot ' || slot_name FROM pg_replication_slots WHERE database = current_database()"
                        " AND NOT temporary"
                        " UNION ALL SELECT 'publication ' || pubname FROM pg_publication")
    there = pair.mirror.into.execute(
        "SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = 'tailrace' UNION ALL SELECT 'origin ' || roname"
        f" FROM pg_replication_origin WHERE roname LIKE 'tailrace\\_{name}%'")
    return sorted(word for word, in here + there)


def traces_of(name):
    """Two connections that apply, and one more for a transaction that is in progress."""
    origins = [f"origin tailrace_{name}{suffix}" for suffix in ("", "/1", "/2")]
    return origins + [f"publication {name}", "schema tailrace", f"slot {name}"]


def test_teardown_leaves_no_trace(pair):
    pair.execute(TABLE)
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    assert traces(pair) == traces_of(pair.name)
    outcome = run("teardown", "-c", pair.mirror.config, "--stop")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert pair.mirror.wait_ended() == 0
    assert traces(pair) == []
    assert pair.compared() == 50, "the tables stay"
    assert run("teardown", "-c", pair.mirror.config).returncode == 0, "a second teardown is harmless"


def test_teardown_says_that_it_took_empty_books_away(pair):
    """A kill leaves them at the very start."""
    pair.execute(TABLE)
    with pair.mirror:
        pair.mirror.wait_caught_up(pair.cluster)
        pair.mirror.stop()
    for book in ("checkpoint", "columns", "tables"):
        pair.mirror.into.execute(f"DELETE FROM tailrace.{book}")
    outcome = run("teardown", "-c", pair.mirror.config)
    assert outcome.returncode == 0 and "there was nothing" not in outcome.stdout, outcome.stdout
    assert traces(pair) == []


def test_teardown_leaves_others_alone(pair):
    pair.execute(TABLE + "; CREATE TABLE u (id int PRIMARY KEY)")
    pair.mirror.configure(tables=["public.t"])
    other = pair.another(name=f"{pair.name}_other", into=pair.mirror.into, tables=["public.u"])
    for mirror in (pair.mirror, other):
        mirror.start()
        mirror.wait_caught_up(pair.cluster)
    assert run("teardown", "-c", pair.mirror.config, "--stop").returncode == 0
    assert traces(pair) == traces_of(other.name)
    pair.execute("INSERT INTO u VALUES (1)")
    assert pair.settle(other, tables=["public.u"]) == 1


def test_a_role_that_may_not_replicate(pair, plain_role):
    """Triggers would fire a second time. Told before the source is touched."""
    pair.execute(TABLE)
    pair.mirror.start()
    assert pair.mirror.wait_ended() == 3
    told = [line for line in pair.mirror.log_text().splitlines() if "session_replication_role" in line]
    assert any("may not set" in line for line in told) and any("GRANT SET ON PARAMETER" in line for line in told)
    assert traces(pair) == []
    pair.mirror.into.execute(f"GRANT SET ON PARAMETER session_replication_role TO {plain_role}")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.execute("UPDATE t SET v = 'w'")
    pair.mirror.wait_caught_up(pair.cluster)
    assert "not marked with a replication origin" in pair.mirror.log_text()
    pair.verified()
    assert pair.settle() == 50


def test_a_spool_that_cannot_be_written(pair):
    """Only a large transaction needs it; that waits and says why, and nothing is lost."""
    pair.execute(f"ALTER DATABASE {pair.name} SET logical_decoding_work_mem = '64kB'; " + TABLE)
    pair.mirror.configure(spool="/proc")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.execute("INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1000, 20000) i")
    status = pair.mirror.wait_status(lambda status: "spool file in /proc" in status["message"], what="a word on it")
    assert status["state"] == "reconnecting"
    assert "spool: DIRECTORY" in pair.mirror.log_text()
    pair.mirror.stop()
    pair.mirror.configure()
    pair.mirror.start()
    assert pair.settle() == 19051


def test_forced_row_security_is_told_beforehand(pair, plain_role):
    """The policies would hide rows from an ordinary user, the owner included."""
    pair.execute(TABLE + "; ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY;"
                 "CREATE POLICY own ON t USING (v = current_user)")
    into = pair.mirror.into
    into.execute(f"GRANT SET ON PARAMETER session_replication_role TO {plain_role}")
    outcome = run("check", "-c", pair.mirror.config)
    assert outcome.returncode == 1 and f"ALTER ROLE {plain_role} BYPASSRLS" in outcome.stdout, outcome.stdout
    pair.mirror.start()
    assert pair.mirror.wait_ended() == 3
    assert f"ALTER ROLE {plain_role} BYPASSRLS" in pair.mirror.log_text()
    assert into.tables() == set()
    into.execute(f"ALTER ROLE {plain_role} BYPASSRLS")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.execute("UPDATE t SET v = 'w'")
    assert pair.settle() == 50


def test_books_that_somebody_else_has_laid_out(pair):
    """A database's owner makes the schema tailrace beforehand, with code of his in it."""
    pair.execute(TABLE)
    into = pair.mirror.into
    HostileDatabase(into.cluster, into.database, traps=False).execute(
        "CREATE SCHEMA tailrace; CREATE VIEW tailrace.checkpoint AS SELECT 'x'::text AS subscription"
        " WHERE evil.trap('books'); CREATE TABLE tailrace.structure (subscription text)")
    for command in ("run", "verify", "teardown"):
        outcome = run(command, "-c", pair.mirror.config)
        assert outcome.returncode == 3 and "belongs to owner_of_" in outcome.stderr, outcome.stderr
    assert "TRAPPED in owner_of_" + into.database not in into.cluster.log_text()
