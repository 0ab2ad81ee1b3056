"""How commands end: one line of what was done; and a failure is told once."""
import json
import signal

import pytest

from tailrace import run

TABLES = ("CREATE TABLE few (id int PRIMARY KEY); INSERT INTO few SELECT generate_series(1, 10);"
          "CREATE TABLE more (id int PRIMARY KEY, v text);"
          "INSERT INTO more SELECT i, 'v' FROM generate_series(1, 2000) i;")


def last_line(text):
    return text.strip().splitlines()[-1]


def test_snapshot(shop):
    shop.execute(TABLES)
    outcome = run("snapshot", "-c", shop.mirror.config)
    assert outcome.returncode == 0, outcome.stderr
    line = last_line(outcome.stderr)
    assert line.startswith("tailrace: done: 2 tables, 2,010 rows, ") and f" -> {shop.mirror.target}" in line, line
    assert " s -> " in line and " (as of " in line, line
    assert outcome.stderr.count("2,010 rows") <= 2, "progress may say it, the end once"
    assert "stopped" not in outcome.stderr


def test_run(shop):
    """The copy, and the end."""
    shop.execute(TABLES)
    with shop.mirror:
        shop.mirror.wait_caught_up(shop.cluster)
        shop.execute("INSERT INTO few VALUES (11), (12); DELETE FROM few WHERE id = 1")
        shop.mirror.wait_caught_up(shop.cluster)
        shop.mirror.wait_status(lambda status: status["changes"] == 3, what="three changes")
        at = shop.mirror.status()["applied"]
        shop.mirror.stop()
    text = shop.mirror.log_text()
    assert text.count("copied 2 tables, 2,010 rows, ") == 1, text
    line = last_line(text)
    assert line.startswith("tailrace: stopped at ") and line.endswith("; run again to go on"), line
    assert ": 3 changes in " in line, line
    assert at.split("/")[0] == line.split("stopped at ")[1].split("/")[0]


def test_a_signal_that_comes_twice_at_once(shop):
    """timeout(1) sends it to its child, and then to the group that the child is in."""
    shop.execute(TABLES)
    with shop.mirror:
        shop.mirror.wait_caught_up(shop.cluster)
        shop.mirror.process.send_signal(signal.SIGTERM)
        shop.mirror.process.send_signal(signal.SIGTERM)
        assert shop.mirror.wait_ended() == 0, shop.mirror.tail()
    assert last_line(shop.mirror.log_text()).startswith("tailrace: stopped at ")


def test_counts_are_of_the_whole_run(own_cluster, shop_on):
    """Not of one connection."""
    shop = shop_on(own_cluster())
    shop.execute(TABLES)
    with shop.mirror:
        shop.mirror.wait_caught_up(shop.cluster)
        shop.execute("INSERT INTO few VALUES (11), (12); DELETE FROM few WHERE id = 1")
        shop.mirror.wait_caught_up(shop.cluster)
        shop.cluster.restart("immediate")
        shop.execute("INSERT INTO few VALUES (13)")
        shop.mirror.wait_caught_up(shop.cluster)
        few = shop.mirror.wait_status(lambda status: status["changes"] == 4, what="four changes")["tables"][0]
        assert (few["name"], few["inserts"], few["deletes"]) == ("few", 3, 1)


def test_a_failure_at_the_start_is_told_once(shop):
    shop.execute(TABLES)
    shop.mirror.source = shop.cluster.url("there_is_none")
    shop.mirror.configure()
    shop.mirror.start()
    assert shop.mirror.wait_ended() != 0
    text = shop.mirror.log_text()
    assert text.count("does not exist") == 1 and "progress" not in text, text


def test_a_failure_later_is_told_once(shop):
    shop.execute(TABLES)
    with shop.mirror:
        shop.mirror.wait_caught_up(shop.cluster)
        shop.mirror.kill()
    shop.execute(f"SELECT pg_drop_replication_slot('{shop.name}')")
    shop.mirror.log.unlink()
    shop.mirror.start()
    assert shop.mirror.wait_ended() == 3
    assert shop.mirror.log_text().count("does not exist any more") == 1, shop.mirror.log_text()
    assert "failed:" not in shop.mirror.log_text()


@pytest.mark.postgres
def test_verify(pair):
    """How many differ in all, though few are shown."""
    pair.execute(TABLES + "CREATE TABLE keyless (a int); INSERT INTO keyless SELECT generate_series(1, 100)")
    with pair.mirror:
        pair.mirror.wait_caught_up(pair.cluster)
        equal = run("verify", "-c", pair.mirror.config)
        assert last_line(equal.stdout).endswith(" s")
        assert ": 3 tables compared; 2,110 rows in " in last_line(equal.stdout), equal.stdout
        pair.mirror.into.execute("DELETE FROM more WHERE id > 2; UPDATE keyless SET a = -a WHERE a < 6")
        outcome = run("verify", "-c", pair.mirror.config)
        assert outcome.returncode == 1
        assert "source 2,000 rows, target 2 rows; 1,998 rows differ" in outcome.stdout, outcome.stdout
        assert "... and 1,978 rows more" in outcome.stdout
        line = last_line(outcome.stdout)
        # What has no key is a row too many there, and one too few.
        assert "3 tables compared, 2 of them differ, in 2,008 rows; " in line and line.startswith("NOT EQUAL"), line
        report = json.loads(run("verify", "-c", pair.mirror.config, "--json").stdout)
        assert (report["tables_differing"], report["rows_differing"]) == (2, 2008), report
        differing = {table["table"]: table["differing"] for table in report["tables"]}
        assert differing == {"public.few": 0, "public.more": 1998, "public.keyless": 10}
        assert {table["differing_counted"] for table in report["tables"]} == {"exactly"}
        mended = run("verify", "-c", pair.mirror.config, "--repair")
        assert mended.returncode == 0 and "1,998 rows differed" in mended.stdout, mended.stdout
        pair.settle()


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_more_differ_than_are_looked_at(shop_into, kind):
    """Then the number is worked out, and said to be so."""
    shop = shop_into(kind)
    shop.execute("CREATE TABLE wide (id int PRIMARY KEY, v int);"
                 "INSERT INTO wide SELECT i, 0 FROM generate_series(1, 200000) i; ANALYZE wide")
    with shop.mirror:
        shop.mirror.wait_caught_up(shop.cluster)
        shop.mirror.stop()
    with shop.mirror.opened(writable=True) as there:
        there.query("UPDATE public.wide SET v = 1 WHERE id % 25 = 0" + (" RETURNING 1" if kind == "postgres" else ""))
    report = json.loads(run("verify", "-c", shop.mirror.config, "--json").stdout)
    table = report["tables"][0]
    assert table["differing_counted"] == "about" and 7000 < table["differing"] < 9000, table
    text = run("verify", "-c", shop.mirror.config).stdout
    assert "; about " in text and " rows differ" in text, text
