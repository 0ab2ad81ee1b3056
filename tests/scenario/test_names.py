"""What a mirror is called, which publications it reads, and what its status says. Invariant: the target equals what the
publications list together, and the status is what docs/status.md says it is."""
import re
import time

import pytest

from tailrace import REPOSITORY, run
from waiting import wait_until

PUBLISHED = """
CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, n int);
CREATE TABLE c (id int);
CREATE TABLE shared (id int PRIMARY KEY, v text);
INSERT INTO a VALUES (1, 'a'); INSERT INTO b VALUES (1, 1);
INSERT INTO shared SELECT i, 'v' FROM generate_series(1, 30) i"""
FILTERED = PUBLISHED + """;
CREATE PUBLICATION one FOR TABLE a, shared WHERE (id < 10);
CREATE PUBLICATION "Two,2" FOR TABLE b, shared WHERE (id > 20)"""


def test_the_name_is_everywhere(own_cluster, shop_on):
    """Exactly, even if the connection string has another one. And a commit that waits for it finds its rows there."""
    shop = shop_on(own_cluster(15))
    shop.execute("CREATE TABLE t (id int PRIMARY KEY)")
    mirror = shop.another(name="My-Shop_1", source=shop.url + "?application_name=other")
    mirror.start()
    mirror.wait_caught_up(shop.cluster)
    assert shop.value("SELECT application_name FROM pg_stat_replication") == "My-Shop_1"
    assert shop.execute("SELECT slot_name::text, pubname::text FROM pg_replication_slots, pg_publication") == [
        ("my_shop_1", "My-Shop_1")]
    checked = run("check", "-c", mirror.config)
    assert (checked.returncode, "a tailrace is reading it" in checked.stdout) == (0, True), checked.stdout
    if mirror.into.kind == "postgres":
        assert mirror.into.value("(SELECT string_agg(roname, ' ' ORDER BY roname) FROM pg_replication_origin WHERE"
                                 " roname LIKE '%Shop%')") == (
            "tailrace_My-Shop_1 tailrace_My-Shop_1/1 tailrace_My-Shop_1/2")
    shop.cluster.execute("ALTER SYSTEM SET synchronous_standby_names = '\"My-Shop_1\"'")
    shop.cluster.reload()
    wait_until(lambda: shop.value("SELECT sync_state FROM pg_stat_replication") == "sync", what="a synchronous standby")
    for number in range(5):
        shop.execute(f"INSERT INTO t VALUES ({number})")
        assert mirror.table("public.t")["inserts"] == number + 1
    shop.settle(mirror)
    shop.cluster.execute("ALTER SYSTEM RESET synchronous_standby_names")
    shop.cluster.reload()


def test_several_publications(shop_on):
    """Tables of either, rows that either lets through, and one that publishes inserts only."""
    shop = shop_on(15)
    shop.execute(FILTERED + "; CREATE PUBLICATION log FOR TABLE c WITH (publish = 'insert')")
    shop.mirror.configure(publication={"name": ["one", "Two,2", "log"], "create": False})
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    assert shop.mirror.status()["publication"] == "one, Two,2, log"
    shop.execute("INSERT INTO a VALUES (2, 'b'); INSERT INTO b VALUES (2, 2); INSERT INTO c VALUES (1), (2);"
                 "INSERT INTO shared VALUES (0, 'in'), (15, 'out') ON CONFLICT (id) DO UPDATE SET v = 'out';"
                 "UPDATE shared SET v = 'w' WHERE id IN (5, 25, 12); UPDATE shared SET id = 40 WHERE id = 13;"
                 "DELETE FROM shared WHERE id IN (6, 26, 16)")
    shop.mirror.wait_caught_up(shop.cluster)
    shop.verified()
    shop.execute("TRUNCATE c")
    shop.mirror.wait_caught_up(shop.cluster)
    assert "does not publish update, delete, truncate of public.c" in shop.mirror.log_text()
    shop.settle(tables=["public.a", "public.b", "public.shared"], where={"public.shared": "id < 10 OR id > 20"})
    assert shop.mirror.into.tables() == {"public.a", "public.b", "public.shared", "public.c"}
    assert shop.mirror.into.value("(SELECT count(*) FROM public.c)") == "2"
    run("teardown", "-c", shop.mirror.config)
    assert shop.value("SELECT count(*) FROM pg_publication") == 3, "they are somebody else's"


