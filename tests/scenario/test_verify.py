"""`tailrace verify`: it finds every difference and none that is not there, --repair mends them and never undoes what
the stream brought, --continuous goes on looking. Into PostgreSQL, whatever --target says, unless a test says
otherwise."""
import json
import signal
import subprocess
import threading
from contextlib import contextmanager

import pytest

from proxy import Proxy
from tailrace import BINARY, run
from test_changes import wide
from test_postgres_target import follow
from waiting import PATIENCE, wait_until

TABLES = f"""
CREATE TABLE keyed (id int PRIMARY KEY, body text, n numeric, at timestamptz DEFAULT '2020-01-01 00:00+00');
INSERT INTO keyed SELECT i, 'row ' || i, i / 7.0 FROM generate_series(1, 5000) i;
CREATE TABLE two_keys (a text, b int, c char(5), PRIMARY KEY (a, b));
INSERT INTO two_keys SELECT 'it''s ' || i % 10, i, i::text FROM generate_series(1, 300) i;
CREATE TABLE keyless (a int, b text, c text);
INSERT INTO keyless SELECT i % 50, NULLIF(i % 3, 0)::text, '' FROM generate_series(1, 600) i;
CREATE TABLE large (id int PRIMARY KEY, body text, more text);
INSERT INTO large SELECT i, {wide(1)}, {wide(2)} FROM generate_series(1, 20) i;
"""

# What somebody does at the target, and what verify must say of it.
PLANTS = {
    "one_byte": ("UPDATE keyed SET body = 'row 41O' WHERE id = 410", "public.keyed", ["id=410", "row 41O"]),
    "scale": ("UPDATE keyed SET n = (n::text || '0')::numeric WHERE id = 7", "public.keyed", ["id=7"]),
    "missing": ("DELETE FROM two_keys WHERE b = 17", "public.two_keys", ["a=it's 7, b=17", "(no such row)"]),
    "surplus": ("INSERT INTO two_keys VALUES ('ghost', -1, '')", "public.two_keys", ["a=ghost, b=-1"]),
    "one_of_equal_rows": ("DELETE FROM keyless WHERE ctid = (SELECT max(ctid) FROM keyless WHERE a = 5)",
                          "public.keyless", ["a=5"]),
    "one_equal_row_more": ("INSERT INTO keyless SELECT * FROM keyless WHERE a = 6 LIMIT 1", "public.keyless", ["a=6"]),
    "null_for_empty": ("UPDATE keyless SET c = NULL WHERE a = 8", "public.keyless", ["a=8"]),
    "value_changes_its_column": ("UPDATE keyless SET b = c, c = b WHERE b = '1' AND a = 9", "public.keyless", ["a=9"]),
    "toast": ("UPDATE large SET body = overlay(body placing '#' from 9000) WHERE id = 3", "public.large", ["id=3"]),
}


def verify(pair, *options, code):
    outcome = run("verify", "-c", pair.mirror.config, *options, timeout=300)
    assert outcome.returncode == code, outcome.stdout + outcome.stderr
    return outcome.stdout


@contextmanager
def writing(pair, *statements):
    """Each statement again and again, in its own transaction, until the end of the block."""
    done = threading.Event()
    failed = []

    def write():
        try:
            with pair.connect() as connection:
                while not done.is_set():
                    for statement in statements:
                        connection.execute(statement)
        except Exception as error:  # noqa: BLE001 - told below
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join()
    assert not failed, failed


@pytest.mark.postgres
def test_finds_and_mends(pair):
    """Every plant is found, by its key, alone; all together are mended."""
    pair.execute(TABLES)
    follow(pair)
    verify(pair, code=0)
    for name, (plant, table, words) in PLANTS.items():
        pair.mirror.into.execute(plant)
        text = verify(pair, code=1)
        assert [line.split()[1] for line in text.splitlines() if line.startswith("DIFFERS")] == [table], (name, text)
        assert all(word in text for word in words), (name, text)
        text = verify(pair, "--repair", code=0)
        assert any(line.startswith("mended") and table in line for line in text.splitlines()), (name, text)
    for plant, *_ in PLANTS.values():
        pair.mirror.into.execute(plant)
    report = json.loads(verify(pair, "--repair", "--json", code=0))
    assert report["equal"] and report["error"] is None
    mended = {table["table"]: [table[key] for key in ("inserted", "updated", "deleted")] for table in report["tables"]}
    assert mended["public.keyed"] == [0, 2, 0]
    assert mended["public.two_keys"] == [1, 0, 1]
    assert mended["public.large"] == [0, 1, 0]
    assert verify(pair, code=0).count("equal  ") == 4
    pair.settle()


