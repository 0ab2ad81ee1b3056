"""The commands beside `run`: what they print, what they leave behind, what never shows."""
import json
import re
import subprocess
from pathlib import Path

import pytest

from tailrace import BINARY, run
from waiting import wait_until

SETUP = """
CREATE TABLE customers (id int PRIMARY KEY, name text, balance numeric(10,2));
INSERT INTO customers SELECT i, 'c' || i, i * 1.5 FROM generate_series(1, 500) i;
CREATE TABLE log (at timestamptz DEFAULT now(), line text); INSERT INTO log (line) VALUES ('one')
"""
SECRET = "s3cr3t-hunter2"


@pytest.fixture
def filled(shop):
    shop.execute(SETUP)
    return shop


def traces(shop):
    """All that tailrace may have left in a source."""
    return (shop.value("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"),
            shop.value("SELECT count(*) FROM pg_publication"),
            shop.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'tailrace'"))


def test_help_and_version():
    outcome = run("--help")
    assert outcome.returncode == 0
    for command in ("run", "check", "init", "teardown", "snapshot", "status", "verify", "tail", "refresh",
                    "sync-sequences", "skip", "replay"):
        assert command in outcome.stdout
        assert run(command, "--help").returncode == 0
        said = run(command, "--help").stdout
        assert "Needs:" not in said and ":POSITIVE" not in said and ":INT" not in said, "words of the library's"
    assert "or another PostgreSQL" in outcome.stdout
    assert run("--version").returncode == 0
    assert run("no-such-command").returncode != 0


def test_check(filled):
    outcome = run("check", "-c", filled.mirror.config)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "wal_level" in outcome.stdout
    assert traces(filled) == (0, 0, 0)
    assert not filled.mirror.into.exists()


def test_check_finds_wal_level(own_cluster, shop_on):
    shop = shop_on(own_cluster(15, wal_level="replica"))
    shop.execute(SETUP)
    outcome = run("check", shop.url, shop.mirror.target)
    assert outcome.returncode != 0
    assert "wal_level" in outcome.stdout
    assert "ALTER SYSTEM SET wal_level" in outcome.stdout


def test_init_run_teardown(filled):
    for options, expected in (([], (0, 1)), (["--create-slot"], (1, 1))):
        for _ in ("first", "a second time, which is harmless"):
            outcome = run("init", "-c", filled.mirror.config, *options)
            assert outcome.returncode == 0, outcome.stderr
            assert traces(filled)[:2] == expected
    filled.execute("INSERT INTO log (line) VALUES ('between init and run')")
    filled.mirror.start()
    filled.mirror.wait_caught_up(filled.cluster)
    filled.settle()
    outcome = run("teardown", "-c", filled.mirror.config)
    assert outcome.returncode == 0, outcome.stderr
    assert traces(filled) == (0, 0, 0)
    assert run("teardown", "-c", filled.mirror.config).returncode == 0, "a second teardown is harmless"


def test_snapshot(filled):
    outcome = run("snapshot", filled.url, filled.mirror.target)
    assert outcome.returncode == 0, outcome.stderr
    assert filled.compared() == 501
    assert traces(filled)[0] == 0, "a snapshot leaves no slot"


WRONG = [("skip", "--lsn", "0/1"), ("skip", "--lsn", "0/1", "--forget"), ("replay",), ("verify",), ("sync-sequences",),
         ("refresh",), ("status",), ("teardown",)]


@pytest.mark.parametrize("command", WRONG, ids=" ".join)
def test_a_wrong_target_stays_as_it_is(pair, tmp_path, command):
    """Whatever is not to make a mirror makes nothing where there is none: a name that was mistyped."""
    pair.execute(SETUP)
    pair.execute(f"CREATE PUBLICATION {pair.name} FOR ALL TABLES")
    origins = f"SELECT count(*) FROM pg_replication_origin WHERE roname LIKE 'tailrace_{pair.name}%'"
    source = () if command[0] in ("refresh", "status") else (pair.url,)
    for target in (f"duckdb:{tmp_path}/typo.duckdb", pair.mirror.target):
        outcome = run(*command, *source, target, "--name", pair.name)
        assert outcome.returncode in ((0, 2) if command[0] in ("sync-sequences", "teardown") else (1, 2, 3)), outcome
        if command[0] in ("skip", "verify"):
            assert "follows nothing yet" in outcome.stderr, outcome
        assert not list(tmp_path.glob("typo*")), outcome
        assert not pair.mirror.into.exists(), outcome
        assert pair.mirror.into.cluster.value(origins) == 0, outcome
        assert traces(pair)[0] == 0, outcome


def test_status_json(filled):
    assert filled.mirror.status() is None, "nothing runs and there is no file"
    filled.mirror.start()
    filled.mirror.wait_caught_up(filled.cluster)
    filled.execute("UPDATE customers SET balance = 0 WHERE id <= 10; DELETE FROM customers WHERE id = 11;"
                   "INSERT INTO customers VALUES (1000, 'new', 1)")
    filled.mirror.wait_caught_up(filled.cluster)
    status = filled.mirror.status()
    assert status["state"] == "streaming"
    assert status["slot"] == filled.name
    assert status["pid"] == filled.mirror.process.pid
    assert status["server_version"] // 10000 == filled.cluster.version
    table = filled.mirror.table("public.customers")
    assert table["state"] == "streaming"
    assert table["rows_copied"] == 500
    assert (table["inserts"], table["updates"], table["deletes"]) == (1, 10, 1)
    # In step there is nothing to note, and nothing that it is behind by.
    status = filled.mirror.wait_status(lambda status: status["in_step"], what="in step")
    assert status["message"] == ""
    human = run("status", *filled.mirror.named())
    assert human.returncode == 0
    assert "customers" in human.stdout
    assert "in step" in human.stdout
    assert "behind" not in human.stdout and not re.search(r"^ *note\b", human.stdout, re.M), human.stdout
    filled.settle()


def test_lag_shows(filled):
    """What is not applied yet shows in received, applied and retained WAL."""
    filled.mirror.start()
    filled.mirror.wait_caught_up(filled.cluster)
    status = filled.mirror.wait_status(lambda status: status["lag_seconds"] == 0 and
                                       status["retained_wal_bytes"] is not None, what="no lag, and a look at the slot")
    assert status["retained_wal_bytes"] >= 0
    filled.settle()


def test_verify_finds_an_altered_row(filled):
    filled.mirror.start()
    filled.mirror.wait_caught_up(filled.cluster)
    assert filled.mirror.verify().returncode == 0
    filled.mirror.stop()
    with filled.mirror.opened(writable=True) as mirror:
        mirror.query("UPDATE public.customers SET balance = balance + 0.01 WHERE id = 77")
    filled.mirror.start()
    filled.mirror.wait_caught_up(filled.cluster)
    outcome = filled.mirror.verify()
    assert outcome.returncode != 0
    assert "customers" in outcome.stdout + outcome.stderr
    assert "77" in outcome.stdout + outcome.stderr, "the key of the row that differs"


@pytest.mark.parametrize("damage", ["DELETE FROM public.customers WHERE id = 5",
                                    "INSERT INTO public.customers VALUES (9999, 'ghost', 0)",
                                    "INSERT INTO public.log SELECT * FROM public.log",
                                    "UPDATE public.customers SET name = NULL WHERE id = 5"])
def test_verify_finds(filled, damage):
    filled.mirror.start()
    filled.mirror.wait_caught_up(filled.cluster)
    filled.mirror.stop()
    with filled.mirror.opened(writable=True) as mirror:
        mirror.query(damage)
    filled.mirror.start()
    filled.mirror.wait_caught_up(filled.cluster)
    assert filled.mirror.verify().returncode != 0


def test_tail(filled, tmp_path):
    """The decoded stream as JSON lines."""
    output = tmp_path / "tail.jsonl"
    with open(output, "wb") as out, open(tmp_path / "tail.err", "wb") as err:
        process = subprocess.Popen([BINARY, "tail", filled.url], stdout=out, stderr=err)
    try:
        wait_until(lambda: filled.value("SELECT count(*) FROM pg_replication_slots WHERE active"
                                        " AND database = current_database()"), what="tail to listen")
        filled.execute("INSERT INTO customers VALUES (1000, 'tailed 🐘', 1.50);"
                       "UPDATE customers SET balance = 2 WHERE id = 1000; DELETE FROM customers WHERE id = 1000")

        def whole_lines():
            return [line for line in output.read_text().splitlines(keepends=True) if line.endswith("\n")]

        wait_until(lambda: "delete" in "".join(whole_lines()), what=lambda: f"a delete; {whole_lines()}")
        events = [json.loads(line) for line in whole_lines()]
        assert any("tailed 🐘" in json.dumps(event, ensure_ascii=False) for event in events)
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0
    wait_until(lambda: traces(filled)[0] == 0, what="the temporary slot to go")


def test_secrets_never_show(filled):
    """A password is in the source's URL, and nowhere else: not in logs, status, errors, nor another user's ps."""
    filled.execute(f"ALTER ROLE postgres PASSWORD '{SECRET}'")
    url = filled.cluster.url(filled.name, password=SECRET)
    filled.mirror.source = url
    filled.mirror.into.use_password(SECRET)
    filled.mirror.configure(log={"level": "debug"})
    filled.mirror.start()
    filled.mirror.wait_caught_up(filled.cluster)
    shown = json.dumps(filled.mirror.status()) + run("status", *filled.mirror.named()).stdout
    shown += Path(f"/proc/{filled.mirror.process.pid}/cmdline").read_text()
    checked = run("check", url, filled.mirror.target)
    verified = run("verify", url, filled.mirror.target)
    shown += checked.stdout + checked.stderr + verified.stdout + verified.stderr
    filled.settle()
    shown += filled.mirror.log_text()
    assert filled.mirror.into.label in shown
    assert SECRET not in shown
    assert not filled.mirror.into.holds(SECRET)
    wrong = run("check", url.replace("127.0.0.1", "127.0.0.2:1,127.0.0.1").replace(filled.name, "nowhere"),
                filled.mirror.target)
    assert wrong.returncode != 0
    assert SECRET not in wrong.stdout + wrong.stderr


def test_password_on_the_command_line_is_wiped(filled):
    """Given as an argument, the password must not stay in /proc/PID/cmdline."""
    url = filled.cluster.url(filled.name, password=SECRET)
    filled.mirror.into.use_password(SECRET)
    filled.mirror.name = "tailrace"  # what it is called with nothing said
    filled.mirror.configure()
    with open(filled.mirror.log, "wb") as log:
        filled.mirror.process = subprocess.Popen([BINARY, "run", url, filled.mirror.target], stdout=log, stderr=log)
    filled.mirror.wait_streaming()
    cmdline = Path(f"/proc/{filled.mirror.process.pid}/cmdline").read_text()
    assert "run" in cmdline
    assert SECRET not in cmdline
    filled.mirror.stop()
    assert SECRET not in filled.mirror.log_text()


@pytest.mark.parametrize("text, place", [
    ("source: x\nno_such_key: 1\n", ":2:"), ("snapshot:\n  readers: many\n", ":2:"), ("tables: [unclosed\n", ":"),
], ids=["unknown-key", "wrong-value", "broken-yaml"])
def test_configuration_mistakes_have_a_place(tmp_path, text, place):
    config = tmp_path / "wrong.yaml"
    config.write_text(text)
    outcome = run("run", "-c", config)
    assert outcome.returncode != 0
    assert f"wrong.yaml{place}" in outcome.stderr


def test_config_check_says_how_it_connects(tmp_path):
    """All that a connection string says, but for its secrets."""
    config = tmp_path / "t.yaml"
    config.write_text(f"source: host=db dbname=shop user=app password={SECRET} sslmode=verify-full"
                      " sslrootcert=/ca.crt\n"
                      f"target: postgres://app:{SECRET}@new/shop?sslmode=require&options=-c%20work_mem%3D1MB\n"
                      "control_socket: /run/t.sock\nspool: /var/spool\n")
    outcome = run("config", "check", "-c", config)
    for line in ("source: postgres://app@db/shop?sslmode=verify-full&sslrootcert=/ca.crt",
                 "target: postgres://app@new/shop?options=-c%20work_mem%3D1MB&sslmode=require",
                 "control_socket: /run/t.sock", "spool: /var/spool"):
        assert line in outcome.stdout, outcome.stdout
    assert SECRET not in outcome.stdout
    again = tmp_path / "again.yaml"
    again.write_text(outcome.stdout)
    assert run("config", "check", "-c", again).stdout == outcome.stdout, "what it prints is a configuration"
    config.write_text("")
    assert run("config", "check", "-c", config).returncode == 0, "an empty one is one"


def test_json_log(filled):
    filled.mirror.configure(log={"format": "json"})
    filled.mirror.start()
    filled.mirror.wait_caught_up(filled.cluster)
    filled.mirror.stop()
    lines = [json.loads(line) for line in filled.mirror.log_text().splitlines()]
    assert lines
    for line in lines:
        assert list(line)[:4] == ["time", "level", "component", "message"]


def test_json_log_of_what_fails(filled):
    """Also the last word of a run is a line of the log, and says by itself what helps."""
    filled.mirror.configure(log={"format": "json"}, publication={"name": "missing", "create": False})
    filled.mirror.start()
    assert filled.mirror.wait_ended() == 3
    lines = [json.loads(line) for line in filled.mirror.log_text().splitlines()]
    last = lines[-1]
    assert (last["level"], last["component"], last["retry"]) == ("error", "tailrace", "needs_operator")
    assert "missing" in last["message"] and last["remedy"]


def test_json_log_of_a_table_that_is_held(pair):
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
    pair.mirror.configure(log={"format": "json"})
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.into.execute("ALTER TABLE t DROP n")
    wait_until(lambda: pair.execute("INSERT INTO t SELECT coalesce(max(id), 0) + 1, 1 FROM t")
               or '"table"' in pair.mirror.log_text(), what=pair.mirror.tail)
    held = [line for line in map(json.loads, pair.mirror.log_text().splitlines()) if "table" in line]
    assert (held[0]["component"], held[0]["table"]) == ("hold", "public.t")
