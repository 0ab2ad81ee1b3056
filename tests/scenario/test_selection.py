"""Which tables, columns and rows are replicated. Invariant: the target equals the selected part of the source, and
nothing else of it is there."""
import pytest

from tailrace import run
from waiting import wait_until

SETUP = """
CREATE SCHEMA sales; CREATE SCHEMA "Odd.Name";
CREATE TABLE public.a (id int PRIMARY KEY, v text); CREATE TABLE public.audit_log (id int PRIMARY KEY, v text);
CREATE TABLE sales.orders (id int PRIMARY KEY, v text); CREATE TABLE sales.secret (id int PRIMARY KEY, v text);
CREATE TABLE "Odd.Name".t (id int PRIMARY KEY, v text);
INSERT INTO public.a VALUES (1, 'a'); INSERT INTO public.audit_log VALUES (1, 'l');
INSERT INTO sales.orders VALUES (1, 'o'); INSERT INTO sales.secret VALUES (1, 's');
INSERT INTO "Odd.Name".t VALUES (1, 't')
"""
ALL = {"public.a", "public.audit_log", "sales.orders", "sales.secret", "Odd.Name.t"}


def test_a_pattern_that_matches_nothing(shop):
    """Excluding ones too: by a slip there, what was to stay at home is copied. Said beforehand, and at the start."""
    shop.execute(SETUP)
    shop.mirror.configure(tables=["public.*", "sales.ordres*", "!public.audti_*"])
    checked = run("check", "-c", shop.mirror.config)
    assert checked.returncode == 0 and "no table matches sales.ordres*, !public.audti_*" in checked.stdout
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    told = "no table of the source matches sales.ordres*, !public.audti_*"
    assert shop.mirror.log_text().count(told) == 1
    shop.settle(tables=["public.a", "public.audit_log"])


@pytest.mark.parametrize("patterns, selected", [
    (["*"], ALL),
    (["public.*"], {"public.a", "public.audit_log"}),
    (["public.*", "!public.audit_*"], {"public.a"}),
    (["!*.secret"], ALL - {"sales.secret"}),
    (["*.*", "!sales.*", "sales.orders"], ALL - {"sales.secret"}),
    (["sales.orde?s", '"Odd.Name".t'], {"sales.orders", "Odd.Name.t"}),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_patterns(shop, patterns, selected):
    shop.execute(SETUP)
    shop.mirror.configure(tables=patterns)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    for table in ("public.a", "public.audit_log", "sales.orders", "sales.secret", '"Odd.Name".t'):
        shop.execute(f"INSERT INTO {table} VALUES (2, 'two')")
    shop.mirror.wait_caught_up(shop.cluster)
    shop.verified()
    shop.mirror.stop()
    assert shop.mirror.into.tables() == selected
    with shop.mirror.opened() as mirror:
        for name in selected:
            schema, table = name.rsplit(".", 1)
            assert mirror.value(f'(SELECT count(*) FROM "{schema}"."{table}")') == "2"


def test_columns(shop):
    shop.execute("CREATE TABLE t (id int PRIMARY KEY, a text, secret text, b int);"
                 "INSERT INTO t VALUES (1, 'a', 'hidden', 1)")
    shop.mirror.configure(tables=[{"table": "public.t", "columns": ["id", "b", "a"]}])
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("INSERT INTO t VALUES (2, 'b', 'hidden', 2); UPDATE t SET secret = 'x';"
                 "UPDATE t SET a = 'z' WHERE id = 1")
    # A PostgreSQL table is made whole; what is not published stays empty there.
    how = {"extra": {"public.t": ["secret"]}} if shop.mirror.into.kind == "postgres" else {}
    shop.settle(columns={"public.t": ["id", "a", "b"]}, **how)
    assert not shop.mirror.into.holds("hidden")


def test_rows(shop):
    """Rows enter and leave the filter by updates."""
    shop.execute("CREATE TABLE t (id int, region text, v int, PRIMARY KEY (id, region));"
                 "INSERT INTO t SELECT i, CASE WHEN i % 2 = 0 THEN 'eu' ELSE 'us' END, i FROM generate_series(1, 50) i")
    shop.mirror.configure(tables=[{"table": "public.t", "where": "region = 'eu'"}])
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("UPDATE t SET v = -v; UPDATE t SET region = 'eu' WHERE id IN (1, 3); DELETE FROM t WHERE id = 6")
    shop.execute("UPDATE t SET region = 'us' WHERE id IN (2, 4); INSERT INTO t VALUES (60, 'eu', 1), (61, 'us', 1)")
    shop.mirror.wait_caught_up(shop.cluster)
    shop.verified()
    assert shop.settle(where={"public.t": "region = 'eu'"}) > 20


def test_own_publication_is_used_as_it_is(shop):
    shop.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY); INSERT INTO t VALUES (1);"
                 "CREATE PUBLICATION mine FOR TABLE t WITH (publish = 'insert, update, delete, truncate')")
    shop.mirror.configure(publication={"name": "mine", "create": False})
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("INSERT INTO t VALUES (2); INSERT INTO u VALUES (2)")
    shop.settle(tables=["public.t"])
    assert shop.mirror.into.tables() == {"public.t"}


