"""Mirrors that earlier landings made (tests/fixtures). Invariant: they are opened, their books are brought to today's
format in one transaction, and they go on; what a newer landing made is left alone."""
import gzip
from pathlib import Path

import pytest

from conftest import Shop
from duckdb_file import DuckdbFile
from tailrace import run

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures/05169be"
NAME = "earlier"  # of the mirrors there


class Earlier:
    """A source that is what the fixture's mirror follows: the same rows, and a slot that stands behind them. Numbers
    that PostgreSQL gave the first one are exchanged in the mirror's books for those that it gives this one."""

    def __init__(self, shop):
        self.shop = shop
        shop.execute((FIXTURES / "source.sql").read_text())
        for statement in (FIXTURES / "changes.sql").read_text().splitlines():
            shop.execute(statement)
        self.name = f"{NAME}_{shop.name}"
        shop.execute(f"CREATE PUBLICATION {self.name} FOR ALL TABLES WITH (publish_via_partition_root = true)")
        self.begin = shop.value(f"SELECT lsn::text FROM pg_create_logical_replication_slot('{self.name}', 'pgoutput')")
        self.system = shop.value("SELECT system_identifier::text FROM pg_control_system()")
        self.tables = shop.execute(
            "SELECT n.nspname::text, c.relname::text, c.oid, coalesce(pg_relation_filenode(c.oid), 0)::bigint"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')"
            " AND NOT c.relispartition AND n.nspname IN ('public', 'Other')")
        self.columns = shop.execute(
            "SELECT n.nspname::text, c.relname::text, a.attname::text, a.xmin::text::bigint FROM pg_attribute a"
            " JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE a.attnum > 0 AND c.relkind IN ('r', 'p') AND n.nspname IN ('public', 'Other')")
        self.membership = "p" + str(shop.value(f"SELECT oid::bigint FROM pg_publication WHERE pubname = '{self.name}'"))

    def duckdb(self):
        into = self.shop.mirror.into
        into.file.write_bytes(gzip.decompress((FIXTURES / "mirror.duckdb.gz").read_bytes()))
        lsn = "".join(f"{int(part, 16):08x}" for part in self.begin.split("/"))
        with into.opened(writable=True) as file:
            # Out of the way: a table of today may have the number that another one of then had.
            file.query("UPDATE tailrace.columns SET table_oid = table_oid + 1000000000")
            file.query("UPDATE tailrace.tables SET oid = oid + 1000000000")
            for schema, table, oid, filenode in self.tables:
                known = f"(SELECT oid FROM tailrace.tables WHERE {names_it(schema, table, 'source_')})"
                for _, _, column, version in self.columns_of(schema, table):
                    file.query(f"UPDATE tailrace.columns SET version = {version} WHERE table_oid = {known}"
                               f" AND source_name = {literal(column)}")
                file.query(f"UPDATE tailrace.columns SET table_oid = {oid} WHERE table_oid = {known}")
                file.query(f"UPDATE tailrace.tables SET oid = {oid}, filenode = {filenode}, copied_at = {int(lsn, 16)},"
                           f" membership = '{self.membership}' WHERE {names_it(schema, table, 'source_')}")
            file.query(f"UPDATE tailrace.checkpoint SET slot = '{self.name}', system_identifier = '{self.system}',"
                       f" lsn = {int(lsn, 16)}")
        return self

    def postgres(self):
        into = self.shop.mirror.into
        with into.cluster.connect(into.database) as connection:
            connection.execute((FIXTURES / "target.sql").read_text())
        sql = f"UPDATE tailrace.{{}} SET subscription = '{self.name}' WHERE subscription = '{NAME}';"
        for books in ("checkpoint", "tables", "columns"):
            into.execute(sql.format(books))
        for books in ("tables", "columns"):
            into.execute(f"UPDATE tailrace.{books} SET oid = (oid::bigint + 1000000000)::oid")
        for schema, table, oid, filenode in self.tables:
            known = f"(SELECT oid FROM tailrace.tables WHERE {names_it(schema, table)})"
            for _, _, column, version in self.columns_of(schema, table):
                into.execute(f"UPDATE tailrace.columns SET version = {version} WHERE oid = {known}"
                             f" AND name = {literal(column)}")
            into.execute(f"UPDATE tailrace.columns SET oid = {oid} WHERE oid = {known};"
                         f"UPDATE tailrace.tables SET oid = {oid}, filenode = {filenode}, copied_at = '{self.begin}',"
                         f" membership = '{self.membership}' WHERE {names_it(schema, table)}")
        into.execute(f"UPDATE tailrace.checkpoint SET slot = '{self.name}', system_identifier = '{self.system}',"
                     f" lsn = '{self.begin}'")
        return self

    def columns_of(self, schema, table):
        return [row for row in self.columns if row[:2] == (schema, table)]

    def change(self):
        self.shop.execute("INSERT INTO plain VALUES (200, 'today', 9); UPDATE plain SET v = 'today' WHERE id = 1")
        self.shop.execute("UPDATE widened SET n = 1.25 WHERE id = 100; INSERT INTO widened VALUES (101, 'NaN')")
        self.shop.execute('UPDATE "Other"."Quoted "" Name" SET "select" = \'-infinity\' WHERE "Key" = 1')
        self.shop.execute("DELETE FROM keyless WHERE a = 2; INSERT INTO parts VALUES (50, '2026-08-08')")
        self.shop.execute("ALTER TABLE plain ADD COLUMN today text DEFAULT 'd'")
        self.shop.execute("INSERT INTO plain VALUES (201, 'today', 9, 'e')")

    def configure(self):
        self.shop.mirror.name = self.name
        self.shop.mirror.configure(publication={"name": self.name, "create": False})
        return self.shop.mirror


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def names_it(schema, table, prefix=None):
    one, two = (f"{prefix}schema", f"{prefix}name") if prefix else ("schema_name", "table_name")
    return f"{one} = {literal(schema)} AND {two} = {literal(table)}"


