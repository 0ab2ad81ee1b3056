"""`check SOURCE TARGET` finds what would stop a start at the target, and its SQL, pasted whole, mends it."""
import json
import subprocess

import pytest

from tailrace import BINARY, run
from test_first_start import left_at
from test_sockets import as_nobody, as_root, let_through

TABLE = ("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 50) i;"
         "ANALYZE t")


def checked(shop, target=None, **how):
    outcome = run("check", shop.url, target or shop.mirror.target, "--name", shop.name, "--json", **how)
    assert outcome.returncode in (0, 1), outcome
    results = json.loads(outcome.stdout)
    failed = {result["title"]: result for result in results if result["verdict"] == "fail"}
    assert bool(failed) == (outcome.returncode == 1)
    return failed, results


def plan(results):
    [found] = [result for result in results if result["title"] == "plan"]
    return {table["table"]: (table["action"], table["rows"]) for table in found["tables"]}


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_a_good_target(shop_into, kind):
    """A dry run: what would be done, and nothing is."""
    shop = shop_into(kind)
    shop.execute(TABLE)
    before = left_at(shop)
    failed, results = checked(shop)
    assert not failed and plan(results) == {"public.t": ("made", 50)}
    assert left_at(shop) == before
    text = run("check", shop.url, shop.mirror.target).stdout
    assert "A start would follow 1 tables, about 50 rows" in text, text
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    for _ in ("while it runs", "and stopped"):
        failed, results = checked(shop)
        assert not failed and plan(results)["public.t"][0] == "followed already", results
        if shop.mirror.running():
            shop.mirror.stop()
    assert shop.compared() == 50