def test_selection_that_grows_and_shrinks_between_runs(shop):
    shop.execute(SETUP)
    shop.mirror.configure(tables=["public.a", "sales.secret"])
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    shop.execute("INSERT INTO public.a VALUES (2, 'b'); INSERT INTO sales.orders VALUES (2, 'b')")
    shop.mirror.configure(tables=["public.a", "sales.orders"])
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("INSERT INTO sales.orders VALUES (3, 'c'); UPDATE public.a SET v = 'u'")
    shop.settle(tables=["public.a", "sales.orders"])


REGIONS = ("CREATE TABLE t (id int, region text, v int, w int DEFAULT 5, PRIMARY KEY (id, region));"
           "INSERT INTO t SELECT i, CASE WHEN i % 2 = 0 THEN 'eu' ELSE 'us' END, i FROM generate_series(1, 50) i")


@pytest.mark.parametrize("then, how", [
    ({"where": "region = 'us'"}, {"where": {"public.t": "region = 'us'"}}),
    ({}, {}),
    ({"columns": ["id", "region", "v", "w"], "where": "region = 'eu'"},
     {"where": {"public.t": "region = 'eu'"}}),
], ids=["another filter", "none", "more columns"])
def test_what_is_published_of_a_table_changes_between_runs(shop, then, how):
    """Rows and columns that were left out before are fetched: the stream alone would never bring them."""
    shop.execute(REGIONS)
    shop.mirror.configure(tables=[{"table": "public.t", "columns": ["id", "region", "v"], "where": "region = 'eu'"}])
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    shop.mirror.configure(tables=[{"table": "public.t", **then}])
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("UPDATE t SET v = -v WHERE id < 10")
    assert shop.settle(**how) > 20


def test_an_own_publication_changes_while_it_is_followed(shop):
    shop.execute(REGIONS + "; CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1);"
                 "CREATE PUBLICATION own FOR TABLE t WHERE (region = 'eu'), other")
    shop.mirror.configure(publication={"name": "own", "create": False})
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("ALTER PUBLICATION own SET TABLE t, other")
    wait_until(lambda: "what is published of it changed" in shop.mirror.log_text(), timeout=40, what="a new copy")
    shop.mirror.wait_caught_up(shop.cluster)
    # Out and in again in one transaction, so that no look falls between, with a change that the stream does not bring.
    shop.execute("ALTER PUBLICATION own DROP TABLE other; INSERT INTO other VALUES (2);"
                 "ALTER PUBLICATION own ADD TABLE other")
    wait_until(lambda: shop.mirror.log_text().count("what is published of it changed") == 2, timeout=40,
               what=lambda: f"a second new copy\n{shop.mirror.tail()}")
    shop.execute("INSERT INTO other VALUES (3)")
    assert shop.settle() == 53