@pytest.mark.postgres
@pytest.mark.parametrize("versions", [(13, 18), (18, 13)], ids=["13_to_18", "18_to_13"])
def test_very_wide_rows_between_versions(pair_on, versions):
    """More columns than a function takes arguments. (That no type differs falsely, test_postgres_target shows.)"""
    pair = pair_on(*versions)
    columns = ", ".join(f"c{i} {kind}" for i, kind in enumerate(["int", "text", "timestamptz", "float8"] * 40))
    pair.execute(f"CREATE TABLE wide ({columns}); INSERT INTO wide DEFAULT VALUES;"
                 "INSERT INTO wide (c0, c1, c77, c159) VALUES (1, 'x', 'y', 0.1), (2, 'x', NULL, '-0')")
    follow(pair)
    verify(pair, code=0)
    for column, value in (("c156", "0"), ("c157", "''"), ("c158", "now()"), ("c159", "0.0")):
        pair.mirror.into.execute(f"UPDATE wide SET {column} = {value} WHERE c0 = 2")
        assert "mended   public.wide" in verify(pair, "--repair", code=0)
    pair.settle()


@pytest.mark.postgres
def test_target_with_columns_of_its_own(pair):
    """In another order, of wider types; its own columns keep their values where a row is mended."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, c char(4), v varchar(9), n int);"
                 "INSERT INTO t SELECT i, i::text, 'v' || i, i FROM generate_series(1, 200) i")
    pair.mirror.into.execute("CREATE TABLE t (mine text DEFAULT 'mine', n bigint, v text, id bigint PRIMARY KEY,"
                             " c text)")
    pair.mirror.configure(schema="expect")
    follow(pair)
    verify(pair, code=0)
    pair.mirror.into.execute("UPDATE t SET mine = 'kept ' || id; UPDATE t SET c = trim(c) WHERE id = 9;"
                             "UPDATE t SET v = v || '!' WHERE id = 10; DELETE FROM t WHERE id = 11;"
                             "UPDATE t SET id = 1000000000000 WHERE id = 12")
    assert "id=9" in verify(pair, code=1)
    verify(pair, "--repair", code=0)
    assert pair.mirror.into.query("SELECT mine FROM t WHERE id IN (9, 10, 11, 12) ORDER BY id") == [
        ("kept 9",), ("kept 10",), ("mine",), ("mine",)]
    pair.settle(extra={"public.t": ["mine"]})


@pytest.mark.postgres
def test_other_encoding(pair_on, own_cluster):
    """Where bytes differ though texts do not, rows are compared here instead of there."""
    pair = pair_on()
    server = pair.mirror.into.cluster
    server.drop_database(pair.mirror.into.database)
    server.execute(f"CREATE DATABASE {pair.mirror.into.database} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
                   " TEMPLATE template0")
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'ä' || i FROM"
                 " generate_series(1, 100) i")
    follow(pair)
    verify(pair, code=0)
    pair.mirror.into.execute("UPDATE t SET v = 'o' WHERE id = 7; DELETE FROM t WHERE id = 8")
    assert "id=7" in verify(pair, code=1)
    verify(pair, "--repair", code=0)


@pytest.mark.postgres
def test_under_writes(pair):
    """Writes that go on make no difference, and repairing undoes none of them."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v bigint, note text); CREATE TABLE log (v bigint, note text);"
                 "INSERT INTO t SELECT i, 0, 'n' FROM generate_series(1, 2000) i;"
                 "INSERT INTO log SELECT i % 40, 'n' FROM generate_series(1, 400) i; CREATE SEQUENCE turn;"
                 "ALTER TABLE log REPLICA IDENTITY FULL")
    follow(pair)
    target = pair.mirror.into
    with writing(pair, "UPDATE t SET v = v + 1 WHERE id % 20 = nextval('turn') % 20",
                 "INSERT INTO log VALUES (nextval('turn') % 40, 'n')",
                 "DELETE FROM t WHERE id = 1 + nextval('turn') % 50; INSERT INTO t SELECT i, 7, 'back' FROM"
                 " generate_series(1, 50) i ON CONFLICT DO NOTHING"):
        for _ in range(3):
            verify(pair, code=0)
        for step in range(4):
            # The stream goes on changing the very rows that are damaged, but not what is damaged of them. One row at a
            # time: many in one transaction and the stream would wait for each other.
            target.execute(f"DO $$ BEGIN FOR n IN 0..399 LOOP UPDATE t SET note = 'damaged' WHERE id = n * 5 + {step};"
                           " COMMIT; END LOOP; END $$")
            target.execute("INSERT INTO log VALUES (-1, 'ghost');"
                           "INSERT INTO t SELECT i, -1, 'ghost' FROM generate_series(9001, 9030) i")
            verify(pair, "--repair", code=0)
            assert target.value("(SELECT count(*) FROM t WHERE note IN ('damaged', 'ghost'))") == "0"
    assert pair.mirror.status()["reconnects"] == 0
    pair.settle()


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_repair(shop, running):
    """Of any target, with a running tailrace and with none."""
    shop.execute(TABLES)
    follow(shop)
    shop.mirror.stop()
    with shop.mirror.opened(writable=True) as mirror:
        mirror.query("UPDATE public.keyed SET body = 'other' WHERE id = 5")
        mirror.query("DELETE FROM public.two_keys WHERE b = 17")
        mirror.query("DELETE FROM public.keyless WHERE a = 5")
        mirror.query("INSERT INTO public.large VALUES (99, 'ghost', '')")
    shop.execute("UPDATE keyed SET n = 0.50 WHERE id = 6")
    if running:
        follow(shop)
    text = verify(shop, "--repair", code=0)
    assert text.count("mended  ") == 4, text
    assert "12 inserted" in text
    if not running:
        follow(shop)
    shop.verified()
    shop.settle()


