"""Nothing is copied (snapshot.enabled: off), and the target lacks a table. Invariant: one that had rows before the
stream begins is refused before anything is written; one whose rows all come by the stream is followed."""
import pytest

from tailrace import run

pytestmark = pytest.mark.postgres

SOURCE = """
CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100);
CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b SELECT generate_series(1, 10)
"""
KINDS = pytest.mark.parametrize("kind", ["duckdb", "postgres"])


def prepared(shop, slot=True):
    shop.execute(SOURCE + f"; CREATE PUBLICATION {shop.name} FOR ALL TABLES")
    if slot:
        make_slot(shop)
    return shop


def make_slot(shop):
    shop.execute(f"SELECT pg_create_logical_replication_slot('{shop.name}', 'pgoutput')")


def load(shop, table, rows):
    """What a dump would bring to the target."""
    with shop.mirror.into.opened(writable=True) as into:
        if shop.mirror.into.kind == "duckdb":
            into.query('CREATE SCHEMA IF NOT EXISTS "public"')
            into.query(f'CREATE TABLE "public".{table} (id INTEGER)')
        else:
            into.query(f"CREATE TABLE {table} (id int PRIMARY KEY)")
        into.query(f'INSERT INTO "public".{table} SELECT i FROM generate_series(1, {rows}) r(i)')


def start(shop, **settings):
    shop.mirror.configure(snapshot={"enabled": False}, publication={"name": shop.name, "create": False}, **settings)
    shop.mirror.start()


def refused(shop, table, **settings):
    start(shop, **settings)
    assert shop.mirror.wait_ended() == 3, shop.mirror.tail()
    # With its remedy, which stands below it.
    lines = shop.mirror.log_text().replace("\n  ", " ").splitlines()
    line = next((line for line in lines if f"has no table public.{table}" in line), None)
    assert line and "or leave it out (tables:)" in line, shop.mirror.tail()
    assert f"public.{table}" not in shop.mirror.into.tables()


def change_and_settle(shop, tables="tb"):
    for table in tables:
        shop.execute(f"INSERT INTO {table} VALUES (1000)")
    return shop.settle()


@KINDS
def test_one_with_rows_of_before_the_slot(shop_into, kind):
    shop = prepared(shop_into(kind))
    load(shop, "t", 100)
    refused(shop, "b")
    load(shop, "b", 10)
    start(shop)
    assert change_and_settle(shop) == 112


def test_a_target_that_has_none(shop_into):
    shop = prepared(shop_into("postgres"))
    refused(shop, "b")


@KINDS
def test_no_slot_yet(shop_into, kind):
    """Whatever is there is older than one that is made now."""
    shop = prepared(shop_into(kind), slot=False)
    load(shop, "t", 100)
    refused(shop, "b")
    assert shop.value("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") == 0


def test_one_that_was_made_after_the_slot(shop_into):
    """A DuckDB file must have it, empty: test_start_as_of.py."""
    shop = prepared(shop_into("postgres"))
    shop.execute("CREATE TABLE later (id int PRIMARY KEY)")
    shop.execute("INSERT INTO later SELECT generate_series(1, 20)")
    load(shop, "t", 100)
    load(shop, "b", 10)
    start(shop)
    assert change_and_settle(shop, ["t", "b", "later"]) == 133


@pytest.mark.parametrize("rows", [0, 20])
def test_one_that_was_made_before_the_stated_position(shop_into, rows):
    """What was written to it between slot and position does not come."""
    shop = prepared(shop_into("postgres"))
    shop.execute("CREATE TABLE later (id int PRIMARY KEY)")
    shop.execute(f"INSERT INTO later SELECT generate_series(1, {rows})")
    load(shop, "t", 100)
    load(shop, "b", 10)
    position = shop.value("SELECT pg_current_wal_insert_lsn()::text")
    refused(shop, "later", start_lsn=position)
    if not rows:
        load(shop, "later", 0)
        start(shop, start_lsn=position)
        assert change_and_settle(shop, ["t", "b", "later"]) == 113


@KINDS
def test_a_snapshot_without_it(shop_into, kind):
    shop = prepared(shop_into(kind))
    taken = run("snapshot", shop.url, shop.mirror.target, "--name", shop.name, "-t", "public.t")
    assert taken.returncode == 0, taken.stderr
    refused(shop, "b")
    load(shop, "b", 10)
    start(shop)
    assert change_and_settle(shop) == 112


@KINDS
def test_one_that_was_made_after_the_snapshot(shop_into, kind):
    """It has to be there, empty."""
    shop = prepared(shop_into(kind))
    # As always, the slot is older than the snapshot.
    shop.execute("SELECT txid_current()")
    taken = run("snapshot", shop.url, shop.mirror.target, "--name", shop.name)
    assert taken.returncode == 0, taken.stderr
    shop.execute("CREATE TABLE later (id int PRIMARY KEY)")
    shop.execute("INSERT INTO later SELECT generate_series(1, 20)")
    refused(shop, "later")
    load(shop, "later", 0)
    start(shop)
    assert change_and_settle(shop, ["t", "b", "later"]) == 133