@pytest.fixture(params=["duckdb", "postgres"])
def earlier(request, cluster, clusters, tmp_path):
    shop = Shop(cluster, tmp_path, clusters.target(cluster.version) if request.param == "postgres" else None)
    made = Earlier(shop)
    yield getattr(made, request.param)()
    shop.close()


def format_of(earlier):
    books = earlier.shop.mirror.into
    known = books.value("(SELECT count(*) FROM information_schema.tables WHERE table_schema = 'tailrace'"
                        " AND table_name = 'format')")
    return int(books.value("(SELECT version FROM tailrace.format)")) if known == "1" else 1


def test_it_goes_on(earlier):
    assert format_of(earlier) == 1
    mirror = earlier.configure()
    mirror.start()
    mirror.wait_caught_up(earlier.shop.cluster)
    earlier.change()
    rows = earlier.shop.settle()
    assert rows == 51, "22 plain, 12 widened, 2 quoted, 13 parts, 2 keyless"
    assert "copied anew" not in mirror.log_text() and "copying" not in mirror.log_text(), mirror.tail()
    assert format_of(earlier) > 1
    mirror.start()
    earlier.shop.execute("DELETE FROM plain WHERE id < 10")
    earlier.shop.settle()


@pytest.mark.parametrize("moment", ["made", "committed"])
def test_it_is_killed_meanwhile(earlier, moment):
    """Either all of the books are of today's format, or nothing of them is."""
    mirror = earlier.configure()
    point = {"duckdb": "duckdb.format", "postgres": "postgres.books"}[mirror.into.kind]
    mirror.env["TAILRACE_KILL_POINT"] = f"{point}.{moment}"
    mirror.start()
    assert mirror.wait_ended() == -9
    assert (format_of(earlier) > 1) == (moment == "committed")
    mirror.env.clear()
    mirror.start()
    mirror.wait_caught_up(earlier.shop.cluster)
    earlier.change()
    assert earlier.shop.settle() == 51


def test_one_that_is_newer_is_left_alone(earlier):
    mirror = earlier.configure()
    mirror.start()
    mirror.wait_caught_up(earlier.shop.cluster)
    mirror.stop()
    with mirror.into.opened(writable=True) as books:
        books.query("UPDATE tailrace.format SET version = 1000000")
    earlier.change()
    mirror.start()
    assert mirror.wait_ended() == 3
    assert "It was written by a newer tailrace; use that one" in mirror.log_text(), mirror.tail()
    assert format_of(earlier) == 1000000
    assert mirror.into.value('(SELECT count(*) FROM "public"."plain" WHERE id >= 200)') == "0"