@pytest.mark.postgres
@pytest.mark.parametrize("on_error", ["stop", "quarantine"])
def test_what_cannot_be_mended(pair, on_error):
    """A constraint that only the target has: it says which, and the stream goes on. It is no change of the source's, so
    it is nothing to be kept in quarantine."""
    pair.mirror.configure(on_error=on_error)
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)")
    follow(pair)
    pair.mirror.into.execute("DELETE FROM t WHERE id = 2; ALTER TABLE t ADD CONSTRAINT not_two CHECK (v <> 2)")
    outcome = run("verify", "-c", pair.mirror.config, "--repair")
    assert outcome.returncode == 3, outcome.stdout + outcome.stderr
    assert "not_two" in outcome.stderr and "public.t" in outcome.stderr
    pair.execute("INSERT INTO t VALUES (4, 4)")
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.into.execute("ALTER TABLE t DROP CONSTRAINT not_two")
    verify(pair, "--repair", code=0)
    pair.settle()


@pytest.mark.postgres
def test_mended_whoever_wrote_it(pair_on, own_cluster):
    """What a policy says of the source's changes is not said of what is mended."""
    pair = pair_on(15, own_cluster(15, track_commit_timestamp="on"))
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1), (2, 2)")
    pair.mirror.configure(conflicts={"policy": "keep_local"})
    follow(pair)
    pair.mirror.into.execute("UPDATE t SET v = 7 WHERE id = 1")
    assert "mended" in verify(pair, "--repair", code=0)
    pair.settle()


