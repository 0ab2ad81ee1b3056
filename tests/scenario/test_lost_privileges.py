"""The target's user is another one, or lacks a right that it had; and the source's. Invariant: the role, the right and
the object are named, with SQL that can be pasted and that mends it; a right on one table holds that table alone;
nothing is lost, skipped or put into quarantine for it."""
import re

import psycopg
import pytest

from waiting import wait_until

SETUP = """
CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 50) i;
CREATE TABLE bystander (id int PRIMARY KEY); INSERT INTO bystander VALUES (1);
CREATE SCHEMA other; CREATE TABLE other.u (id int PRIMARY KEY, v text); INSERT INTO other.u VALUES (1, 'v')"""
CHANGES = """
INSERT INTO t VALUES (100, 'x'); UPDATE t SET v = 'y' WHERE id = 1; DELETE FROM t WHERE id = 2;
INSERT INTO other.u VALUES (2, 'x'); INSERT INTO bystander VALUES (2)"""


def make_role(execute, role, database):
    execute(f'CREATE ROLE {role} LOGIN; GRANT ALL ON DATABASE "{database}" TO {role};'
            f"GRANT ALL ON SCHEMA public TO {role};"
            f"GRANT SET ON PARAMETER session_replication_role TO {role}")


def connect_as(pair, role):
    into = pair.mirror.into
    into.url = re.sub(r"//\w+@", f"//{role}@", into.url)
    pair.mirror.configure(**pair.settings)


@pytest.fixture
def plain(pair):
    """A role of the target's server that owns nothing but may create; the mirror connects as it."""
    into = pair.mirror.into
    role, other = f"plain_{pair.name}", f"other_{pair.name}"
    for each in (role, other):
        make_role(into.execute, each, into.database)
    pair.settings = {}
    connect_as(pair, role)
    pair.other_role = other
    yield role
    pair.mirror.close()
    for each in (role, other):
        into.execute(f"DROP OWNED BY {each} CASCADE; DROP ROLE {each}")


def followed(pair, **settings):
    pair.settings = settings
    pair.mirror.configure(**settings)
    pair.execute(SETUP)
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    return pair


def ended(mirror, *words):
    """With 3, and one sentence and its remedy, which are returned."""
    assert mirror.wait_ended() == 3, mirror.tail()
    text = " ".join(mirror.log_text().splitlines()[-2:])
    for word in words:
        assert word in text, (word, text)
    assert "skip" not in text and "quarantine" not in text, text
    return text


def statement(text, pattern):
    """The SQL that a remedy has."""
    found = re.search(pattern, text)
    assert found, text
    return found.group(0)


def held(mirror, table):
    def look(status):
        state = {f"{it['schema']}.{it['name']}": it for it in status["tables"]}.get(table)
        return state if status["state"] == "streaming" and state and state["state"] == "held" else None

    mirror.wait_status(look, what=f"{table} is held")
    return mirror.table(table)["last_error"]


LOST = {
    "INSERT, UPDATE": ("REVOKE INSERT, UPDATE ON t FROM {role}", "public.t"),
    "TRUNCATE": ("ALTER TABLE t OWNER TO postgres", "public.t"),
    "SELECT": ("REVOKE SELECT ON t FROM {role}", "public.t"),
    "USAGE on the schema other": ("ALTER SCHEMA other OWNER TO postgres", "other.u"),
}


@pytest.mark.parametrize("lacks", LOST)
@pytest.mark.parametrize("on_error", ["stop", "quarantine"])
def test_a_right_on_a_table(pair, plain, lacks, on_error):
    """It is held, whatever becomes of bad rows; granted as the sentence says, it comes back."""
    revoke, table = LOST[lacks]
    followed(pair, on_error=on_error)
    pair.mirror.into.execute(revoke.format(role=plain))
    pair.execute(CHANGES)
    error = held(pair.mirror, table)
    assert f"the target's user {plain} may not write to" in error and lacks in error, error
    pair.mirror.wait_status(lambda status: not status["in_step"], what="not in step")
    wait_until(lambda: pair.mirror.into.value("(SELECT count(*) FROM bystander)") == "2", what="the others go on")
    assert pair.mirror.polled()["tables"][0]["quarantined"] == 0
    for grant in re.findall(rf"GRANT [^;]+ TO {plain};", error):
        pair.mirror.into.execute(grant)
    pair.mirror.stop()
    pair.mirror.start("--recopy", table)
    pair.mirror.wait_status(lambda status: status["in_step"], what="in step")
    pair.settle()


def test_a_right_on_a_table_that_ends_the_run(pair, plain):
    followed(pair, on_schema_error="stop")
    pair.mirror.into.execute(f"REVOKE INSERT ON t FROM {plain}")
    pair.execute(CHANGES)
    text = ended(pair.mirror, f"the target's user {plain} may not write to", "INSERT")
    pair.mirror.into.execute(statement(text, r"GRANT INSERT ON \S+ TO \w+;"))
    pair.mirror.start()
    pair.settle()