@pytest.mark.parametrize("damage", ["-5", "0", "1", "3", "two rows", "no row", "a view"])
def test_a_format_that_cannot_be(earlier, damage):
    """Something else wrote there. It is refused as it is."""
    mirror = earlier.configure()
    mirror.start()
    mirror.wait_caught_up(earlier.shop.cluster)
    mirror.stop()
    sql = {"two rows": "INSERT INTO tailrace.format SELECT * FROM tailrace.format",
           "no row": "DELETE FROM tailrace.format",
           "a view": "DROP TABLE tailrace.format; CREATE VIEW tailrace.format AS SELECT 4::bigint AS version"}
    with mirror.into.opened(writable=True) as books:
        books.query(sql.get(damage, f"UPDATE tailrace.format SET version = {damage}"))
    earlier.change()
    mirror.start()
    assert mirror.wait_ended() == 3, mirror.tail()
    told = [line for line in mirror.log_text().splitlines() if "is damaged: " in line][-1]
    assert "tailrace.format" in told or "it is not as format 3 has it" in told, told
    assert "Something else wrote there" in mirror.log_text()
    assert mirror.into.value("(SELECT count(*) FROM tailrace.format)") == {"two rows": "2", "no row": "0"}.get(
        damage, "1")
    assert mirror.into.value('(SELECT count(*) FROM "public"."plain" WHERE id >= 200)') == "0"


@pytest.mark.parametrize("there", ["format", "made"])
def test_something_has_the_name_of_a_book_to_be(earlier, there):
    with earlier.shop.mirror.into.opened(writable=True) as books:
        if there == "made" and earlier.shop.mirror.into.kind == "duckdb":
            pytest.skip("that is not a book of a file")
        books.query(f"CREATE VIEW tailrace.{there} AS SELECT 5::bigint AS version")
    mirror = earlier.configure()
    mirror.start()
    assert mirror.wait_ended() == 3, mirror.tail()
    assert "is damaged: " in mirror.log_text(), mirror.tail()
    held = "(SELECT count(*) FROM information_schema.columns WHERE table_schema = 'tailrace' AND column_name = 'held')"
    assert mirror.into.value(held) == "0"
    with mirror.into.opened(writable=True) as books:
        books.query(f"DROP VIEW tailrace.{there}")
    mirror.start()
    mirror.wait_caught_up(earlier.shop.cluster)
    earlier.change()
    assert earlier.shop.settle() == 51


def test_a_trigger_on_old_books(earlier):
    """It would fire while they are brought to today's format."""
    into = earlier.shop.mirror.into
    if into.kind != "postgres":
        pytest.skip("a DuckDB file has no triggers")
    into.execute("CREATE TABLE trapped (who text); CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS"
                 " $$ BEGIN INSERT INTO public.trapped VALUES (current_user); RETURN NEW; END $$;"
                 "CREATE TRIGGER evil BEFORE INSERT OR UPDATE ON tailrace.tables FOR EACH ROW EXECUTE FUNCTION trap()")
    mirror = earlier.configure()
    mirror.start()
    assert mirror.wait_ended() == 3, mirror.tail()
    assert "DROP TRIGGER evil ON tailrace.tables" in mirror.log_text(), mirror.tail()
    assert format_of(earlier) == 1
    into.execute("DROP TRIGGER evil ON tailrace.tables")
    mirror.start()
    mirror.wait_caught_up(earlier.shop.cluster)
    earlier.change()
    assert earlier.shop.settle() == 51
    assert into.execute("SELECT * FROM trapped") == []


def test_an_earlier_tailrace_leaves_today_s_file_alone(earlier):
    """05169be looks for the format in the checkpoint."""
    into = earlier.shop.mirror.into
    if into.kind == "postgres":
        pytest.skip("that landing did not look for the format of books in PostgreSQL")
    mirror = earlier.configure()
    mirror.start()
    mirror.wait_caught_up(earlier.shop.cluster)
    mirror.stop()
    with DuckdbFile(mirror.file) as file:
        assert int(file.value("SELECT format_version FROM tailrace.checkpoint")) > 1


def test_its_configuration_is_read():
    outcome = run("config", "check", "-c", FIXTURES / "whole.yaml", env={"SOURCE": "postgres://app@db/shop"})
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.parametrize("command", ["verify", "status", "refresh", "skip", "replay", "sync-sequences"])
def test_a_command_before_a_run(earlier, command):
    """It does its work, or refuses, and a run goes on from there."""
    mirror = earlier.configure()
    arguments = ["--lsn", earlier.begin] if command == "skip" else []
    outcome = run(command, "-c", mirror.config, *arguments)
    said = outcome.stdout + outcome.stderr
    does_it = {"verify", "skip"} | ({"replay", "sync-sequences"} if mirror.into.kind == "postgres" else set())
    assert (outcome.returncode == 0) == (command in does_it), said
    if command not in does_it:
        assert format_of(earlier) == 1
    mirror.start()
    mirror.wait_caught_up(earlier.shop.cluster)
    earlier.change()
    assert earlier.shop.settle() == 51
