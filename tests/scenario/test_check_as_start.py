"""`check` and a first start refuse the same, in the same words: what a start would refuse `check` finds beforehand, and
writes nothing; what `check` passes, a start does."""
import json

import pytest

from tailrace import run
from targets import PostgresTarget
from test_check_target import TABLE, plan
from test_first_start import left_at
from test_taken_back import made_at


def checked(shop, *arguments):
    outcome = run("check", "-c", shop.mirror.config, "--json", *arguments)
    assert outcome.returncode in (0, 1), outcome
    results = json.loads(outcome.stdout)
    failed = [result for result in results if result["verdict"] == "fail"]
    assert bool(failed) == (outcome.returncode == 1)
    return failed, results


def both_refuse(shop, words):
    """Before anything is made."""
    before = left_at(shop)
    [failed], _ = checked(shop)
    assert words in failed["detail"], failed
    assert left_at(shop) == before
    shop.mirror.start()
    assert shop.mirror.wait_ended() == 3, shop.mirror.tail()
    assert words in shop.mirror.log_text(), shop.mirror.tail()
    assert left_at(shop) == before, shop.mirror.tail()
    return failed


def both_pass(shop, rows=50):
    failed, _ = checked(shop)
    assert not failed
    shop.mirror.start()
    assert shop.settle() == rows


IN_THE_WAY = {
    "a missing column": ("CREATE TABLE t (id int PRIMARY KEY)", "has no column v", "DROP TABLE t"),
    "another type": ("CREATE TABLE t (id int PRIMARY KEY, v int)", "v", "DROP TABLE t"),
    "a generated column": ("CREATE TABLE t (id int PRIMARY KEY, v text GENERATED ALWAYS AS ('x') STORED)", "v",
                           "DROP TABLE t"),
    "a view": ("CREATE VIEW t AS SELECT 1 AS id, 'x'::text AS v", "view", "DROP VIEW t"),
    "a type": ("CREATE TYPE t AS ENUM ('x')", "type", "DROP TYPE t"),
}


@pytest.mark.postgres
@pytest.mark.parametrize("case", IN_THE_WAY)
def test_what_has_the_name(pair, case):
    pair.execute(TABLE)
    there, words, mended = IN_THE_WAY[case]
    pair.mirror.into.execute(there)
    before = made_at(pair.mirror.into)
    both_refuse(pair, words)
    assert made_at(pair.mirror.into) == before
    pair.mirror.into.execute(mended)
    both_pass(pair)


@pytest.mark.postgres
def test_a_table_that_would_be_held(pair):
    """The others would go on: to that a start says yes, and `check` no."""
    pair.execute(TABLE + "; CREATE TABLE other (id int PRIMARY KEY)")
    pair.mirror.into.execute("CREATE TABLE u (id int); CREATE INDEX t_pkey ON u (id)")
    [failed], _ = checked(pair)
    assert "t_pkey" in failed["detail"], failed
    pair.mirror.start()
    pair.mirror.wait_status(lambda status: "held" in [table["state"] for table in status["tables"]], what="one held")
    pair.mirror.stop(unfinished=True)
    assert failed["detail"] in pair.mirror.log_text(), pair.mirror.tail()


@pytest.mark.postgres
def test_structure_of_a_later_version(pair_on):
    pair = pair_on(15, 13)
    pair.execute(TABLE + "; CREATE TABLE u (id int PRIMARY KEY, v int UNIQUE NULLS NOT DISTINCT)")
    both_refuse(pair, "NULLS NOT DISTINCT")
    pair.execute("DROP TABLE u")
    both_pass(pair)


@pytest.mark.postgres
def test_roles(pair):
    """Owners and those with privileges; the SQL makes all of them."""
    roles = [f"{kind}_{pair.name}" for kind in ("boss", "reader", "caller")]
    pair.execute(TABLE + "; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE ALL ON FUNCTION f() FROM"
                 " PUBLIC;" + "".join(f"CREATE ROLE {role};" for role in roles) + f"ALTER TABLE t OWNER TO {roles[0]};"
                 f"GRANT SELECT ON t TO {roles[1]}; GRANT EXECUTE ON FUNCTION f() TO {roles[2]}")
    pair.mirror.configure(schema={"owners": True, "privileges": True})
    into = pair.mirror.into
    try:
        failed = both_refuse(pair, roles[1])
        into.cluster.execute(failed["remedy"])
        both_pass(pair)
    finally:
        pair.mirror.close()
        for where in (pair, into):
            for role in roles:
                where.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.postgres
def test_a_standby_as_target(own_cluster, shop_on):
    primary = own_cluster(15)
    primary.create_database("there")
    with primary.standby() as standby:
        shop = shop_on(15)
        shop.execute(TABLE)
        shop.mirror.into = PostgresTarget(standby, "there", existing=True)
        shop.mirror.configure()
        failed = both_refuse(shop, "standby")
        assert "pg_promote" in failed["remedy"]


