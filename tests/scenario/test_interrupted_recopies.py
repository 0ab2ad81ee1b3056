"""Tables that are copied anew, by wish or because of what happened at the source, and copies that end before they are
whole or fail for one table's sake. Invariant: a DuckDB file shows each table as it was until it is whole again, a
PostgreSQL target says which one is not; and the next start makes it whole."""
import signal

import pytest

from conftest import Shop
from proxy import Proxy
from test_interrupted_copies import BOTH, SOURCE, UNFINISHED, WHOLE, end, last_line, seen, stalled_at_the_last_leaf


@pytest.fixture
def both(kind, clusters, tmp_path):
    """A source with a target of each kind, whatever --target says."""
    made = Shop(clusters[15], tmp_path, clusters.target(15) if kind == "postgres" else None)
    made.execute(SOURCE)
    yield made
    made.close()


@pytest.mark.parametrize("kind", BOTH)
def test_a_recopy_that_nobody_asked_for(both):
    """A column's values are computed anew at the source. Stopped in the middle of the copy that follows from it."""
    mirror = both.mirror
    with Proxy(both.cluster.port) as proxy:
        mirror.source = both.cluster.url(both.name, port=proxy.port)
        mirror.configure(snapshot={"readers": 1})
        mirror.start()
        mirror.wait_caught_up(both.cluster)
        proxy.stall_at(b'copy "public"."parted_2"')
        both.execute("ALTER TABLE parted ALTER v TYPE int USING length(v)")
        both.execute("INSERT INTO parted VALUES (5000, 2, 7)")
        mirror.wait_status(lambda status: 2000 in [table["rows_copied"] for table in status["tables"]],
                           what="all but the last leaf")
        assert mirror.table("public.parted")["state"] == "copying"
        assert end(mirror, signal.SIGTERM) == UNFINISHED
        proxy.restore()
    assert last_line(mirror) == ("tailrace: stopped: 1 of 2 tables is copied; not yet: public.parted;"
                                 " run again to go on")
    assert seen(mirror, "other") == 500
    if mirror.into.kind == "duckdb":
        with mirror.opened() as file:
            assert file.query("SELECT count(*)::VARCHAR, min(v) FROM public.parted") == [("3000", "first 1")]
    mirror.source = both.url
    mirror.configure()
    mirror.start()
    assert both.settle() == 3501


