"""What stands in a DuckDB file at any moment: it can be opened after every kill, a table is whole or not there, each
name holds what it holds at the source, and what somebody else keeps in the file stays."""
import gzip
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from duckdb_file import LIBRARY, DuckdbError, DuckdbFile, identifier
from lsn import lsn
from kill_points import kill_points, killed_at
from tailrace import run
from targets import DuckdbTarget
from waiting import wait_until

pytestmark = pytest.mark.duckdb("what DuckDB's file holds")

FIXTURES = Path(__file__).parents[1] / "fixtures"
START = """
CREATE TABLE t (id int PRIMARY KEY, v text, n numeric(10,2));
INSERT INTO t SELECT i, 'v' || i, i FROM generate_series(1, 3000) i;
CREATE TABLE bystander (id int PRIMARY KEY)
"""
ALTERED = "ALTER TABLE t RENAME TO u; ALTER TABLE u RENAME v TO w; ALTER TABLE u ADD x int[] DEFAULT '{1,2}'"

# kill point: the statements that reach it once the mirror follows; None: already the first copy does.
REACHED_BY = {
    "duckdb.expect_copies.committed": None,
    "duckdb.initialize.committed": None,
    "duckdb.create_table.committed": None,
    "duckdb.copy_part.committed": None,
    "duckdb.finish_copy.before": None,
    "duckdb.finish_copy.committed": None,
    "duckdb.widen.before": ["INSERT INTO t VALUES (4000, 'x', 'NaN')"],
    "duckdb.widen.committed": ["DELETE FROM t WHERE id < 100", "INSERT INTO t VALUES (4000, 'x', 'NaN')"],
    "duckdb.evolve.applied": [ALTERED, "INSERT INTO u VALUES (4000)"],
    "duckdb.commit.before": ["INSERT INTO t VALUES (4000)"],
    "duckdb.commit.committed": [ALTERED, "UPDATE u SET x = '{3}' WHERE id < 1000; DELETE FROM u WHERE id > 2900"],
    "duckdb.settle_names.committed": ["ALTER TABLE t RENAME TO z; ALTER TABLE bystander RENAME TO t;"
                                      "ALTER TABLE z RENAME TO bystander", "INSERT INTO bystander VALUES (4000)"],
    "duckdb.mark_for_copy.committed": ["ALTER TABLE t ALTER id TYPE text USING 'n' || id",
                                       "INSERT INTO t VALUES ('x')"],
    "duckdb.drop_table.committed": ["DROP TABLE t", "CREATE TABLE t (id int PRIMARY KEY, other date)"],
    "duckdb.tidy.written": ["INSERT INTO t VALUES (4000)"],
    "duckdb.drop_copies.committed": None,
}


def copy_as_it_is(file, directory):
    """With its log."""
    directory.mkdir(exist_ok=True)
    for suffix in ("", ".wal"):
        if file.with_name(file.name + suffix).exists():
            shutil.copy(file.with_name(file.name + suffix), directory / (file.name + suffix))


def opened_copy(file, directory):
    """What somebody sees who opens the file as it is now, its log included."""
    copy_as_it_is(file, directory)
    return DuckdbFile(directory / file.name)


def count(opened, table):
    """Its rows; None if no table stands under the name."""
    try:
        return int(opened.value(f"(SELECT count(*) FROM public.{identifier(table)})"))
    except DuckdbError as error:
        assert "does not exist" in str(error)
        return None


def kill_at(mirror, point, passage=1):
    mirror.env = killed_at(point, passage)
    mirror.start()


def wait_killed(mirror):
    code = mirror.wait_ended()
    assert code == -signal.SIGKILL, f"not killed but ended with {code}\n{mirror.tail()}"
    mirror.env = {}


