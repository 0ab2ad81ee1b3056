"""Settings that a database or a role has, at the source and at the target. Invariant: none of them changes a row, or
ends a session of tailrace's."""
import pytest

from tailrace import run
from waiting import wait_until

ODD = {"statement_timeout": "500ms", "lock_timeout": "500ms", "idle_in_transaction_session_timeout": "500ms",
       "xmloption": "document", "xmlbinary": "hex", "quote_all_identifiers": "on", "array_nulls": "off",
       "transform_null_equals": "on", "backslash_quote": "on", "standard_conforming_strings": "off",
       "constraint_exclusion": "on", "default_transaction_isolation": "serializable",
       "default_transaction_deferrable": "on", "exit_on_error": "on", "client_min_messages": "debug5",
       "gin_fuzzy_search_limit": "1", "row_security": "on", "lc_monetary": "C", "DateStyle": "German",
       "IntervalStyle": "iso_8601", "bytea_output": "escape", "extra_float_digits": "0"}
SINCE = {14: {"idle_session_timeout": "500ms"}, 17: {"transaction_timeout": "500ms"}}
TABLE = r"""
CREATE SCHEMA s; CREATE TYPE s."Kind" AS ENUM ('a', 'b');
CREATE TABLE s.t (id int PRIMARY KEY, x xml, a text[], k s."Kind" DEFAULT 'b', i interval, d timestamptz, f float8,
                  b bytea, e text);
INSERT INTO s.t SELECT n, XMLPARSE(CONTENT '<a/><b/>tail'), ARRAY['x', NULL, 'NULL'], 'a', '1 day 2 hours', now(), 0.1,
  '\x00ff', E'a\\b' || chr(39) FROM generate_series(1, 30) n"""


def test_settings_of_databases(shop_on):
    """The quiet of a few seconds, in which a session with a time limit would end, is part of it."""
    shop = shop_on(18)
    into = shop.mirror.into
    sides = [(shop.cluster, shop.name)] + ([(into.cluster, into.database)] if into.kind == "postgres" else [])
    shop.execute(TABLE)
    for cluster, database in sides:
        settings = dict(ODD)
        for since, more in SINCE.items():
            settings |= more if cluster.version >= since else {}
        cluster.execute("".join(f"ALTER DATABASE {database} SET {name} = '{value}';"
                                for name, value in settings.items()))
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    cluster, database = sides[-1]
    # What is asked most often is asked every second.
    wait_until(lambda: cluster.value(
        f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND backend_type <> 'walsender'"
        " AND state LIKE 'idle%' AND backend_start < now() - interval '4 seconds'"), what=shop.mirror.tail)
    lasting = "-c transaction_timeout=0 -c idle_session_timeout=0 -c exit_on_error=off"
    with shop.cluster.connect(shop.name, options=lasting) as connection:
        connection.execute("INSERT INTO s.t (id, x, a) VALUES (100, XMLPARSE(CONTENT 'x<y/>'), ARRAY[NULL, 'b'])")
        connection.execute("UPDATE s.t SET a = a || NULL::text, i = i * 2 WHERE id < 10")
    shop.mirror.wait_caught_up(shop.cluster)
    assert "trying again" not in shop.mirror.log_text()
    shop.verified()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    # The comparison's own sessions must outlive a second of silence.
    for cluster, database in sides:
        cluster.execute(f"ALTER DATABASE {database} RESET ALL")
    assert shop.compared() == 31


def test_a_source_that_is_read_only_for_a_switchover(shop):
    """It is followed and torn down; a first start says what is the matter."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.cluster.execute(f"ALTER DATABASE {shop.name} SET default_transaction_read_only = on")
    shop.mirror.wait_caught_up(shop.cluster)
    shop.verified()
    shop.settle()
    outcome = shop.mirror.teardown()
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert shop.value("SELECT count(*) FROM pg_publication") == 0
    outcome = run("check", shop.url)
    assert outcome.returncode == 1
    assert "default_transaction_read_only is on" in outcome.stdout, outcome.stdout
    outcome = run("init", shop.url)
    assert outcome.returncode == 3
    assert "default_transaction_read_only" in outcome.stderr and "standby" not in outcome.stderr, outcome.stderr
    first = shop.another()
    first.start()
    assert first.wait_ended() == 3, first.tail()
    assert "default_transaction_read_only" in first.log_text() and "standby" not in first.log_text(), first.tail()
    assert not first.into.tables()
    if first.into.kind == "duckdb":
        assert {path.name for path in first.directory.iterdir()} == {first.config.name, first.log.name}
    else:
        assert first.into.value("to_regnamespace('tailrace')") is None
    assert shop.value("SELECT (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_replication_slots"
                      " WHERE database = current_database())") == 0


@pytest.mark.postgres
def test_a_target_that_is_read_only(pair):
    """It is named with the way out, which opens it for tailrace alone."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    into = pair.mirror.into
    into.execute(f"ALTER DATABASE {into.database} SET default_transaction_read_only = on")
    pair.mirror.start()
    assert pair.mirror.wait_ended() == 3
    assert "options=-c%20default_transaction_read_only%3Doff" in pair.mirror.log_text(), pair.mirror.log_text()
    outcome = run("check", "-c", pair.mirror.config)
    assert outcome.returncode == 1 and "the target is read-only" in outcome.stdout, outcome.stdout
    into.url += "?options=-c%20default_transaction_read_only%3Doff"
    pair.mirror.configure()
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    assert pair.settle() == 1