@pytest.mark.parametrize("revoke, lacks", [
    ("REVOKE UPDATE ON tailrace.checkpoint FROM {role}", "UPDATE on tailrace.checkpoint"),
    ("REVOKE USAGE ON SCHEMA tailrace FROM {role}", "USAGE on the schema tailrace"),
])
def test_a_right_on_the_books(pair, plain, revoke, lacks):
    """While it runs, and at a start."""
    followed(pair)
    pair.mirror.into.execute(revoke.format(role=plain))
    pair.execute(CHANGES)
    ended(pair.mirror, f"the target's user {plain} may not keep tailrace's own tables", lacks)
    pair.mirror.start()
    text = ended(pair.mirror, f"the target's user {plain} may not keep tailrace's own tables", lacks)
    for grant in re.findall(rf"GRANT [^;]+ TO {plain};", text):
        pair.mirror.into.execute(f"SET ROLE {plain}; {grant}")
    pair.mirror.start()
    pair.settle()


def test_another_user(pair, plain):
    """Of books that a superuser made: what it lacks is told, one after the other, until it follows."""
    pair.mirror.into.execute("SELECT 1")
    connect_as(pair, "postgres")
    followed(pair)
    pair.mirror.stop()
    connect_as(pair, plain)
    pair.execute(CHANGES)
    pair.mirror.start()
    text = ended(pair.mirror, f"the target's user {plain} may not keep tailrace's own tables", "Connect to the target")
    for grant in re.findall(rf"GRANT [^;]+ TO {plain};", text):
        pair.mirror.into.execute(grant)
    pair.mirror.start()
    for table in ("public.t", "public.bystander", "other.u"):
        for grant in re.findall(rf"GRANT [^;]+ TO {plain};", held(pair.mirror, table)):
            pair.mirror.into.execute(grant)
    pair.mirror.stop()
    connect_as(pair, "postgres")
    pair.mirror.into.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA tailrace FROM {plain};"
                             f"REVOKE ALL ON SCHEMA tailrace FROM {plain}")
    pair.mirror.start("--recopy-all")
    pair.mirror.wait_status(lambda status: status["in_step"], what="in step")
    pair.settle()


def test_another_user_beside_an_ordinary_owner(pair, plain):
    """Whose code would run with the other's rights: that is refused, and the owner is named."""
    followed(pair)
    pair.mirror.stop()
    connect_as(pair, pair.other_role)
    pair.mirror.start()
    ended(pair.mirror, f"belongs to {plain}", f"Connect to the target as {plain}")
    connect_as(pair, plain)
    pair.mirror.start()
    pair.settle()


@pytest.mark.parametrize("revoke, remedy", [
    ('REVOKE CONNECT ON DATABASE "{database}" FROM public, {role}', r"GRANT CONNECT ON DATABASE \S+ TO [^;]+;"),
    ("ALTER ROLE {role} NOLOGIN", r"ALTER ROLE \S+ LOGIN"),
    ("REVOKE SET ON PARAMETER session_replication_role FROM {role}", r"GRANT SET ON PARAMETER [^;]+;"),
])
def test_who_may_not_come_in(pair, plain, revoke, remedy):
    followed(pair)
    pair.mirror.stop()
    into = pair.mirror.into
    into.execute(revoke.format(role=plain, database=into.database))
    pair.mirror.start()
    text = ended(pair.mirror)
    into.cluster.execute(statement(text, remedy), into.database)
    pair.mirror.start()
    pair.settle()


# The source -----------------------------------------------------------------------------------------------------

@pytest.fixture
def read_by(shop):
    """The source's user is a role of its own, who owns what is there."""
    role = f"reader_{shop.name}"
    shop.execute(f'CREATE ROLE {role} LOGIN REPLICATION; GRANT ALL ON DATABASE "{shop.name}" TO {role};'
                 f"GRANT ALL ON SCHEMA public TO {role}")
    url = shop.cluster.url(shop.name, user=role)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SETUP)
    shop.mirror.source = url
    shop.mirror.configure()
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    yield role
    shop.mirror.close()
    shop.execute(f"REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}")


def test_replication_at_the_source(shop, read_by):
    shop.mirror.stop()
    shop.execute(f"ALTER ROLE {read_by} NOREPLICATION")
    shop.mirror.start()
    shop.execute(statement(ended(shop.mirror), r"ALTER ROLE \S+ REPLICATION;"))
    shop.mirror.start()
    shop.settle()


def test_a_table_that_may_not_be_read(shop, read_by):
    """Its changes come all the same; a copy cannot be made."""
    shop.execute(f"REVOKE SELECT ON t FROM {read_by}")
    shop.execute(CHANGES)
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    shop.compared()
    shop.mirror.start("--recopy", "public.t")
    error = held(shop.mirror, "public.t")
    shop.execute(statement(error, rf"GRANT SELECT ON \S+ TO {read_by};"))
    shop.mirror.stop()
    shop.mirror.start("--recopy", "public.t")
    shop.mirror.wait_status(lambda status: status["in_step"], what="in step")
    shop.settle()


def test_a_publication_of_somebody_else(shop, read_by):
    shop.mirror.stop()
    shop.execute(f'ALTER PUBLICATION "{shop.name}" OWNER TO postgres')
    with psycopg.connect(shop.mirror.source, autocommit=True) as connection:
        connection.execute("CREATE TABLE fresh (id int PRIMARY KEY)")
    shop.mirror.start()
    text = ended(shop.mirror, "must be owner of publication")
    shop.execute(statement(text, rf"ALTER PUBLICATION \S+ OWNER TO {read_by};"))
    shop.mirror.start()
    shop.settle()