def test_every_kill_point_is_tried():
    elsewhere = {"duckdb.format.made", "duckdb.format.committed", "duckdb.hold.committed",
                 "duckdb.adopt.committed", "duckdb.copy_as_text.committed", "duckdb.begin_anew.before",
                 "duckdb.begin_anew.committed"}
    assert set(REACHED_BY) == {name for name in kill_points() if name.startswith("duckdb.")} - elsewhere


@pytest.mark.parametrize("point", REACHED_BY)
def test_a_file_opens_after_a_kill(shop, point, tmp_path):
    shop.execute(START)
    statements = REACHED_BY[point]
    if statements:
        shop.mirror.start()
        shop.mirror.wait_caught_up(shop.cluster)
        shop.mirror.kill()
        # The first looks at the definitions come at once, what they find is followed when it is seen twice.
        kill_at(shop.mirror, point)
        for statement in statements:
            shop.execute(statement)
    elif point == "duckdb.drop_copies.committed":
        kill_at(shop.mirror, "duckdb.copy_part.committed")
        wait_killed(shop.mirror)
        kill_at(shop.mirror, point)
    else:
        kill_at(shop.mirror, point)
    wait_killed(shop.mirror)
    with opened_copy(shop.mirror.file, tmp_path / "seen") as file:
        if not statements:
            assert count(file, "t") in (None, 3000)
    shop.mirror.start()
    shop.settle()
    with shop.mirror.opened() as file:
        names = {name for _, name in file.tables()}
        assert not [name for name in names if name.startswith("tailrace ")]


# What DuckDB's log could not replay when it was opened again, and what leads to it; each a transaction.
LOGGED = {
    "widened": ["INSERT INTO t VALUES (4000, 'x', 'NaN')"],
    "widened_after_a_delete": ["DELETE FROM t WHERE id < 100; INSERT INTO t VALUES (4000, 'x', 'NaN')"],
    "widened_by_a_default": ["ALTER TABLE t ADD w numeric(4,2) DEFAULT 'NaN'", "INSERT INTO t VALUES (4000)"],
    "altered_after_a_delete": ["DELETE FROM t WHERE id < 100; ALTER TABLE t ADD w int DEFAULT 7;"
                               "UPDATE t SET w = 8 WHERE id = 200"],
    "renamed_after_an_update": ["UPDATE t SET v = 'x' WHERE id < 100; ALTER TABLE t RENAME v TO w;"
                                "ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (4000)"],
    "retyped": ["UPDATE t SET v = 'x' WHERE id < 100; ALTER TABLE t ALTER id TYPE bigint; INSERT INTO t VALUES (4000)"],
}


@pytest.mark.parametrize("case", LOGGED)
def test_a_file_opens_after_kill_9(shop, case, tmp_path):
    """With everything in DuckDB's log and nothing checkpointed; no place of the program's own is named."""
    shop.execute(START)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    for transaction in LOGGED[case]:
        shop.execute(transaction)
    shop.mirror.look(shop.cluster)
    shop.mirror.kill()
    opened_copy(shop.mirror.file, tmp_path / "seen").close()
    shop.mirror.start()
    shop.settle()


