"""Settings that a database or a role has, at the source and at the target. Invariant: none of them changes a row, or
ends a session of tailrace's."""
from waiting import wait_until

ODD = {"statement_timeout": "1s", "lock_timeout": "1s", "idle_in_transaction_session_timeout": "1s",
       "xmloption": "document", "xmlbinary": "hex", "quote_all_identifiers": "on", "array_nulls": "off",
       "transform_null_equals": "on", "backslash_quote": "on", "standard_conforming_strings": "off",
       "constraint_exclusion": "on", "default_transaction_isolation": "serializable",
       "default_transaction_deferrable": "on", "exit_on_error": "on", "client_min_messages": "debug5",
       "gin_fuzzy_search_limit": "1", "row_security": "on", "lc_monetary": "C", "DateStyle": "German",
       "IntervalStyle": "iso_8601", "bytea_output": "escape", "extra_float_digits": "0"}
SINCE = {14: {"idle_session_timeout": "1s"}, 17: {"transaction_timeout": "1s"}}
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
    wait_until(lambda: cluster.value(
        f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND backend_type <> 'walsender'"
        " AND state LIKE 'idle%' AND state_change < now() - interval '2 seconds'"), what=shop.mirror.tail)
    with shop.cluster.connect(shop.name, options="-c transaction_timeout=0 -c exit_on_error=off") as connection:
        connection.execute("INSERT INTO s.t (id, x, a) VALUES (100, XMLPARSE(CONTENT 'x<y/>'), ARRAY[NULL, 'b'])")
        connection.execute("UPDATE s.t SET a = a || NULL::text, i = i * 2 WHERE id < 10")
    shop.mirror.wait_caught_up(shop.cluster)
    assert "trying again" not in shop.mirror.log_text()
    shop.verified()
    assert shop.settle() == 31
