"""An owner who gives his table code after it was judged, while a superuser's tailrace is at work on another one.
Invariant: a query of a table is planned only while nobody can do so; what cannot be had so is copied by COPY, or
refused with a sentence."""
import subprocess

import psycopg
import pytest

from hostile import HostileDatabase
from proxy import Proxy
from tailrace import BINARY
from waiting import PATIENCE, wait_until

pytestmark = pytest.mark.postgres

CODE = """
CREATE FUNCTION public.f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
  $$BEGIN PERFORM evil.trap('planner'); RETURN $1; END$$;
CREATE TABLE public.a_first (id int PRIMARY KEY, pad text);
INSERT INTO public.a_first SELECT i, repeat('x', 500) FROM generate_series(1, 200) i;
CREATE TABLE public.t (id int PRIMARY KEY, v int); INSERT INTO public.t SELECT i, i FROM generate_series(1, 50) i;
"""
# One row a page, so that it is cut into ranges.
LARGE = """
CREATE TABLE public.large (id int, pad text); ALTER TABLE public.large ALTER pad SET STORAGE PLAIN;
INSERT INTO public.large SELECT i, repeat('x', 4100) FROM generate_series(1, 13000) i;
"""
LATE = "CREATE STATISTICS public.late ON (public.f(1) + id), id FROM public.{}"


class Held:
    """A table of the target that nobody can write to, or read, until it is let go."""

    def __init__(self, into, table, mode):
        self.into, self.table = into, table
        self.connection = into.cluster.connect(into.database, autocommit=False)
        self.connection.execute(f"LOCK TABLE {table} IN {mode} MODE")

    def wait_for(self, mode):
        wait_until(lambda: self.into.execute("SELECT 1 FROM pg_locks WHERE NOT granted AND mode = "
                                             f"'{mode}' AND relation = '{self.table}'::regclass"),
                   what=f"somebody who waits for {self.table}")

    def let_go(self):
        self.connection.close()


def test_a_row_filter(pair):
    source = HostileDatabase(pair.cluster, pair.name, traps=False)
    source.execute(CODE)
    into = pair.mirror.into
    into.execute("CREATE TABLE public.a_first (id int PRIMARY KEY, pad text)")
    pair.mirror.configure(tables=["public.a_first", {"table": "public.t", "where": "id > 10"}],
                          snapshot={"readers": 1})
    held = Held(into, "public.a_first", "SHARE")
    pair.mirror.start()
    held.wait_for("RowExclusiveLock")
    source.execute(LATE.format("t"))
    held.let_go()
    assert pair.mirror.process.wait(60 * PATIENCE) == 3, pair.mirror.log_text()
    assert "a query of public.t would run functions" in pair.mirror.log_text()
    assert source.trapped() == []


@pytest.mark.parametrize("how", ["committed", "an open transaction"])
def test_ranges_of_a_large_table(pair, how):
    source = HostileDatabase(pair.cluster, pair.name, traps=False)
    source.execute(CODE + LARGE)
    into = pair.mirror.into
    into.execute("CREATE TABLE public.large (id int, pad text)")
    pair.mirror.configure(tables=["public.large"], snapshot={"readers": 1})
    held = Held(into, "public.large", "SHARE")
    pair.mirror.start()
    held.wait_for("RowExclusiveLock")
    with source.cluster.connect(source.database, user=source.owner, autocommit=False) as owner:
        owner.execute(LATE.format("large"))
        if how == "committed":
            owner.commit()
        held.let_go()
        pair.mirror.wait_caught_up(pair.cluster)
    assert source.trapped() == []
    assert "public.large is copied again, by one reader for all of it" in pair.mirror.log_text()
    pair.mirror.stop()
    assert pair.compared(tables=["public.large"]) == 13000


def test_ranges_without_such_code(pair):
    """Two readers, who ask for the same lock."""
    source = HostileDatabase(pair.cluster, pair.name, traps=False)
    source.execute(LARGE)
    pair.mirror.configure(tables=["public.large"], snapshot={"readers": 2})
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.verified()
    pair.mirror.stop()
    assert pair.compared(tables=["public.large"]) == 13000
    assert "copied again" not in pair.mirror.log_text()


def test_verify(pair):
    source = HostileDatabase(pair.cluster, pair.name, traps=False)
    source.execute(CODE)
    pair.mirror.configure(tables=["public.*"])
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.verified()
    held = Held(pair.mirror.into, "public.a_first", "ACCESS EXCLUSIVE")
    with subprocess.Popen([BINARY, "verify", "-c", pair.mirror.config], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as verify:
        held.wait_for("AccessShareLock")
        source.execute(LATE.format("t"))
        held.let_go()
        said = verify.communicate(timeout=60 * PATIENCE)[0]
    pair.mirror.stop()
    assert source.trapped() == []
    assert verify.returncode == 3 and "a query of public.t would run functions" in said, said


# What would have the next query of s.t run the owner's code: an index, or another table in its place. By whoever owns
# the table in somebody else's schema, and by whoever owns the schema of somebody else's table.
WAYS = {"table": ["CREATE STATISTICS public.late ON (public.f(1) + id), id FROM s.t"],
        "schema": ["DROP TABLE s.t", "ALTER SCHEMA s RENAME TO gone"]}


@pytest.mark.parametrize("owned", WAYS)
def test_nobody_changes_what_is_about_to_be_queried(pair, owned):
    """From the judgement on until the server has planned the query, which is kept from it here for a while."""
    source = HostileDatabase(pair.cluster, pair.name, traps=False)
    source.execute(CODE)
    source.as_superuser("CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY); INSERT INTO s.t VALUES (1), (20);"
                        f"GRANT USAGE ON SCHEMA s TO {source.owner};"
                        f"ALTER {owned} {'s.t' if owned == 'table' else 's'} OWNER TO {source.owner}")
    with Proxy(pair.cluster.port) as proxy:
        pair.mirror.source = pair.cluster.url(pair.name, port=proxy.port)
        pair.mirror.configure(tables=[{"table": "s.t", "where": "id > 10"}])
        proxy.stall_at(b"copy (select")
        pair.mirror.start()
        wait_until(lambda: not proxy.flowing, what="the query")
        for way in WAYS[owned]:
            with pytest.raises(psycopg.errors.LockNotAvailable):
                source.execute("SET lock_timeout = '200ms';" + way)
                raise AssertionError(f"let in: {way}")
        proxy.restore()
        pair.mirror.wait_caught_up(pair.cluster)
        pair.mirror.stop()
    assert pair.mirror.into.execute("SELECT id FROM s.t") == [(20,)]
    assert source.trapped() == []