def test_a_value_that_does_not_fit_is_told(shop):
    """By the status of its table, for as long as its column is text: after a restart too."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY, price numeric(8,2)); INSERT INTO t VALUES (1, 1.50)")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    assert shop.mirror.table("public.t")["note"] == ""
    shop.execute("INSERT INTO t VALUES (2, 'NaN')")
    for _ in range(2):
        shop.mirror.wait_caught_up(shop.cluster)
        note = shop.mirror.table("public.t")["note"]
        assert "price" in note and "did not fit" in note, note
        assert note in shop.mirror.text_status()
        shop.mirror.stop()
        shop.mirror.start()
    assert shop.settle() == 2


def test_a_copy_is_whole_or_not_there(shop, tmp_path):
    """Killed after the first of several parts; then again while the table is copied anew, beside the one before."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY, v text);"
                 "INSERT INTO t SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 30000) i")
    shop.mirror.configure(snapshot={"readers": 4})
    kill_at(shop.mirror, "duckdb.copy_part.committed")
    wait_killed(shop.mirror)
    with opened_copy(shop.mirror.file, tmp_path / "first") as file:
        assert count(file, "t") is None
        assert file.query("SELECT source_name, copied::VARCHAR FROM tailrace.tables") == [("t", "false")]
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    shop.execute("DELETE FROM t WHERE id > 20000")
    recopy = run("run", "-c", shop.mirror.config, "--recopy", "public.t",
                 env=killed_at("duckdb.copy_part.committed"))
    assert recopy.returncode == -signal.SIGKILL, recopy.stderr
    with opened_copy(shop.mirror.file, tmp_path / "again") as file:
        assert count(file, "t") == 30000
        assert file.query("SELECT source_name, copied::VARCHAR FROM tailrace.tables") == [("t", "false")]
    shop.mirror.start()
    assert shop.settle() == 20000


def test_a_stopped_copy_leaves_nothing_half(shop):
    """SIGTERM in the middle of a copy, an orderly end."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY, v text);"
                 "INSERT INTO t SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, 200000) i")
    shop.mirror.start()
    wait_until(lambda: (shop.mirror.table("public.t") or {}).get("rows_copied", 0) > 0, 30, "rows that are copied")
    shop.mirror.process.send_signal(signal.SIGTERM)
    shop.mirror.process.wait(60)
    with shop.mirror.opened() as file:
        copied = file.query("SELECT copied::VARCHAR FROM tailrace.tables WHERE source_name = 't'")
        assert file.tables() == ([("public", "t")] if copied == [("true",)] else [])
    shop.mirror.start()
    assert shop.settle() == 200000


TRADES = {
    "at_once": ["ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b",
                "INSERT INTO a VALUES (10); INSERT INTO b VALUES (11)"],
    "one_after_the_other": ["ALTER TABLE a RENAME TO c", "INSERT INTO c VALUES (12)", "ALTER TABLE b RENAME TO a",
                            "INSERT INTO a VALUES (13)", "ALTER TABLE c RENAME TO b", "INSERT INTO b VALUES (14)"],
    "only_one_has_changes": ["ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b",
                             "DELETE FROM b WHERE id = 1"],
    "rows_and_names_together": ["DELETE FROM a WHERE id = 2; UPDATE b SET id = 30 WHERE id = 3;"
                                "ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b;"
                                "INSERT INTO a VALUES (15); DELETE FROM b WHERE id = 5"],
    "rotation": ["CREATE TABLE a_new (LIKE a INCLUDING ALL); INSERT INTO a_new SELECT * FROM a;"
                 "ALTER TABLE a RENAME TO a_old; ALTER TABLE a_new RENAME TO a", "INSERT INTO a VALUES (16)",
                 "DROP TABLE b"],
    "rotation_twice": ["ALTER TABLE a RENAME TO a_1; CREATE TABLE a (LIKE a_1 INCLUDING ALL)",
                       "INSERT INTO a VALUES (17)",
                       "ALTER TABLE a_1 RENAME TO a_2; ALTER TABLE a RENAME TO a_1;"
                       "CREATE TABLE a (LIKE a_1 INCLUDING ALL)", "INSERT INTO a VALUES (18)"],
    "in_a_circle": ["ALTER TABLE a RENAME TO x; ALTER TABLE c RENAME TO a; ALTER TABLE b RENAME TO c;"
                    "ALTER TABLE x RENAME TO b", "INSERT INTO a VALUES (119)", "INSERT INTO c VALUES (120)"],
    "case_only": ["ALTER TABLE a RENAME TO \"A\"", "INSERT INTO \"A\" VALUES (21)"],
}


@pytest.mark.parametrize("backlog", [False, True], ids=["live", "backlog"])
@pytest.mark.parametrize("trade", TRADES)
def test_each_name_holds_what_it_holds_at_the_source(shop, trade, backlog):
    for name, first, last in (("a", 1, 5), ("b", 3, 8), ("c", 6, 20)):
        if name != "c" or trade == "in_a_circle":
            shop.execute(f"CREATE TABLE {name} (id int PRIMARY KEY);"
                         f"INSERT INTO {name} SELECT generate_series({first}, {last})")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    if backlog:
        shop.mirror.stop()
    for transaction in TRADES[trade]:
        shop.execute(transaction)
    if backlog:
        shop.mirror.start()
    for _ in range(3):  # what is seen for the first time is followed when it is seen again
        shop.mirror.wait_caught_up(shop.cluster)
        run("refresh", "-c", shop.mirror.config)
    shop.settle()


def test_what_is_not_ours_is_not_touched(shop):
    """A user's own table and view in the file, whose names tables at the source come to have."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    with shop.mirror.opened(writable=True) as file:
        file.query("CREATE TABLE public.theirs AS SELECT 42 AS answer")
        file.query("CREATE TABLE public.renamed AS SELECT 43 AS answer")
        file.query("CREATE VIEW public.seen AS SELECT 44 AS answer")
    shop.mirror.start()
    shop.execute("CREATE TABLE theirs (id int PRIMARY KEY); CREATE TABLE seen (id int PRIMARY KEY);"
                 "INSERT INTO theirs VALUES (1), (2); INSERT INTO seen VALUES (3)")
    shop.execute("ALTER TABLE t RENAME TO renamed; INSERT INTO renamed VALUES (5); DELETE FROM renamed WHERE id = 1")
    wait_until(lambda: len((shop.mirror.status() or {"tables": []})["tables"]) == 3, 40, "the new tables")
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("DELETE FROM theirs WHERE id = 2; TRUNCATE seen; INSERT INTO seen VALUES (4)")
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    with shop.mirror.opened() as file:
        for name, value in (("theirs", "42"), ("renamed", "43"), ("seen", "44")):
            assert file.query(f"SELECT answer::VARCHAR FROM public.{name}") == [(value,)]
        for name, value in (("theirs_2", "1"), ("renamed_2", "5"), ("seen_2", "4")):
            assert file.query(f"SELECT id::VARCHAR FROM public.{name}") == [(value,)]