FILES = {
    "no folder": (lambda path: path / "none" / "x.duckdb", "target's folder"),
    "no DuckDB file": (lambda path: path / "x.txt", "target"),
    "its name": (lambda path: path / "tailrace.duckdb", "target's name"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_cannot_be(shop, tmp_path, case):
    shop.execute(TABLE)
    (tmp_path / "x.txt").write_text("nothing of the kind " * 1000, encoding="utf-8")
    where, title = FILES[case]
    failed, _ = checked(shop, f"duckdb:{where(tmp_path)}")
    assert list(failed) == [title] and (failed[title]["remedy"] or case == "no DuckDB file"), failed
    if case == "no folder":
        subprocess.run(failed[title]["remedy"], shell=True, check=True)
        assert not checked(shop, f"duckdb:{where(tmp_path)}")[0]


@as_root
def test_a_folder_of_another_user(shop, tmp_path):
    shop.execute(TABLE)
    let_through(tmp_path)
    folder = tmp_path / "roots"
    folder.mkdir(mode=0o755)
    outcome = subprocess.run([BINARY, "check", shop.url, f"duckdb:{folder}/x.duckdb", "--json"], capture_output=True,
                             text=True, timeout=60, check=False, **as_nobody())
    failed = [result["title"] for result in json.loads(outcome.stdout) if result["verdict"] == "fail"]
    assert outcome.returncode == 1 and "target's folder" in failed, outcome


def test_another_mirrors_file(shop):
    """Locked, or of another slot."""
    shop.execute(TABLE)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    if shop.mirror.into.kind != "duckdb":
        pytest.skip("several mirrors share a database")
    outcome = run("check", shop.url, shop.mirror.target, "--name", "another", "--json")
    [failed] = [result for result in json.loads(outcome.stdout) if result["verdict"] == "fail"]
    assert f'the target follows slot "{shop.name}"' in failed["detail"], failed


BROKEN = {
    "no right to create": ("REVOKE CREATE ON DATABASE {db} FROM {role}", {"tailrace's own schema"}),
    "no schema to write to": ("REVOKE CREATE ON SCHEMA public FROM PUBLIC, {role}", {"making tables"}),
    "no replica role": ("REVOKE SET ON PARAMETER session_replication_role FROM {role}", {"session_replication_role"}),
    "read-only": ("ALTER DATABASE {db} SET default_transaction_read_only = on", {"target's writes"}),
    "rows": ("CREATE TABLE t (id int PRIMARY KEY, v text); ALTER TABLE t OWNER TO {role};"
             "INSERT INTO t VALUES (1, 'x')", {"rows at the target"}),
    "somebody's table": ("CREATE TABLE t (id int PRIMARY KEY, v text)", {"writing to the target's tables"}),
    "few connections": ("ALTER ROLE {role} CONNECTION LIMIT 3", {"target's connections"}),
}


@pytest.fixture
def able(pair):
    """A role of the target's server that may do all that is needed; the mirror connects as it."""
    into = pair.mirror.into
    role = f"able_{pair.name}"
    into.execute(f'CREATE ROLE {role} LOGIN; GRANT ALL ON DATABASE "{into.database}" TO {role};'
                 f"GRANT ALL ON SCHEMA public TO {role}; GRANT SET ON PARAMETER session_replication_role TO {role}")
    into.url = into.url.replace("postgres@", f"{role}@")
    pair.mirror.configure()
    pair.execute(TABLE)
    yield role
    pair.mirror.close()
    into.cluster.execute(f'ALTER DATABASE "{into.database}" RESET default_transaction_read_only')
    into.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


@pytest.mark.postgres
@pytest.mark.parametrize("case", BROKEN)
def test_what_its_sql_mends(pair, able, case):
    into = pair.mirror.into
    failed, _ = checked(pair)
    assert not failed
    sql, titles = BROKEN[case]
    into.execute(sql.format(db=f'"{into.database}"', role=able))
    failed, _ = checked(pair)
    assert set(failed) == titles, failed
    for result in failed.values():
        if case == "read-only":
            remedy = f'ALTER DATABASE "{into.database}" RESET default_transaction_read_only'
            assert remedy.replace('"', "") in result["remedy"].replace('"', ""), result
        else:
            remedy = result["remedy"]
        into.cluster.execute(remedy, "postgres" if case == "read-only" else into.database)
    failed, _ = checked(pair)
    assert not failed, failed
    if case == "somebody's table":
        return
    pair.mirror.start()
    assert pair.settle() == 50


def test_ten_tables_to_grant(shop):
    """All of a schema's at once where that gives no more; and never shortened."""
    role = f"poor_{shop.name}"
    shop.execute("CREATE SCHEMA s; CREATE SCHEMA u;" + "".join(
        f"CREATE TABLE {schema}.t{n} (id int PRIMARY KEY);" for n in range(13) for schema in ("s", "u"))
        + f"CREATE ROLE {role} LOGIN REPLICATION; GRANT USAGE ON SCHEMA s, u TO {role};"
          f'GRANT CREATE ON DATABASE "{shop.name}" TO {role}')
    url = shop.url.replace("postgres@", f"{role}@")
    try:
        outcome = run("check", url, "--json", "-t", "s.*", "-t", "u.*", "-t", "!u.t12")
        [grants] = [result["remedy"] for result in json.loads(outcome.stdout) if result["title"] == "SELECT privilege"]
        assert sorted(grants.splitlines()) == sorted(
            [f"GRANT SELECT ON ALL TABLES IN SCHEMA s TO {role};"]
            + [f"GRANT SELECT ON u.t{n} TO {role};" for n in range(12)])
        shop.execute(grants)
        outcome = run("check", url, "--json", "-t", "s.*", "-t", "u.*", "-t", "!u.t12")
        assert "we may read every selected table" in outcome.stdout
    finally:
        shop.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize("wrong, words, remedy", [
    ("port", "Connection refused", "Check that the server runs"), ("user", 'role "nobody_here" does not exist', "ROLE"),
    ("database", 'database "none_of_it" does not exist', "CREATE DATABASE")])
def test_a_server_that_cannot_be_reached(pair, wrong, words, remedy):
    pair.execute(TABLE)
    port = 1 if wrong == "port" else pair.mirror.into.cluster.port
    user = "nobody_here" if wrong == "user" else "postgres"
    database = "none_of_it" if wrong == "database" else pair.mirror.into.database
    before = left_at(pair)
    failed, _ = checked(pair, f"postgres://{user}@127.0.0.1:{port}/{database}")
    assert words in failed["target"]["detail"] and remedy in failed["target"]["remedy"], failed
    assert left_at(pair) == before
