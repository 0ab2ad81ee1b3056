"""What `schema: copy` makes at a PostgreSQL target. Invariant: the catalogs of both sides say the same, between servers
of any two versions."""
import pytest

from structure import compare_structure, rich_schema

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("source, target", [(13, 18), (15, 15), (15, 18), (18, 15)],
                         ids=lambda version: f"pg{version}")
def test_everything_is_made_like_the_source(pair_on, source, target):
    """Partitions, inheritance, every kind of constraint and index, functions, triggers, views, policies, comments."""
    pair = pair_on(source, target)
    pair.execute(rich_schema(min(source, target)))
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster, timeout=120)
    pair.mirror.stop()
    into = pair.mirror.into
    compare_structure(pair.cluster, pair.name, into.cluster, into.database)


def test_what_an_older_server_does_not_know_is_refused(pair_on):
    """By name, and nothing of it is left at the target."""
    pair = pair_on(15, 13)
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v int); CREATE UNIQUE INDEX odd ON t (v) NULLS NOT DISTINCT")
    pair.mirror.start()
    assert pair.mirror.wait_ended() > 0
    for word in ("odd", "NULLS NOT DISTINCT", "13"):
        assert word in pair.mirror.log_text(), pair.mirror.log_text()
    assert pair.mirror.into.tables() == set()


def test_killed_while_the_structure_is_made(pair):
    """What was noted to be made after the data is made by whoever comes next."""
    pair.execute("".join(f"CREATE TABLE t{i} (id int PRIMARY KEY, v int, w text); CREATE INDEX ON t{i} (v);"
                         f"CREATE INDEX ON t{i} (w, v);"
                         f"INSERT INTO t{i} SELECT g, g % 7, md5(g::text) FROM generate_series(1, 20000) g;"
                         for i in range(12)) + "ALTER TABLE t1 ADD FOREIGN KEY (id) REFERENCES t2")
    for _ in range(6):
        pair.mirror.start()
        pair.mirror.wait_status(lambda status: any(table["state"] == "copied" for table in status["tables"])
                                or status["state"] == "streaming", what="some progress")
        pair.mirror.kill()
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster, timeout=120)
    into = pair.mirror.into
    assert pair.settle() == 240000
    compare_structure(pair.cluster, pair.name, into.cluster, into.database)
