"""A running mirror is found by every process of its host that may ask it, however either was started; one that does
not run tells how old it is and why it ended."""
import contextlib
import json
import os
import pwd
import subprocess
from pathlib import Path

import pytest

from lsn import lsn
from tailrace import BINARY, run
from test_sockets import as_nobody, as_root, let_through
from waiting import wait_until

TABLE = "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)"
WHERE = ("HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "TAILRACE_STATE")


@pytest.fixture(autouse=True)
def one_table(shop):
    shop.execute(TABLE)


@pytest.fixture
def usual(monkeypatch):
    """Where mirrors note themselves by default."""
    monkeypatch.delenv("TAILRACE_STATE")


def bare(*arguments, **environment):
    """As from cron: nothing of the environment but a path."""
    return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False,
                          stdin=subprocess.DEVNULL, env={"PATH": os.environ["PATH"], **environment}, cwd="/")


def listed(name, **environment):
    outcome = bare("list", "--json", **environment)
    assert outcome.returncode == 0, outcome
    return [line for line in json.loads(outcome.stdout) if line["name"] == name]


def state_folder():
    return {"TAILRACE_STATE": os.environ["TAILRACE_STATE"]}


def test_another_environment(shop, usual, tmp_path):
    """Started by systemd, or in a session that is gone; asked from cron, by name or by target alone."""
    del usual
    shop.mirror.env = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    try:
        with shop.mirror:
            shop.mirror.wait_streaming()
            for arguments in ([shop.mirror.target], ["--name", shop.name], [shop.mirror.target, "--name", shop.name]):
                outcome = bare("status", *arguments, "--json")
                assert outcome.returncode == 0, f"{arguments}: {outcome}"
                assert json.loads(outcome.stdout)["name"] == shop.name
            [line] = listed(shop.name)
            assert line["running"] and line["status"]["pid"] == shop.mirror.process.pid
            outcome = bare("refresh", shop.mirror.target)
            assert (outcome.returncode, "1 tables are followed" in outcome.stdout) == (0, True), outcome
            assert bare("verify", shop.mirror.target).returncode == 0
            shop.mirror.stop()
    finally:
        assert bare("teardown", shop.url, shop.mirror.target, "--name", shop.name).returncode == 0
    assert not listed(shop.name), "teardown takes the note along"


def test_an_address_by_another_name(pair):
    """Nobody writes a target's URL twice alike."""
    pair.execute(TABLE)
    target = pair.mirror.target
    other = (target.replace("localhost", "127.0.0.1") if "localhost" in target else
             target.replace("127.0.0.1", "localhost")).replace("postgres://", "postgresql://") + "?connect_timeout=7"
    with pair.mirror:
        pair.mirror.wait_streaming()
        outcome = run("status", other)
        assert outcome.returncode == 0 and pair.name in outcome.stdout, outcome
        pair.mirror.stop()


def test_several_and_none(pair):
    """One that is not unambiguous is asked for; one that is not there comes with those that are."""
    pair.execute(TABLE + "; CREATE TABLE u (id int PRIMARY KEY)")
    pair.mirror.configure(tables=["public.t"])
    other = pair.another(name=f"{pair.name}_other", into=pair.mirror.into, tables=["public.u"])
    with pair.mirror, other:
        for mirror in (pair.mirror, other):
            mirror.wait_streaming()
        outcome = run("status", pair.mirror.target)
        assert outcome.returncode == 2, outcome
        assert f"--name {pair.name})" in outcome.stderr and f"--name {other.name})" in outcome.stderr, outcome
        outcome = run("status", "postgres://nobody@nowhere/x", "--name", "none")
        assert outcome.returncode == 1 and "how old it is is not known" in outcome.stderr, outcome
        assert pair.name in outcome.stdout + outcome.stderr, outcome
        for mirror in (pair.mirror, other):
            mirror.stop()


def test_the_wrong_name(shop, request):
    """Whoever answers in the place of another says who it is, and does nothing."""
    if request.config.getoption("--target") != "duckdb":
        pytest.skip("one file is one mirror; of a database there may be several")
    with shop.mirror:
        shop.mirror.wait_streaming()
        for command in ("status", "refresh", "verify"):
            outcome = run(command, shop.mirror.target, "--name", "other")
            assert outcome.returncode == 3, outcome
            assert f"this is the mirror '{shop.name}'" in outcome.stderr, outcome
        outcome = run("teardown", shop.url, shop.mirror.target, "--name", "other", "--stop")
        assert outcome.returncode == 3, outcome
        shop.mirror.wait_streaming()
        shop.mirror.stop()


def stopped(shop):
    outcome = run("status", *shop.mirror.named(), "--json")
    assert outcome.returncode == 1, outcome
    return json.loads(outcome.stdout), run("status", *shop.mirror.named()).stdout


def caught_up(shop):
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("INSERT INTO t VALUES (1000)")
    shop.mirror.wait_caught_up(shop.cluster)


def test_one_that_was_stopped(shop):
    caught_up(shop)
    shop.mirror.stop()
    status, text = stopped(shop)
    assert (status["state"], status["ended"]["how"]) == ("stopped", "in order"), status
    assert status["ended"]["at"] and status["last_commit_time"]
    assert "in order: asked to stop" in text and status["applied"] in text, text


