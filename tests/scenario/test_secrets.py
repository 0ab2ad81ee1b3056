"""What must not be said aloud: passwords; and what must not be repeated as it is: what a terminal would obey."""
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from evil_server import EvilServer
from proxy import Proxy
from tailrace import BINARY, run
from waiting import wait_until

SECRET = "topsecret2"
STRINGS = [f"host=127.0.0.1 port=1 user=app password={SECRET} dbname=shop",
           f"host=127.0.0.1 port=1 user=app sslpassword={SECRET} dbname=shop",
           f"host=127.0.0.1 port=1 password='{SECRET}",
           f"postgres://app:{SECRET}@127.0.0.1:1/shop",
           f"postgresql://app@127.0.0.1:1/shop?password={SECRET}&connect_timeout=1",
           f"postgresql://app@127.0.0.1:1/shop?sslpassword={SECRET}&unknown=1",
           f"postgres://app:half@{SECRET}@127.0.0.1:1/shop",
           f"postgres://app:half/{SECRET}@127.0.0.1:1/shop",
           f"postgres://app:{SECRET}/half@127.0.0.1:1/shop",
           f"postgres//app:{SECRET}@127.0.0.1:1/shop",
           f"app:{SECRET}@127.0.0.1/shop",
           f"duckdb:host=127.0.0.1 password={SECRET}",
           f"mysql://app:{SECRET}@127.0.0.1/shop"]
GOOD = "postgres://postgres@127.0.0.1:1/none"