@pytest.mark.parametrize("default", [
    ("box", "'((1,1),(0,0))'"), ("box[]", "'{(1,1),(0,0);(2,2),(1,1)}'"), ("text", "$$a,\"b\" {c;d} \\ 'e'$$"),
    ("text", "'NULL'"), ("text", "''"), ("jsonb", "'{\"a\": [1, \"x,y\"]}'"), ("bytea", "'\\x00ff5c22'"),
    ("mood", "'so, \"so\"'"), ("short", "'{\"a,b\",NULL}'"), ("pair", "ROW('x,\"y\"', NULL)"),
    ("text[]", "ARRAY['a,b', '\"', NULL, 'NULL', '{}']"), ("numeric(10,2)", "'NaN'"), ("date", "'4714-11-24 BC'"),
    ("numeric(4,2)[]", "'{1.5,NaN}'"), ("timestamptz", "'infinity'"), ("numeric", "1e500"),
], ids=lambda default: default[0])
def test_a_default_of_any_type(shop, default):
    """ADD COLUMN gives all rows a value without a word in the stream; one that its DuckDB type cannot hold, too."""
    kind, value = default
    shop.execute("CREATE TYPE mood AS ENUM ('so, \"so\"'); CREATE DOMAIN short AS text[];"
                 "CREATE TYPE pair AS (a text, b int); CREATE TABLE t (id int PRIMARY KEY);"
                 "INSERT INTO t SELECT generate_series(1, 5)")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute(f"ALTER TABLE t ADD c {kind} DEFAULT {value}")
    shop.execute("INSERT INTO t VALUES (10, NULL)")
    shop.execute("INSERT INTO t VALUES (11)")
    shop.mirror.wait_caught_up(shop.cluster)
    assert "copied anew" not in shop.mirror.log_text()
    shop.settle()