@pytest.mark.parametrize("note", [True, False])
def test_one_that_was_killed(shop, note):
    """True after kill -9, and where the note is gone (a reboot, another host): the target's own books say it."""
    caught_up(shop)
    before = shop.mirror.status()
    shop.mirror.kill()
    if not note:
        for path in Path(os.environ["TAILRACE_STATE"]).glob("*.mirror"):
            if json.loads(path.read_text(encoding="utf-8"))["name"] == shop.name:
                path.unlink()
    status, text = stopped(shop)
    assert (status["state"], status["ended"]["how"]) == ("stopped", "not in order"), status
    assert lsn(status["applied"]) >= lsn(before["applied"]) and status["last_commit_time"], status
    assert ("it was killed" if note else "nothing on this host says how it ended") in text, text
    shop.mirror.start()
    shop.settle()


def test_one_that_failed(shop):
    caught_up(shop)
    shop.mirror.stop()
    shop.execute(f"SELECT pg_drop_replication_slot('{shop.name}')")
    shop.mirror.start()
    assert shop.mirror.wait_ended() == 3
    status, text = stopped(shop)
    assert (status["state"], status["ended"]["how"]) == ("failed", "failed"), status
    assert status["applied"] in text and status["last_commit_time"], status
    assert "does not exist any more" in status["message"] and "by a failure" in text, status


def test_nothing_is_known(shop, tmp_path):
    outcome = run("status", f"duckdb:{tmp_path}/none.duckdb", "--json")
    assert (outcome.returncode, outcome.stdout) == (1, "null\n"), outcome
    outcome = run("status", f"duckdb:{tmp_path}/none.duckdb")
    assert f"{tmp_path}/none.duckdb.tailrace.sock" in outcome.stdout, outcome
    assert shop.name not in outcome.stdout


@contextlib.contextmanager
def as_another_user(shop, tmp_path, home):
    """The mirror runs as nobody, as by a unit with User=, with a home of that user's."""
    nobody = pwd.getpwnam("nobody")
    let_through(tmp_path)
    os.chown(shop.mirror.directory, nobody.pw_uid, -1)
    os.chmod(shop.mirror.config, 0o644)
    with open(shop.mirror.log, "ab") as log:
        shop.mirror.process = subprocess.Popen([BINARY, "run", "-c", shop.mirror.config], stdout=log, stderr=log,
                                               stdin=subprocess.DEVNULL, **as_nobody(), cwd="/",
                                               env={"PATH": os.environ["PATH"], **home})
    try:
        shop.mirror.wait_status(lambda status: status["state"] == "streaming", what="streaming")
        yield
    finally:
        shop.mirror.close()


@as_root
def test_root_finds_another_users(shop, usual, tmp_path):
    """By the note in that user's own folder; and only that user's socket is believed."""
    del usual
    with as_another_user(shop, tmp_path, {}):
        [line] = listed(shop.name)
        assert line["running"] and line["user"] == "nobody", line
        outcome = bare("status", "--name", shop.name, "--json")
        assert outcome.returncode == 0 and json.loads(outcome.stdout)["state"] == "streaming", outcome
        assert "of user nobody" in outcome.stderr
        assert bare("refresh", shop.mirror.target, "--name", shop.name).returncode == 0
        shop.mirror.stop()
    [line] = listed(shop.name)
    assert not line["running"] and line["state"] == "stopped", line
    for path in Path(f"/tmp/tailrace-{pwd.getpwnam('nobody').pw_uid}").glob("*.mirror"):
        if json.loads(path.read_text(encoding="utf-8"))["name"] == shop.name:
            path.unlink()


@as_root
@pytest.mark.parametrize("how", ["link", "pipe", "another's file", "another's folder", "escape"])
def test_a_note_of_a_strangers(shop, usual, tmp_path, how):
    """Whoever puts something into a folder of his own gives himself no right, and keeps nobody from looking."""
    del usual
    nobody = pwd.getpwnam("nobody").pw_uid
    folder = Path(f"/tmp/tailrace-{nobody}")
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chown(folder, nobody, -1)
    secret = tmp_path / "secret.mirror"
    note = {"host": os.uname().nodename, "name": f"{shop.name}x\x1b[31m", "source": "s", "source_place": "s",
            "target": "postgres://x/y", "target_place": "x:5432/y", "slot": "s", "publications": ["p"], "pid": 1,
            "socket": "/nowhere.sock", "started_at": 1, "ended": False, "failed": False, "ended_at": 0, "reason": "",
            "position": 0, "commit_time": 0}
    secret.write_text(json.dumps(note), encoding="utf-8")
    path = folder / f"{shop.name}.mirror"
    try:
        if how == "link":
            path.symlink_to(secret)
        elif how == "pipe":
            os.mkfifo(path)
            os.chown(path, nobody, -1)
        else:
            path.write_text(json.dumps(note), encoding="utf-8")
            if how != "another's file":
                os.chown(path, nobody, -1)
            if how == "another's folder":
                folder.chmod(0o777)
        outcome = bare("list")
        assert outcome.returncode == 0, outcome
        assert (f"{shop.name}x" in outcome.stdout) == (how == "escape"), outcome
        assert "\x1b" not in outcome.stdout
    finally:
        folder.chmod(0o700)
        path.unlink()


def test_as_many_as_there_are(shop):
    """The table, too."""
    with shop.mirror:
        shop.mirror.wait_streaming()
        wait_until(lambda: any(line.startswith(f"{shop.name} ") and "streaming" in line
                               for line in run("list").stdout.splitlines()), what="a line of it")
        shop.mirror.stop()