@pytest.mark.parametrize("string", STRINGS)
def test_no_password_in_an_error(string, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # one of the strings names a file
    config = tmp_path / "t.yaml"
    outcomes = []
    for command in ("check", "run", "verify", "status", "bogus"):
        outcomes += [run(command, string), run(command, GOOD, string), run(command, GOOD, GOOD, string),
                     run(command, f"--name={string}"), run(command, f"--unknown={string}")]
    for keys in ({"source": string}, {"target": string}, {"source": GOOD, "target": string}, {"sources": string},
                 {"source": GOOD, "target": f"duckdb:{tmp_path}/x.duckdb", "limits": string}):
        config.write_text("".join(f'{key}: "{value}"\n' for key, value in keys.items()), encoding="utf-8")
        outcomes += [run("run", "-c", config), run("config", "check", "-c", config), run("status", "-c", config)]
    for outcome in outcomes:
        assert SECRET not in outcome.stdout + outcome.stderr, outcome
        assert outcome.returncode in (0, 1, 2, 3, 5), outcome


ESCAPES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def clean(data):
    """No byte of it does anything but show."""
    text = data.decode("utf-8")
    assert not ESCAPES.search(text.replace("\r\n", "\n")), repr(text)
    return text


def with_terminal(*command):
    """What a command writes to a terminal; colours, which are ours, are off."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([BINARY, *command], stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL,
                          env={**os.environ, "NO_COLOR": "1", "TERM": "dumb"}) as process:
        os.close(theirs)
        data = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            data += part
        process.wait(60)
    os.close(ours)
    return data


@pytest.mark.parametrize("name", ["password_store", "my_password", "no password"])
def test_a_database_that_is_called_so(cluster, tmp_path, name):
    """By URL and by keywords; and a password that is mistaken for a name is still not told."""
    cluster.create_database(name)
    try:
        cluster.execute("CREATE TABLE t (id int PRIMARY KEY)", name)
        quoted = name.replace(" ", "%20")
        for source in (f"postgres://postgres@127.0.0.1:{cluster.port}/{quoted}",
                       f"host=127.0.0.1 port={cluster.port} user=postgres dbname='{name}'"):
            outcome = run("check", source, f"duckdb:{tmp_path / 'm.duckdb'}")
            assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    finally:
        cluster.drop_database(name)
    for secret in ("postgres://u@h/db password=topsecret", "postgres://u@h/db password = topsecret"):
        outcome = run("check", secret, f"duckdb:{tmp_path / 'm.duckdb'}")
        assert outcome.returncode == 2 and "topsecret" not in outcome.stdout + outcome.stderr


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_servers_escapes_in_an_error(shop, log_format):
    shop.execute("CREATE TABLE t (id int)")
    with EvilServer(shop.cluster.port, "answer", "escapes_in_error") as evil:
        url = f"postgres://postgres@127.0.0.1:{evil.port}/{shop.name}"
        shop.mirror.source = url
        shop.mirror.configure(log={"format": log_format})
        shop.mirror.start()
        shop.mirror.wait_ended()
        assert "end" in clean(Path(shop.mirror.log).read_bytes())
        assert "owned" in clean(with_terminal("check", url, shop.mirror.target))


def test_a_held_tables_name_and_an_unfinished_ones(pair):
    """In what verify says, and in the last line of a run."""
    name = "t\x1b]0;owned\x07\x9b31m\u202e"
    pair.mirror.configure(schema={"mode": "expect"})
    pair.execute("CREATE TABLE plain (id int PRIMARY KEY)")
    pair.mirror.into.execute("CREATE TABLE plain (id int PRIMARY KEY)")
    with pair.mirror as mirror:
        mirror.wait_caught_up(pair.cluster)
        pair.execute(f'CREATE TABLE "{name}" (id int PRIMARY KEY); INSERT INTO "{name}" VALUES (1)')
        run("refresh", *mirror.named())
        mirror.wait_status(lambda it: "held" in [table["state"] for table in it["tables"]], what="a held table")
        said = clean(with_terminal("verify", "-c", str(mirror.config)))
        assert "HELD" in said and "owned" in said
        mirror.stop()
    copied = pair.another()
    with Proxy(pair.cluster.port) as proxy:
        copied.source = pair.cluster.url(pair.name, port=proxy.port)
        copied.configure()
        proxy.stall_at(b'copy "public"."t\x1b')
        copied.start()
        wait_until(lambda: not proxy.flowing, what="the copy")
        copied.process.terminate()
        assert copied.wait_ended() == 6
    last = Path(copied.log).read_bytes().splitlines()[-1]
    assert "owned" in clean(last)


def test_a_name_that_a_terminal_would_obey(shop):
    name = "t\x1b]0;owned\x07\x9b31m\u202e"
    shop.execute(f'CREATE TABLE "{name}" (id int PRIMARY KEY); INSERT INTO "{name}" VALUES (1)')
    with shop.mirror:
        shop.mirror.wait_streaming()
        assert "owned" in clean(with_terminal("status", *map(str, shop.mirror.named())))
        assert "owned" in clean(with_terminal("verify", "-c", str(shop.mirror.config)))
        shop.mirror.stop()
    assert "owned" in clean(Path(shop.mirror.log).read_bytes())
    assert shop.compared() == 1, "the name itself is as it is at the source"


@pytest.mark.parametrize("arguments", [
    ["run", "-t", "postgres://u:S3cr3t@h/db", "duckdb:x"],
    ["run", "--memory", "postgres://u:S3cr3t@h/db", "duckdb:x"],
    ["run", "--memory", "host=h password=S3cr3t user=u", "duckdb:x"],
    ["skip", "--lsn", "postgres://u:S3cr3t@h/db"],
    ["run", "-c", "postgres://u:S3cr3t@h/db"],
    ["verify", "--rate", "postgres://u:S3cr3t@h/db"],
])
def test_a_password_in_the_wrong_place_is_not_repeated(arguments):
    outcome = run(*arguments)
    assert outcome.returncode not in (0, 4), outcome
    assert outcome.stderr and "S3cr3t" not in outcome.stdout + outcome.stderr, outcome


def test_a_table_before_the_source(shop):
    """An option takes the one word that follows it."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    outcome = run("snapshot", "-t", "public.t", shop.url, shop.mirror.target, "--name", shop.name)
    assert outcome.returncode == 0, outcome