def unpacked(name, file):
    """A file that 05169be made and was killed over, with what it left beside."""
    for suffix in ("", ".wal"):
        packed = FIXTURES / name / f"mirror.duckdb{suffix}.gz"
        file.with_name(file.name + suffix).write_bytes(gzip.decompress(packed.read_bytes()))


def test_a_log_that_cannot_be_replayed_is_rescued(shop, tmp_path):
    """05169be widened a column by a function of its own in ALTER, which DuckDB's log cannot bind when it opens."""
    file = tmp_path / "mirror.duckdb"
    unpacked("unreadable_log", file)
    with pytest.raises(DuckdbError, match="replaying WAL"):
        DuckdbFile(file)
    mirror = shop.another(into=DuckdbTarget(file))
    mirror.start()
    wait_until(lambda: "was replayed" in mirror.log_text(), 30, "the log's replay")
    wait_until(lambda: not mirror.running() or mirror.status(), 30, "an open file")
    mirror.close()
    with DuckdbFile(file) as opened:
        assert opened.columns("public", "t") == {"id": "INTEGER", "n": "VARCHAR", "m": "VARCHAR",
                                                 "d": "DECIMAL(19,2)"}
        rows = opened.query("SELECT id::VARCHAR, n, m, d::VARCHAR FROM public.t WHERE id IN (1, 7, 100, 101)"
                            " ORDER BY id")
    assert rows == [("1", "0.33", "0.0010", "1.00"), ("7", "2.33", "0.0070", "7.00"),
                    ("100", "NaN", "0.1000", "1.00"), ("101", "NaN", "NaN", "1.00")]


def rescued(mirror):
    mirror.start()
    wait_until(lambda: "was replayed" in mirror.log_text() or not mirror.running(), 30, "the log's replay")
    wait_until(lambda: not mirror.running() or mirror.status(), 30, "an open file")
    mirror.close()
    assert "was replayed" in mirror.log_text() and "cannot be replayed" not in mirror.log_text(), mirror.tail()
    with DuckdbFile(mirror.file) as opened:
        return opened.query("SELECT count(*)::VARCHAR FROM public.t")[0][0]


def test_a_rescue_that_was_killed_is_begun_anew(shop, tmp_path):
    """What it had copied is there: the file, and the log that DuckDB cannot replay."""
    file = tmp_path / "mirror.duckdb"
    unpacked("unreadable_log", file)
    for suffix in ("", ".wal"):
        original = file.with_name(file.name + suffix)
        original.with_name(f"{file.name}.tailrace-replayed{suffix}").write_bytes(original.read_bytes())
    assert rescued(shop.another(into=DuckdbTarget(file))) == "52"
    assert not list(tmp_path.glob("*replayed*"))


@pytest.mark.parametrize("link", ["real/mirror.duckdb", "{0}/real/mirror.duckdb", "second"])
def test_a_rescue_of_a_file_behind_a_link(shop, tmp_path, link):
    (tmp_path / "real").mkdir()
    unpacked("unreadable_log", tmp_path / "real/mirror.duckdb")
    (tmp_path / "second").symlink_to("real/mirror.duckdb")
    file = tmp_path / "mirror.duckdb"
    file.symlink_to(link.format(tmp_path))
    assert rescued(shop.another(into=DuckdbTarget(file))) == "52"
    assert file.is_symlink() and not (tmp_path / "real/mirror.duckdb").is_symlink()