def test_a_publication_with_fewer_tables(shop):
    shop.execute(TABLE + f"; CREATE TABLE u (id int PRIMARY KEY); CREATE PUBLICATION {shop.name} FOR TABLE t")
    both_refuse(shop, "lacks 1 of the selected tables")
    shop.execute(f"ALTER PUBLICATION {shop.name} ADD TABLE u")
    both_pass(shop)


@pytest.mark.postgres
def test_rows_to_go_on_from(pair):
    pair.execute(TABLE)
    pair.mirror.configure(snapshot={"enabled": False})
    both_refuse(pair, "the target has no table public.t")
    pair.mirror.into.execute(TABLE)
    both_pass(pair)


def test_a_file_of_another_cluster(shop_into, own_cluster):
    shop = shop_into("duckdb")
    shop.execute(TABLE)
    shop.mirror.start()
    shop.settle()
    other = own_cluster(15)
    other.execute(TABLE)
    shop.mirror.source = other.url("postgres")
    shop.mirror.configure()
    both_refuse(shop, "was filled from another PostgreSQL cluster")


def test_a_file_in_use(shop_into):
    """By a mirror of another name, which goes on."""
    shop = shop_into("duckdb")
    shop.execute(TABLE)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    other = shop.another(into=shop.mirror.into)
    outcome = run("check", "-c", other.config, "--json")
    assert outcome.returncode == 1, outcome
    [failed] = [result for result in json.loads(outcome.stdout) if result["verdict"] == "fail"]
    assert f"the tailrace named {shop.name} is running on it" in failed["detail"], failed
    other.start()
    assert other.wait_ended() == 3
    assert shop.settle() == 50


def test_a_file_with_tables_of_somebody(shop_into):
    shop = shop_into("duckdb")
    shop.execute(TABLE)
    with shop.mirror.into.opened(writable=True) as file:
        file.query("CREATE TABLE theirs (id int)")
    both_refuse(shop, "holds tables that tailrace did not make")


@pytest.mark.postgres
def test_a_superuser_with_a_connection_limit(pair):
    """Which does not bind him."""
    pair.execute(TABLE)
    into = pair.mirror.into
    role = f"limited_{pair.name}"
    into.execute(f"CREATE ROLE {role} LOGIN SUPERUSER CONNECTION LIMIT 2")
    into.url = into.url.replace("postgres@", f"{role}@")
    pair.mirror.configure()
    try:
        both_pass(pair)
    finally:
        pair.mirror.close()
        into.execute(f"DROP OWNED BY {role} CASCADE; REASSIGN OWNED BY {role} TO postgres; DROP ROLE {role}")


def test_no_more_replication_connections(own_cluster, shop_on):
    """Told as it is, with what to do; a start needs one too."""
    cluster = own_cluster(15, max_wal_senders=0)
    shop = shop_on(cluster)
    shop.execute(TABLE)
    failed, _ = checked(shop)
    assert failed and all(result["remedy"] for result in failed), failed
    shop.mirror.start()
    assert shop.mirror.wait_ended() == 3, shop.mirror.tail()
    assert "ALTER SYSTEM SET max_wal_senders" in shop.mirror.log_text(), shop.mirror.tail()
    assert left_at(shop)[0] == [] and not left_at(shop)[1]


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_the_plan_is_true(shop_into, kind):
    """Of tables that came since, of one that nobody has counted, and of what is made by nobody."""
    shop = shop_into(kind)
    shop.execute(TABLE)
    shop.mirror.start()
    shop.settle()
    shop.execute("CREATE TABLE late (id int PRIMARY KEY)")
    if kind == "postgres":
        shop.mirror.into.execute("CREATE TABLE late (id int PRIMARY KEY)")
    _, results = checked(shop)
    assert plan(results) == {"public.t": ("followed already", 50),
                             "public.late": ("made" if kind == "duckdb" else "filled", None)}
    text = run("check", "-c", shop.mirror.config).stdout
    assert "about 50 rows besides those of 1, which are unknown" in text, text
    shop.execute("DROP TABLE t")
    assert "A start would follow 1 tables, an unknown number of rows" in run("check", "-c", shop.mirror.config).stdout


@pytest.mark.postgres
def test_what_is_to_be_there_is_not_made(pair):
    pair.execute(TABLE)
    pair.mirror.configure(schema={"mode": "expect"})
    failed, results = checked(pair)
    assert failed and plan(results) == {"public.t": ("not there", 50)}


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
@pytest.mark.parametrize("how", ["dropped", "moved"])
def test_a_slot_that_cannot_be_gone_on_from(shop_into, kind, how):
    shop = shop_into(kind)
    shop.execute(TABLE)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    assert not checked(shop)[0]
    shop.execute("INSERT INTO t VALUES (1000, 'gone')")
    if how == "dropped":
        shop.execute(f"SELECT pg_drop_replication_slot('{shop.name}')")
    else:
        shop.execute(f"SELECT pg_replication_slot_advance('{shop.name}', pg_current_wal_lsn())")
    both_refuse(shop, "does not exist any more" if how == "dropped" else "ahead of what the target has")