@pytest.mark.postgres
@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_chosen_tables(pair, running):
    """-t chooses what is compared and mended; what is followed stays as it is."""
    pair.execute(TABLES)
    follow(pair)
    published = "SELECT coalesce(string_agg(tablename, ' ' ORDER BY 1), '') FROM pg_publication_tables"
    before = pair.value(published)
    pair.mirror.into.execute("DELETE FROM keyed WHERE id = 1; DELETE FROM keyless WHERE a = 1")
    if not running:
        pair.mirror.stop()
    compared = verify(pair, "-t", "public.key*", "-t", "!public.keyless", "--repair", code=0)
    assert "public.keyed" in compared and "1 table compared" in compared
    outcome = run("verify", "-c", pair.mirror.config, "-t", "public.nothing")
    assert outcome.returncode == 3 and "no table that is followed" in outcome.stderr, outcome.stdout + outcome.stderr
    assert pair.value(published) == before
    compared = verify(pair, code=1)
    assert compared.count("DIFFERS") == 1 and "public.keyless" in compared


@pytest.mark.postgres
@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_continuous(pair, tmp_path, running):
    """A difference that comes later is reported when it is found, and the watch goes on."""
    pair.execute(TABLES)
    follow(pair)
    if not running:
        pair.mirror.stop()
    output = tmp_path / "continuous.txt"
    with open(output, "wb") as out:
        process = subprocess.Popen([BINARY, "verify", "-c", pair.mirror.config, "--continuous", "--rate", "100000"],
                                   stdout=out, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: "round 1: 4 tables, 5,920 rows, 0 with" in output.read_text(),
                   what=lambda: f"a first round; {output.read_text()}")
        pair.mirror.into.execute(PLANTS["one_byte"][0])
        wait_until(lambda: "id=410" in output.read_text(), what=lambda: f"the difference; {output.read_text()}")
        rounds = output.read_text().count("round ")
        wait_until(lambda: output.read_text().count("round ") > rounds, what="one more round")
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 1, output.read_text()
    wait_until(lambda: not pair.value("SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE '%verify%'"),
               what="the slots to go")


@pytest.mark.postgres
@pytest.mark.parametrize("how, said", [("kill", ""), ("terminate", "it was stopped")])
def test_who_asked_hangs_up(pair, how, said):
    """The run does not go on waiting for what the comparison waited for, a transaction of somebody's at the source,
    and waits for it again when the next one asks. Who was stopped says so, and not that the run is stuck."""
    pair.execute(TABLES)
    follow(pair)
    waiting = ("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE_REPL%' AND state = 'active'"
               " AND datname = current_database()")
    with pair.connect(autocommit=False) as blocker:
        blocker.execute("SELECT pg_current_xact_id()")
        with subprocess.Popen([BINARY, "verify", "-c", pair.mirror.config], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True) as asking:
            wait_until(lambda: pair.value(waiting) == 1, what="a comparison that waits")
            getattr(asking, how)()
            words = asking.stderr.read()
            assert said in words and "stuck" not in words
            assert asking.wait() == {"kill": -9, "terminate": 3}[how]
        wait_until(lambda: pair.value(waiting) == 0, timeout=10, what="the server to give up")
        blocker.commit()
    assert "4 tables compared" in verify(pair, code=0)


def test_sigterm_while_rows_do_not_come(shop):
    """In the middle of a table the source says nothing more, and nothing of it."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY, v text);"
                 "INSERT INTO t SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 100000) i")
    with Proxy(shop.cluster.port) as proxy:
        shop.mirror.source = shop.cluster.url(shop.name, port=proxy.port)
        shop.mirror.configure()
        with shop.mirror:
            shop.mirror.wait_caught_up(shop.cluster)
            shop.mirror.stop()
        if shop.mirror.into.kind == "postgres":
            shop.mirror.into.execute("UPDATE t SET v = ''")
        before = proxy.forwarded
        with subprocess.Popen([BINARY, "verify", "-c", shop.mirror.config], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:
            wait_until(lambda: proxy.forwarded > before + 2_000_000, what="rows", poll=0.001)
            proxy.stall()
            process.terminate()
            try:
                assert process.wait(10 * PATIENCE) == 3, "it does not know"
            finally:
                process.kill()
        proxy.restore()