def test_a_new_file_behind_a_link(shop, tmp_path):
    """It is asked by the link and by its own name, and made whole in its own place."""
    shop.execute(START)
    (tmp_path / "real").mkdir()
    file = tmp_path / "mirror.duckdb"
    file.symlink_to("real/own.duckdb")
    mirror = shop.another(into=DuckdbTarget(file))
    mirror.start()
    mirror.wait_caught_up(shop.cluster)
    for name in (file, tmp_path / "real/own.duckdb"):
        assert run("status", f"duckdb:{name}").returncode == 0, name
    assert shop.settle(mirror) > 0
    assert file.is_symlink() and (tmp_path / "real/own.duckdb").is_file()


def test_a_log_that_cannot_be_rescued_is_left_as_it_is(shop, tmp_path):
    file = tmp_path / "mirror.duckdb"
    unpacked("unreadable_log", file)
    log = file.with_name(file.name + ".wal")
    # Of a table that is not there.
    log.write_bytes(log.read_bytes().replace(b"tailrace_text_0", b"tailrace_texx_0"))
    before = file.read_bytes(), log.read_bytes()
    mirror = shop.another(into=DuckdbTarget(file))
    mirror.start()
    assert mirror.wait_ended() != 0
    assert (file.read_bytes(), log.read_bytes()) == before


@pytest.mark.parametrize("mode", [None, 0o640], ids=["new", "group_reads"])
def test_a_file_is_as_private_as_it_was(shop, mode):
    """A new one is its owner's; the log of one that others may read is theirs to read too."""
    shop.execute(START)
    before = os.umask(0)
    try:
        if mode:
            shop.mirror.start()
            shop.mirror.wait_caught_up(shop.cluster)
            shop.mirror.stop()
            shop.mirror.file.chmod(mode)
        shop.mirror.start()
    finally:
        os.umask(before)
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("INSERT INTO t VALUES (4000)")
    shop.mirror.wait_caught_up(shop.cluster)
    log = shop.mirror.file.with_name(shop.mirror.file.name + ".wal")
    assert log.exists()
    assert [path.stat().st_mode & 0o777 for path in (shop.mirror.file, log)] == [mode or 0o600] * 2


def test_a_new_file_is_as_private_as_told(shop):
    shop.execute(START)
    before = os.umask(0o077)
    try:
        shop.mirror.configure(file_mode="0644")
        shop.mirror.start()
    finally:
        os.umask(before)
    shop.mirror.wait_caught_up(shop.cluster)
    log = shop.mirror.file.with_name(shop.mirror.file.name + ".wal")
    shop.execute("INSERT INTO t VALUES (4000)")
    shop.mirror.wait_caught_up(shop.cluster)
    assert [path.stat().st_mode & 0o777 for path in (shop.mirror.file, log)] == [0o644] * 2


OTHER_LINE = Path(__file__).parents[2] / ".deps/duckdb-1.4"
READ = """
import sys
from duckdb_file import DuckdbFile, identifier
with DuckdbFile(sys.argv[1]) as file:
    print(file.value("version()"))
    for schema, table in sorted(file.tables()):
        name = f"{identifier(schema)}.{identifier(table)}"
        columns = ", ".join(f"{identifier(column)}::VARCHAR" for column in file.columns(schema, table))
        print(name, sorted(file.query(f"SELECT {columns} FROM {name}"), key=str))
"""