# One table's error in a copy --------------------------------------------------------------------------------------
# What is done while the first of three leaves is being copied, how it is undone, and whose error it is. The copy has a
# lock on what it lists the leaves of.
FORBIDDEN = {"privilege": ("REVOKE SELECT ON parted_2 FROM {0}", "GRANT SELECT ON parted_2 TO {0}", "parted"),
             "row security": ("ALTER TABLE other ENABLE ROW LEVEL SECURITY",
                              "ALTER TABLE other DISABLE ROW LEVEL SECURITY", "other")}


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("what", FORBIDDEN)
def test_rows_that_may_not_be_read_any_more(both, what):
    """Half way through a recopy: the table is held, the other goes on, and once they may be read it is whole again."""
    mirror = both.mirror
    forbid, allow, table = (sql.format(both.name) for sql in FORBIDDEN[what])
    free = next(name for name in WHOLE if name != table)
    both.execute(f"CREATE PUBLICATION {both.name} FOR TABLE parted, other WITH (publish_via_partition_root);"
                 f"CREATE ROLE {both.name} LOGIN REPLICATION;"
                 f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {both.name}")
    try:
        with Proxy(both.cluster.port) as proxy:
            mirror.source = both.cluster.url(both.name, user=both.name, port=proxy.port)
            mirror.configure(publication={"name": both.name, "create": False}, snapshot={"readers": 1})
            mirror.start()
            mirror.wait_caught_up(both.cluster)
            mirror.stop()
            proxy.stall_at(b'copy "public"."parted_1"')
            mirror.start("--recopy", "public.parted", "--recopy", "public.other")
            mirror.wait_status(lambda status: 1000 in [table["rows_copied"] for table in status["tables"]],
                               what="the first leaf")
            both.execute("SET lock_timeout = '10s'; " + forbid)
            proxy.restore()
            mirror.wait_status(lambda status: status["state"] == "streaming" and "held" in
                               [table["state"] for table in status["tables"]], what="the table held")
            both.execute("INSERT INTO other (v) VALUES ('meanwhile'); INSERT INTO parted VALUES (5000, 1, 'meanwhile')")
            mirror.wait_status(lambda status: 1 in [table["inserts"] for table in status["tables"]], what="the other")
            assert not mirror.status()["in_step"]
            assert f"the copy of public.{table} failed" in mirror.table(f"public.{table}")["last_error"]
            mirror.stop()
            assert seen(mirror, free) == WHOLE[free] + 1
            if mirror.into.kind == "duckdb":
                assert seen(mirror, table) == WHOLE[table], "the state before"
            else:
                states = dict(mirror.into.query("SELECT table_name, state FROM tailrace.tables"))
                assert states == {table: "copying", free: "copied"}
            both.execute(allow)
            mirror.start("--recopy", f"public.{table}")
            assert both.settle() == 3502
    finally:
        mirror.close()
        both.execute(f"DROP OWNED BY {both.name}; DROP ROLE {both.name}")


@pytest.mark.parametrize("kind", ["postgres"])
def test_a_recopy_is_shown_as_such_until_it_is_whole(both):
    """It fills the table where it stands. Who reads the target can tell, also from its books: through kill -9, a stop,
    and the starts in between."""
    mirror = both.mirror
    mirror.start()
    mirror.wait_caught_up(both.cluster)
    mirror.stop()

    def in_the_books():
        return dict(mirror.into.query("SELECT table_name, state FROM tailrace.tables"))

    assert in_the_books() == {"parted": "copied", "other": "copied"}
    for how, arguments, code in ((signal.SIGKILL, ["--recopy", "public.parted"], -9), (signal.SIGTERM, [], UNFINISHED),
                                 (signal.SIGKILL, [], -9)):
        with stalled_at_the_last_leaf(both, *arguments):
            assert mirror.table("public.parted")["state"] == "copying"
            assert mirror.table("public.other")["state"] == "copied"
            assert in_the_books() == {"parted": "copying", "other": "copied"}
            assert end(mirror, how) == code
            if code == UNFINISHED:
                assert last_line(mirror) == ("tailrace: stopped: 1 of 2 tables is copied; not yet: public.parted;"
                                             " run again to go on")
        assert in_the_books() == {"parted": "copying", "other": "copied"}
    mirror.start()
    assert both.settle() == 3500
    assert in_the_books() == {"parted": "copied", "other": "copied"}


@pytest.mark.parametrize("kind", BOTH)
def test_a_recopy_of_what_has_no_record_yet(both):
    """A kill between two steps of a copy may have left none. It begins anew; what the source has not is told."""
    mirror = both.mirror
    mirror.start()
    mirror.wait_caught_up(both.cluster)
    mirror.stop()
    both.execute("CREATE TABLE fresh (id int PRIMARY KEY); INSERT INTO fresh VALUES (1)")
    mirror.start("--recopy", "public.typo")
    assert mirror.wait_ended() == 3
    assert "there is no table public.typo to copy anew" in mirror.log_text()
    mirror.start("--recopy", "public.fresh")
    assert both.settle() == 3501


@pytest.mark.parametrize("kind", BOTH)
def test_a_recopy_by_the_name_that_the_source_has_now(both):
    """The target knows the table by its former one until the stream tells of it, or for good if it is held."""
    mirror = both.mirror
    mirror.start()
    mirror.wait_caught_up(both.cluster)
    mirror.stop()
    both.execute("ALTER TABLE other RENAME TO stock")
    mirror.start("--recopy", "public.stock")
    assert both.settle() == 3500
    assert "will be copied anew: asked for" in mirror.log_text()


@pytest.mark.parametrize("kind", ["postgres"])
def test_a_recopy_by_a_name_that_another_one_had(both):
    """Two are held, each under the name that it had; one of them has the other's now. The name means both."""
    mirror = both.mirror

    def wait_states(*expected):
        mirror.wait_status(lambda status: sorted((table["name"], table["state"]) for table in status["tables"])
                           == sorted(expected), what=f"{expected}")

    both.execute("CREATE TABLE third (id int PRIMARY KEY, body text); INSERT INTO third VALUES (1, 'third')")
    mirror.start()
    mirror.wait_caught_up(both.cluster)
    mirror.into.query("CREATE VIEW guest_a AS SELECT 1 AS a; CREATE VIEW guest_b AS SELECT 1 AS b")
    both.execute("ALTER TABLE other RENAME TO guest_a; ALTER TABLE third RENAME TO guest_b")
    wait_states(("parted", "streaming"), ("other", "held"), ("third", "held"))
    assert f"then 'tailrace run -c {mirror.config} --recopy public.other' copies it anew" in mirror.log_text()
    mirror.stop()
    both.execute("ALTER TABLE guest_a RENAME TO third")
    mirror.start("--recopy", "public.third")
    wait_states(("parted", "streaming"), ("third", "streaming"), ("third", "held"))
    mirror.stop()
    mirror.into.query("DROP VIEW guest_b")
    mirror.start("--recopy", "public.guest_b")
    assert both.settle() == 3501