@pytest.mark.parametrize("publications, settings, words", [
    ("CREATE PUBLICATION one FOR TABLE shared (id); CREATE PUBLICATION two FOR TABLE shared", {},
     ["different columns of public.shared", "id; and id, v"]),
    ("CREATE PUBLICATION one FOR TABLE a", {}, ['there is no publication "two"']),
    ("CREATE PUBLICATION one FOR TABLE a", {"create": True}, ["set it to off"]),
], ids=["columns differ", "missing", "to be made"])
def test_publications_that_do_not_go_together(shop_on, publications, settings, words):
    shop = shop_on(15)
    shop.execute(PUBLISHED + ";" + publications)
    shop.mirror.configure(publication={"name": ["one", "two"], **settings})
    shop.mirror.start()
    assert shop.mirror.wait_ended() > 0
    assert any(all(word in line for word in words) for line in shop.mirror.log_text().splitlines()), shop.mirror.tail()
    assert run("check", "-c", shop.mirror.config).returncode in (1, 2)
    assert shop.value(f"SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{shop.name}'") == 0


@pytest.mark.duckdb("changes of definitions are not followed into PostgreSQL yet")
@pytest.mark.parametrize("rows", [True, False], ids=["with_rows", "alone"])
def test_status_after_a_rename(shop, rows):
    """The status calls a table as the source does, without a restart."""
    shop.execute("CREATE TABLE before (id int PRIMARY KEY)")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("ALTER TABLE before RENAME TO behind")
    if rows:
        shop.execute("INSERT INTO behind VALUES (1)")
    # Without a row it takes two looks at the catalogs, and a position that has passed.
    wait_until(lambda: run("refresh", *shop.mirror.named()).returncode == 0 and shop.mirror.table("public.behind"),
               what=lambda: f"the new name: {shop.mirror.status()['tables']}")
    assert shop.mirror.table("public.behind")["target_name"].replace('"', "") == "public.behind"
    assert shop.mirror.table("public.before") is None
    assert shop.settle() == rows


def test_refresh(shop):
    """What publications gain or lose is picked up when it says so, not up to ten seconds later."""
    shop.execute(PUBLISHED + "; CREATE PUBLICATION one FOR TABLE a; CREATE PUBLICATION two FOR TABLE b")
    shop.mirror.configure(publication={"name": ["one", "two"], "create": False})
    assert run("refresh", *shop.mirror.named()).returncode == 1, "nothing runs"
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    assert shop.mirror.wait_status(lambda status: status["in_step"], what="in step")
    began = time.monotonic()
    shop.execute("ALTER PUBLICATION one ADD TABLE shared")
    outcome = run("refresh", *shop.mirror.named())
    assert outcome.returncode == 0, outcome.stderr
    assert "public.shared is new" in outcome.stdout
    assert "3 tables are followed" in outcome.stdout
    assert shop.mirror.table("public.shared")["rows_copied"] == 30
    shop.execute("ALTER PUBLICATION two DROP TABLE b; INSERT INTO b VALUES (2, 2)")
    outcome = run("refresh", *shop.mirror.named())
    assert "public.b is not published any more" in outcome.stdout
    assert "2 tables are followed" in outcome.stdout
    assert run("refresh", *shop.mirror.named()).stdout == "2 tables are followed\n"
    assert time.monotonic() - began < 60
    assert shop.mirror.table("public.b")["state"] == "stopped"
    assert "not published" in shop.mirror.table("public.b")["note"]
    assert shop.mirror.wait_status(lambda status: status["in_step"], what="in step without it")
    shop.execute("UPDATE shared SET v = 'w'")
    shop.settle(tables=["public.a", "public.shared"])
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    assert shop.mirror.table("public.b")["state"] == "stopped", "also after a restart"
    shop.execute("ALTER PUBLICATION two ADD TABLE b")
    assert "public.b is new" in run("refresh", *shop.mirror.named()).stdout
    shop.settle(tables=["public.a", "public.b", "public.shared"])


