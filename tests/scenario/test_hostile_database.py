"""Databases whose owners want more rights than they have, and superusers who run tailrace on them. Invariant: nothing
that an owner put there runs with the rights of whoever connects."""
import subprocess

import pytest

from hostile import HostileDatabase
from pooler import Pooler
from tailrace import BINARY, run
from waiting import wait_until

ROWS = """
CREATE SCHEMA kinds; CREATE TYPE kinds.mood AS ENUM ('sad', 'happy');
CREATE TABLE public.t (id int PRIMARY KEY, name varchar(20), mood kinds.mood, tags text[], n numeric, note char(5));
INSERT INTO public.t SELECT i, 'n' || i, 'sad', ARRAY['a', NULL], i / 3.0, 'x' FROM generate_series(1, 50) i;
CREATE TABLE public.u (v text); ALTER TABLE public.u REPLICA IDENTITY FULL; INSERT INTO public.u VALUES ('a'), ('b');
CREATE TABLE public.p (id int PRIMARY KEY, s serial) PARTITION BY RANGE (id);
CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES FROM (1) TO (100); INSERT INTO public.p VALUES (1), (2);
"""
CHANGES = """
UPDATE public.t SET mood = 'happy', n = n + 1 WHERE id < 10; DELETE FROM public.t WHERE id > 40;
DELETE FROM public.u WHERE v = 'a'; TRUNCATE public.p; INSERT INTO public.p VALUES (3);
"""
NEW_SHAPES = """
ALTER TABLE public.t ADD more text DEFAULT 'm'; INSERT INTO public.t (id) VALUES (99);
CREATE TABLE public.fresh (id int PRIMARY KEY); INSERT INTO public.fresh VALUES (1);
"""


def see_a_change_pass(shop, source):
    process = subprocess.Popen([BINARY, "tail", shop.url, "-t", "public.*"], stdout=subprocess.PIPE)
    try:
        wait_until(lambda: shop.cluster.value("SELECT count(*) FROM pg_replication_slots WHERE temporary AND active"
                                              f" AND database = '{shop.name}'"), what="a slot of its own")
        source.execute("UPDATE public.t SET name = 'seen'")
        assert process.stdout.readline()
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_every_command_on_a_hostile_database(shop_into, kind):
    """Its schema comes before pg_catalog, at the source and at a PostgreSQL target."""
    shop = shop_into(kind)
    source = HostileDatabase(shop.cluster, shop.name)
    assert all(count > least for count, least in zip(source.traps(), (1500, 500, 60, 40))), source.traps()
    source.execute(ROWS)
    sides = [source]
    into = shop.mirror.into
    if into.kind == "postgres":
        sides.append(HostileDatabase(into.cluster, into.database))
    shop.mirror.configure(tables=["public.*"])

    def nobody_trapped(what):
        assert [side.trapped() for side in sides] == [[]] * len(sides), what

    def command(*arguments, ends=0):
        outcome = run(*arguments, *([] if "snapshot" in arguments else ["-c", shop.mirror.config]))
        nobody_trapped(arguments)
        assert outcome.returncode == ends, outcome.stdout + outcome.stderr

    command("check")
    command("init", "--create-slot")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    for changes in (CHANGES, NEW_SHAPES):
        source.execute(changes)
    command("refresh")
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.wait_status(lambda _: (shop.mirror.table("public.fresh") or {}).get("state") == "streaming")
    nobody_trapped("run")
    command("verify")
    shop.mirror.stop()
    command("verify")  # by its own connections, and not by those of the running one
    if into.kind == "postgres":
        for table in ("public.t", "public.u", "public.p", "public.fresh"):
            assert source.rows(table) == sides[1].rows(table)
        command("sync-sequences")
        command("replay")
        command("skip", "--lsn", "0/1", ends=3)
    else:
        command("snapshot", shop.url, f"duckdb:{shop.directory}/again.duckdb", "-t", "public.*")
    see_a_change_pass(shop, source)
    nobody_trapped("tail")
    command("teardown")


def test_what_the_planner_runs(shop):
    """An index whose expression depends on no column: a query of the table has it worked out, a COPY has not."""
    source = HostileDatabase(shop.cluster, shop.name, traps=False)
    source.execute(ROWS + "CREATE FUNCTION public.f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS"
                   " $$BEGIN PERFORM evil.trap('planner'); RETURN $1; END$$;"
                   "CREATE INDEX ON public.t ((public.f(1) + id));"
                   "CREATE INDEX ON public.p1 (id) WHERE public.f(1) > 0;"
                   "CREATE STATISTICS public.s ON n, (id + public.f(2)) FROM public.t;"
                   # By an operator, which is what the index depends on.
                   "CREATE FUNCTION public.f(text, text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT public.f(3)';"
                   "CREATE OPERATOR public.&&& (LEFTARG = text, RIGHTARG = text, FUNCTION = public.f);"
                   "CREATE INDEX ON public.u ((text 'a' OPERATOR(public.&&&) text 'b'), v)")
    shop.mirror.configure(tables=["public.*"])
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    source.execute(CHANGES)
    shop.mirror.wait_caught_up(shop.cluster)
    outcome = shop.mirror.verify()
    shop.mirror.stop()
    assert source.trapped() == []
    assert outcome.returncode == 3 and "a query of public.t, public.u, public.p" in outcome.stderr, outcome.stderr


def test_through_a_pooler_that_knows_no_options(shop):
    """The path cannot be pinned by the startup packet then; nothing is asked before it is by a statement."""
    source = HostileDatabase(shop.cluster, shop.name)
    source.execute(ROWS)
    with Pooler(shop.cluster.port) as pooler:
        mirror = shop.another(source=shop.url.replace(f":{shop.cluster.port}/", f":{pooler.port}/"))
        assert f":{pooler.port}/" in mirror.source
        outcome = run("check", "-c", mirror.config)
        assert source.trapped() == []
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        mirror.start()
        mirror.wait_caught_up(shop.cluster)
        source.execute(CHANGES)
        mirror.wait_caught_up(shop.cluster)
        assert mirror.verify().returncode == 0
        mirror.stop()
        assert pooler.refused > 0
    assert source.trapped() == []