def read_by(library, file):
    """The version of DuckDB that read it, and all rows of all tables as that sees them."""
    outcome = subprocess.run(
        ["/usr/bin/python3", "-c", READ, file], capture_output=True, text=True, check=False,
        env={**os.environ, "DUCKDB_ROOT": str(library), "PYTHONPATH": str(Path(__file__).parents[1] / "support")})
    assert outcome.returncode == 0, outcome.stderr
    version, *rows = outcome.stdout.splitlines()
    return version, rows


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_clients_of_the_line_before_read_it(shop, how, tmp_path):
    """docs/types.md: DuckDB 1.4 opens it, its log included."""
    shop.execute(START + """; CREATE TABLE z (id int PRIMARY KEY, a int[], s text[], j jsonb, u uuid, b bytea,
        t timestamptz, i interval, d date, f float8, e box, m numeric(30,5), w numeric);
        INSERT INTO z VALUES (1, '{1,NULL}', '{a,"b c"}', '{"k": [1]}', gen_random_uuid(), '\\x00ff', now(),
                              '1 mon 2 days', '2026-02-28', 'NaN', '((1,1),(0,0))', 1e20, 'Infinity');
        INSERT INTO z VALUES (2)""")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    for statement in (ALTERED, "INSERT INTO u VALUES (4000, 'x', 'NaN', '{1}')",
                      "UPDATE z SET d = 'infinity' WHERE id = 1; DELETE FROM u WHERE id < 50",
                      "CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late VALUES (1)"):
        shop.execute(statement)
    shop.settle()
    shop.mirror.start()
    shop.execute("INSERT INTO u VALUES (5000); TRUNCATE bystander; ALTER TABLE z ADD added text DEFAULT 'd'")
    shop.execute("UPDATE z SET added = 'e' WHERE id = 2")
    shop.mirror.wait_caught_up(shop.cluster)
    getattr(shop.mirror, "kill" if how == "killed" else "stop")()
    copy_as_it_is(shop.mirror.file, tmp_path / "1.4")
    version, rows = read_by(OTHER_LINE, tmp_path / "1.4" / shop.mirror.file.name)
    assert version.startswith("v1.4.")
    assert rows == read_by(LIBRARY, shop.mirror.file)[1]
    assert len(rows) == 4


@pytest.mark.parametrize("change", ["ALTER TABLE t RENAME v TO w", "ALTER TABLE t DROP n", "ALTER TABLE t DROP v",
                                    "ALTER TABLE t RENAME TO u; UPDATE u SET v = 'x' WHERE id = 1"])
def test_somebodys_index_is_in_the_way(shop, change):
    """DuckDB changes the definition of no table that has an index: the table is held, and the others go on."""
    shop.execute(START)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    with shop.mirror.opened(writable=True) as file:
        file.query("CREATE INDEX mine ON public.t (v)")
    shop.mirror.start()
    shop.execute("UPDATE t SET v = 'y' WHERE id = 2; INSERT INTO bystander VALUES (1)")
    shop.execute(change)
    shop.execute("INSERT INTO bystander VALUES (2)")
    status = shop.mirror.wait_status(
        lambda status: any(table["state"] == "held" for table in status["tables"]), 30, "a table that is held")
    assert not status["in_step"]
    held = [table for table in status["tables"] if table["state"] == "held"]
    assert len(held) == 1 and "somebody made an index on it" in held[0]["note"] + held[0]["last_error"], held
    shop.execute("INSERT INTO bystander VALUES (3)")
    end = shop.value("SELECT pg_current_wal_insert_lsn()::text")
    shop.mirror.wait_status(lambda status: lsn(status["applied"]) >= lsn(end), 30, "the others' changes")
    shop.mirror.stop()
    with shop.mirror.opened(writable=True) as file:
        assert count(file, "bystander") == 3
        file.query("DROP INDEX public.mine")
    shop.mirror.start("--recopy", "public.t")
    shop.mirror.wait_caught_up(shop.cluster)
    shop.settle()


@pytest.mark.parametrize("altered", [
    "CREATE UNIQUE INDEX mine ON public.t (n)", "ALTER TABLE public.t ALTER v SET NOT NULL",
    "ALTER TABLE public.t ADD COLUMN mine INTEGER", "ALTER TABLE public.t DROP COLUMN v",
    "ALTER TABLE public.t ALTER v TYPE INTEGER USING 1"])