# The status against its document --------------------------------------------------------------------------

KINDS = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict,
         "LSN": re.compile(r"[0-9A-F]+/[0-9A-F]+"), "time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")}


def documented():
    """The two tables of docs/status.md: ({key: type}, {key of a table: type}), and the states that it names."""
    text = (REPOSITORY / "docs/status.md").read_text(encoding="utf-8")
    text = text.split("## Status\n", 1)[1].split("\n## ", 1)[0]
    parts = []
    for part in text.split("\n| Key of a table"):
        keys = {}
        for names, kind, _ in re.findall(r"^\| (`.*?) \| ([a-zA-Z ]+) \| (.*) \|$", part, re.M):
            keys.update({name: kind for name in re.findall(r"`(\w+)`", names)})
        parts.append(keys)
    states = [set(re.findall(r"`(\w+)`", line.split("(")[0])) - {"state"} for line in text.splitlines()
              if line.startswith("| `state`")]
    return parts, states


def check(value, kind):
    allowed = kind.split(" or ")
    if value is None:
        return "null" in allowed
    expected = KINDS[allowed[0]]
    if isinstance(expected, re.Pattern):
        return isinstance(value, str) and bool(expected.fullmatch(value))
    return isinstance(value, expected) and (expected is bool or not isinstance(value, bool))


def test_status_is_what_its_document_says(shop):
    """Every key, no other, each of its type; the states are the ones that are named."""
    (top, of_table), (states, table_states) = documented()
    assert {"state", "applied", "in_step", "tables"} <= set(top) and {"last_error", "copied_at"} <= set(of_table)
    shop.execute(PUBLISHED)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("UPDATE shared SET v = 'w'")
    status = shop.mirror.wait_status(lambda status: status["changes"] == 30 and status["in_step"], what="in step")
    assert set(status) == set(top)
    assert not {key: status[key] for key, kind in top.items() if not check(status[key], kind)}
    assert status["state"] in states
    for table in status["tables"]:
        assert set(table) == set(of_table)
        assert not {key: table[key] for key, kind in of_table.items() if not check(table[key], kind)}
        assert table["state"] in table_states
    assert shop.mirror.table("public.shared")["rows_copied"] == 30
    shop.settle()


@pytest.mark.postgres
def test_status_by_name(pair):
    """Several mirrors go into one database; each is asked for by its name."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)")
    other = pair.another(name=f"{pair.name}_other", into=pair.mirror.into, tables=["public.u"])
    pair.mirror.configure(tables=["public.t"])
    for mirror, table in ((pair.mirror, "public.t"), (other, "public.u")):
        mirror.start()
        mirror.wait_streaming()
        outcome = run("status", mirror.target, "--name", mirror.name)
        assert outcome.returncode == 0, outcome.stdout
        assert mirror.name in outcome.stdout and table in outcome.stdout
    assert "public.u" not in run("status", pair.mirror.target, "--name", pair.name).stdout
    nobody = run("status", pair.mirror.target, "--name", "nobody", "--json")
    assert (nobody.returncode, nobody.stdout) == (1, "null\n")
    pair.mirror.stop()
    assert run("status", pair.mirror.target, "--name", pair.name).returncode == 1
    assert run("status", pair.mirror.target, "--name", other.name).returncode == 0
    other.stop()