def test_somebody_alters_a_table_of_the_file(shop, altered):
    """That table is held, whatever of it does not fit any more; the others go on."""
    shop.execute(START)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    with shop.mirror.opened(writable=True) as file:
        file.query(altered)
    shop.mirror.start()
    shop.execute("UPDATE t SET n = n + 1; UPDATE t SET v = NULL WHERE id = 1; INSERT INTO t VALUES (5000, 'x', 7)")
    shop.execute("INSERT INTO bystander VALUES (1)")
    status = shop.mirror.wait_status(
        lambda status: any(table["state"] == "held" for table in status["tables"]), 30, "a table that is held")
    assert not status["in_step"] and "Take back what was altered" in str(status["tables"])
    end = shop.value("SELECT pg_current_wal_insert_lsn()::text")
    shop.mirror.wait_status(lambda status: lsn(status["applied"]) >= lsn(end), 30, "the others' changes")
    shop.mirror.stop()
    with shop.mirror.opened() as file:
        assert count(file, "bystander") == 1
    shop.mirror.start("--recopy", "public.t")
    shop.mirror.wait_caught_up(shop.cluster)
    shop.settle()


def test_a_name_of_a_table_that_is_no_more(shop):
    """Another one got it by a rename, and needs no copy: nobody reads the rows of the one that was dropped."""
    shop.execute("CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a VALUES (1, 'old');"
                 "CREATE TABLE b (id int PRIMARY KEY, v text); INSERT INTO b VALUES (1, 'new'), (2, 'new')")
    for running in (True, False):
        shop.mirror.start()
        shop.mirror.wait_caught_up(shop.cluster)
        if not running:
            shop.mirror.stop()
        told = shop.mirror.log_text().count("gave its name to another")
        shop.execute("DROP TABLE a; ALTER TABLE b RENAME TO a")
        if not running:
            shop.mirror.start()
        wait_until(lambda: shop.mirror.log_text().count("gave its name to another") > told, what=shop.mirror.tail)
        shop.execute("INSERT INTO a VALUES (3, 'newer'); CREATE TABLE b (id int PRIMARY KEY, v text)")
        shop.mirror.look(shop.cluster)
        shop.settle()
        with shop.mirror.opened() as file:
            assert [name for _, name in file.tables()] == ["a", "b"]


# A column comes, and with it, in the same transaction of the target, a value that it cannot hold; each a transaction.
COMES_WITH_A_MISFIT = {
    "in the next transaction": ["ALTER TABLE t ADD w numeric(4,2)", "UPDATE t SET w = 'NaN' WHERE id = 7"],
    "in one transaction": ["ALTER TABLE t ADD w numeric(4,2); UPDATE t SET w = 'NaN' WHERE id = 7"],
    "in a place of another": ["ALTER TABLE t DROP v, ADD a int, ADD w numeric(4,2);"
                              "INSERT INTO t (id, a, w) VALUES (4000, 1, 'NaN')"],
    "two of them": ["ALTER TABLE t ADD w numeric(4,2), ADD x numeric(4,2);"
                    "UPDATE t SET w = 1.5, x = 'NaN' WHERE id = 7; UPDATE t SET w = 'NaN' WHERE id = 8"],
}


@pytest.mark.parametrize("case, when", [(case, when) for case in COMES_WITH_A_MISFIT
                                        for when in ("live", "backlog", "killed")
                                        if (case, when) != ("in a place of another", "killed")])  # it is copied anew
def test_a_new_column_and_a_value_that_does_not_fit(shop, case, when):
    shop.execute(START)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    if when != "live":
        shop.mirror.stop()
    for transaction in COMES_WITH_A_MISFIT[case]:
        shop.execute(transaction)
    if when == "killed":
        kill_at(shop.mirror, "duckdb.evolve.applied", 2)
        wait_killed(shop.mirror)
    if when != "live":
        shop.mirror.start()
    shop.settle()
    with shop.mirror.opened() as file:
        types = file.columns("public", "t")
    assert types["w"] == "VARCHAR" and types["id"] == "INTEGER", types
    assert types.get("a", "INTEGER") == "INTEGER" and types.get("x", "VARCHAR") == "VARCHAR", types
