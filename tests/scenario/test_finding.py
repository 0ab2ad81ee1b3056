"""A running mirror is found by every process of its host that may ask it, however either was started; one that does
not run tells how old it is and why it ended."""
import contextlib
import fcntl
import json
import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lsn import lsn
from proxy import Proxy
from tailrace import BINARY, run
from test_sockets import as_nobody, as_root, let_through, squatting
from waiting import PATIENCE, wait_until

TABLE = "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)"
WHERE = ("HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "TAILRACE_STATE")


@pytest.fixture(autouse=True)
def one_table(shop):
    shop.execute(TABLE)


@pytest.fixture
def usual(monkeypatch):
    """Where mirrors note themselves by default."""
    monkeypatch.delenv("TAILRACE_STATE")


@pytest.fixture
def nobodys_folder():
    """Of the host, and so of one test at a time."""
    with open("/tmp/tailrace-tests.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def bare(*arguments, timeout=120, **environment):
    """As from cron: nothing of the environment but a path."""
    return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, check=False,
                          stdin=subprocess.DEVNULL, env={"PATH": os.environ["PATH"], **environment}, cwd="/")


def listed(name, **environment):
    outcome = bare("list", "--json", **environment)
    assert outcome.returncode == 0, outcome
    # Where mirrors usually are noted, notes of earlier tests may be, whose files are gone.
    return [line for line in json.loads(outcome.stdout) if line["name"] == name and
            ("TAILRACE_STATE" in environment or line["state"] != "file gone")]


def state_folder():
    return {"TAILRACE_STATE": os.environ["TAILRACE_STATE"]}


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_another_environment(shop_into, kind, usual, tmp_path):
    """Started by systemd, or in a session that is gone; asked from cron, by name or by target alone."""
    del usual
    shop = shop_into(kind)
    shop.execute(TABLE)
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
    assert (status["state"], status["ended"]["how"]) == ("stopped", "not in order" if note else "unknown"), status
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


@pytest.mark.parametrize("how", ["sigterm", "kill9"])
def test_one_whose_copy_was_interrupted(shop, how):
    """Its position is no claim for what was not copied."""
    shop.execute("CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (1)")
    with Proxy(shop.cluster.port) as proxy:
        shop.mirror.source = shop.cluster.url(shop.name, port=proxy.port)
        shop.mirror.configure(snapshot={"readers": 1})
        proxy.stall_at(b'copy "public"."u"')
        shop.mirror.start()
        wait_until(lambda: not proxy.flowing, what="the copy of u")
        shop.mirror.process.send_signal(signal.SIGTERM if how == "sigterm" else signal.SIGKILL)
        assert shop.mirror.wait_ended() == (6 if how == "sigterm" else -signal.SIGKILL)
        proxy.restore()
    shop.mirror.source = shop.url
    shop.mirror.configure()
    status, text = stopped(shop)
    assert status["ended"]["unfinished"] >= 1 and "of which not all rows are there" in text, text
    caught_up(shop)
    shop.mirror.stop()
    status, text = stopped(shop)
    assert status["ended"]["unfinished"] == 0 and "not all rows" not in text, text


def line_of(shop):
    """Its only one in `tailrace list`, as JSON and as text."""
    [line] = listed(shop.name, **state_folder())
    [text] = [text for text in run("list").stdout.splitlines() if text.startswith(f"{shop.name} ")]
    return line, text


def test_one_that_was_killed_and_runs_again(shop):
    """What its note said before is of no later run: the process, how it ended, and why."""
    caught_up(shop)
    killed = shop.mirror.process.pid
    shop.mirror.kill()
    assert line_of(shop)[0]["state"] == "killed"
    shop.mirror.start()
    shop.mirror.wait_streaming()
    line, text = line_of(shop)
    assert line["running"] and line["status"]["pid"] == shop.mirror.process.pid
    assert f" {shop.mirror.process.pid} " in text and f" {killed} " not in text, text
    shop.mirror.stop()
    status, text = stopped(shop)
    assert status["ended"]["how"] == "in order" and "in order: asked to stop" in text, text
    shop.mirror.start()
    shop.mirror.wait_streaming()
    shop.mirror.kill()
    active = f"SELECT active FROM pg_replication_slots WHERE slot_name = '{shop.name}'"
    wait_until(lambda: not shop.value(active), what="the slot to come free")
    shop.execute(f"SELECT pg_drop_replication_slot('{shop.name}')")
    shop.mirror.start()
    assert shop.mirror.wait_ended() == 3
    status, text = stopped(shop)
    assert status["ended"]["how"] == "failed" and "does not exist any more" in status["message"], status


DUCKDB = pytest.mark.duckdb("a database is asked, a file may be gone")


@DUCKDB
@pytest.mark.parametrize("killed", [False, True])
def test_a_file_that_is_not_there(shop, killed):
    """Its disk is not mounted: looks change nothing, and once it is back all is as before."""
    caught_up(shop)
    if killed:
        shop.mirror.kill()
    else:
        shop.mirror.stop()
    elsewhere = shop.directory / "elsewhere"
    shop.mirror.directory.rename(elsewhere)
    for _ in range(2):
        line, text = line_of(shop)
        assert (line["state"], line["running"]) == ("file gone", False) and "file gone" in text, text
        assert Path(line["note"]).exists() and str(shop.mirror.file) in text
        outcome = run("status", "--name", shop.name)
        assert outcome.returncode == 1 and "its file is not there" in outcome.stdout, outcome
        assert ("it was killed" if killed else "in order: asked to stop") in outcome.stdout, outcome
        assert not shop.mirror.file.exists()
    elsewhere.rename(shop.mirror.directory)
    assert line_of(shop)[0]["state"] == ("killed" if killed else "stopped")
    shop.mirror.start()
    shop.settle()


@DUCKDB
def test_a_file_that_was_moved(shop):
    """Why its run ended stays known; of the file in its new place nothing is guessed; a run there takes over."""
    caught_up(shop)
    there = shop.directory / "moved.duckdb"
    shop.mirror.file.rename(there)
    shop.execute("INSERT INTO t VALUES (1001)")
    assert shop.mirror.wait_ended() == 3
    with contextlib.suppress(FileNotFoundError):
        Path(f"{shop.mirror.file}.wal").rename(f"{there}.wal")
    for _ in range(2):
        outcome = run("status", "--name", shop.name, "--json")
        assert "was deleted, moved or replaced" in json.loads(outcome.stdout)["message"], outcome
    assert "was deleted, moved or replaced" in run("list").stdout
    outcome = run("status", f"duckdb:{there}", "--json")
    status = json.loads(outcome.stdout)
    assert (status["name"], status["slot"], status["ended"]["how"]) == ("", shop.name, "unknown"), status
    assert str(shop.mirror.file) in status["message"] and f"'{shop.name}'" in status["message"], status
    text = run("status", f"duckdb:{there}").stdout
    assert "tailrace tailrace" not in text and "ended    not known" in text and "not in order" not in text, text
    shop.mirror.into.file = there
    shop.mirror.into.url = f"duckdb:{there}"
    shop.mirror.configure()
    shop.mirror.start()
    shop.settle()
    assert line_of(shop)[0]["state"] == "stopped", "of the file that is gone there is no second line"


@DUCKDB
def test_teardown_of_a_file_that_is_gone(shop):
    """By the name alone."""
    caught_up(shop)
    shop.mirror.stop()
    shop.mirror.file.unlink()
    outcome = run("teardown", "--name", shop.name)
    assert outcome.returncode == 0 and "the file is not there" in outcome.stdout, outcome
    assert shop.value("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") == 0
    assert shop.value("SELECT count(*) FROM pg_publication") == 0
    assert not listed(shop.name, **state_folder())


def test_stopped_before_its_copy_began(shop):
    """What it made by then is somewhere, so it is known."""
    with shop.connect(autocommit=False) as holder:
        holder.execute("SELECT pg_current_xact_id()")
        shop.mirror.start()
        wait_until(lambda: (shop.mirror.polled() or {}).get("waiting_for"), what=shop.mirror.tail)
        shop.mirror.stop(unfinished=True)
        holder.rollback()
    assert line_of(shop)[0]["state"] == "stopped"
    assert run("teardown", "--name", shop.name).returncode == 0
    assert shop.value("SELECT count(*) FROM pg_publication") == 0
    assert not listed(shop.name, **state_folder())


@pytest.mark.parametrize("said", ["name", "target", "source and name"])
def test_teardown_finds_as_status_does(shop, said):
    caught_up(shop)
    arguments = {"name": ["--name", shop.name], "target": [shop.mirror.target],
                 "source and name": [shop.url, "--name", shop.name]}[said]
    if said == "target" and shop.mirror.into.kind == "postgres":
        pytest.skip("a connection string said alone is a source")
    outcome = run("teardown", *arguments)
    assert outcome.returncode == 3 and "--stop" in outcome.stderr, outcome
    assert shop.mirror.running() and shop.value("SELECT count(*) FROM pg_publication") == 1
    outcome = run("teardown", *arguments, "--stop")
    assert outcome.returncode == 0, outcome
    assert shop.mirror.wait_ended() == 0
    assert shop.value("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") == 0
    assert shop.value("SELECT count(*) FROM pg_publication") == 0
    assert not listed(shop.name, **state_folder())


def test_teardown_of_nobody(shop):
    outcome = run("teardown", "--name", f"{shop.name}_none")
    assert outcome.returncode == 2 and "say SOURCE and TARGET" in outcome.stderr, outcome
    outcome = run("teardown")
    assert outcome.returncode == 2 and "source: is missing" in outcome.stderr, outcome


def test_teardown_of_a_running_one_whose_source_is_away(own_cluster, pair_on):
    """No slot tells there that it runs: without its books it would be lost when the source is back."""
    pair = pair_on(own_cluster(15))
    pair.execute(TABLE)
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.cluster.stop()
    pair.mirror.wait_status(lambda status: status["state"] == "reconnecting", what="reconnecting")
    outcome = run("teardown", pair.url, pair.mirror.target, "--name", pair.name)
    assert outcome.returncode == 3 and "runs (process" in outcome.stderr and "--stop" in outcome.stderr, outcome
    assert pair.mirror.into.value("(SELECT count(*) FROM tailrace.checkpoint)") == "1"
    pair.cluster.start()
    pair.execute("INSERT INTO t VALUES (1000)")
    assert pair.settle() == 101


def test_a_second_one_by_another_spelling(pair, tmp_path):
    """Of the same mirror: refused at once, by what its host knows or, where that knows nothing, by the target."""
    pair.execute(TABLE)
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    (tmp_path / "another_host").mkdir()
    for n, env in enumerate(({}, {"TAILRACE_STATE": str(tmp_path / "another_host")})):
        second = pair.another(name=pair.name, into=pair.mirror.into, control_socket=f"{tmp_path}/{n}.sock")
        second.env = env
        second.start()
        assert second.wait_ended() == 3, second.tail()
        assert "another tailrace" in second.log_text() and "trying again" not in second.log_text(), second.tail()
        assert pair.mirror.running()
    assert line_of(pair)[0]["running"]
    pair.settle()


def test_nothing_is_known(shop, tmp_path):
    outcome = run("status", f"duckdb:{tmp_path}/none.duckdb", "--json")
    assert (outcome.returncode, outcome.stdout) == (1, "null\n"), outcome
    outcome = run("status", f"duckdb:{tmp_path}/none.duckdb")
    assert outcome.stdout.count(f"{tmp_path}/none.duckdb.tailrace.sock") == 1, outcome
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
def test_root_finds_another_users(shop, usual, nobodys_folder, tmp_path):
    """By the note in that user's own folder; and only that user's socket is believed."""
    del usual, nobodys_folder
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
def test_a_note_of_a_strangers(shop, usual, nobodys_folder, tmp_path, how):
    """Whoever puts something into a folder of his own gives himself no right, and keeps nobody from looking."""
    del usual, nobodys_folder
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


@as_root
def test_many_silent_ones_of_a_strangers(shop, usual, nobodys_folder, tmp_path):
    """Whoever fills a folder of his own keeps root from nothing, and none of them runs."""
    del usual, nobodys_folder
    nobody = pwd.getpwnam("nobody").pw_uid
    folder = Path(f"/tmp/tailrace-{nobody}")
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chown(folder, nobody, -1)
    let_through(tmp_path)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, nobody, -1)
    notes = []
    try:
        with squatting(f"{theirs}/silent.sock"):
            for n in range(60):
                target = "duckdb:/etc/passwd" if n % 2 else f"postgres://x/{n}"
                notes.append(folder / f"{shop.name}_{n}.mirror")
                notes[-1].write_text(json.dumps(
                    {"host": os.uname().nodename, "name": f"{shop.name}_{n}", "source": "s", "source_place": "s",
                     "target": target, "target_place": target, "slot": "s", "publications": ["p"], "pid": 1,
                     "socket": f"{theirs}/silent.sock", "started_at": 1, "ended": False, "failed": False,
                     "ended_at": 0, "reason": "", "position": 0, "commit_time": 0}), encoding="utf-8")
                os.chown(notes[-1], nobody, -1)
            lines = [line for line in json.loads(bare("list", "--json", timeout=30 * PATIENCE).stdout)
                     if line["name"].startswith(f"{shop.name}_")]
            assert len(lines) == 30, "none of a file that is not that user's"
            assert {(line["state"], line["running"]) for line in lines} == {("no answer", False)}, lines
            outcome = bare("status", f"duckdb:{tmp_path}/none.duckdb", timeout=30 * PATIENCE)
            assert f"{shop.name}_" not in outcome.stdout + outcome.stderr, outcome
    finally:
        for note in notes:
            note.unlink()


@as_root
@pytest.mark.duckdb("a PostgreSQL target's socket is in no folder of others")
def test_another_users_mirror(shop, tmp_path):
    """Whoever may not ask it learns whose it is, and not that he should change permissions."""
    let_through(tmp_path)
    with shop.mirror:
        shop.mirror.wait_streaming()
        outcome = subprocess.run([BINARY, "status", shop.mirror.target], capture_output=True, text=True, timeout=60,
                                 check=False, cwd="/", env={"PATH": os.environ["PATH"]}, **as_nobody())
        assert outcome.returncode == 3 and "is user root's" in outcome.stderr and "sudo" in outcome.stderr, outcome
        assert "permissions" not in outcome.stderr
        shop.mirror.stop()


def test_one_that_runs_on_another_host(pair, tmp_path):
    """Neither note nor socket of it is here, and its target's server knows that somebody is at work."""
    pair.execute(TABLE)
    pair.mirror.configure(control_socket=str(tmp_path / "there.sock"))
    pair.mirror.start()
    pair.mirror.wait_streaming()
    for more in ([], ["--json"]):
        outcome = bare("status", pair.mirror.target, "--name", pair.name, *more,
                       TAILRACE_STATE=str(tmp_path / "elsewhere"))
        assert outcome.returncode == 3 and not outcome.stdout, outcome
        assert "runs, as another user or on another host (server process" in outcome.stderr, outcome
    pair.mirror.stop()
    outcome = bare("status", pair.mirror.target, "--name", pair.name,
                   TAILRACE_STATE=str(tmp_path / "elsewhere"))
    assert outcome.returncode == 1 and "not running" in outcome.stdout, outcome


def test_a_state_folder_that_is_of_no_use(shop):
    """It is said where it is set, and where mirrors are looked for."""
    shop.mirror.env = {"TAILRACE_STATE": "relative"}
    with shop.mirror:
        shop.mirror.wait_streaming()
        shop.mirror.stop()
    assert "TAILRACE_STATE is not used: 'relative' is no absolute path" in shop.mirror.log_text()
    assert "no absolute path" in run("list", env=shop.mirror.env).stderr
    assert run("teardown", "-c", shop.mirror.config, env=shop.mirror.env).returncode == 0


def test_as_many_as_there_are(shop):
    """The table, too."""
    with shop.mirror:
        shop.mirror.wait_streaming()
        wait_until(lambda: any(line.startswith(f"{shop.name} ") and "streaming" in line
                               for line in run("list").stdout.splitlines()), what="a line of it")
        shop.mirror.stop()


@pytest.mark.duckdb("a file")
def test_an_older_file_in_its_place(shop, tmp_path):
    """What it has is the file's own word, whatever the mirror knew when it ended."""
    copy = tmp_path / "older.duckdb"
    with shop.mirror:
        shop.mirror.wait_caught_up(shop.cluster)
        shop.mirror.stop()
    shutil.copy2(shop.mirror.file, copy)
    older = int(shop.mirror.into.value("(SELECT CAST(lsn AS varchar) FROM tailrace.checkpoint)"))
    shop.execute("INSERT INTO t SELECT generate_series(1000, 2000)")
    with shop.mirror:
        shop.mirror.wait_caught_up(shop.cluster)
        shop.mirror.stop()
    # A file that is written while it is closed is no other one.
    wait_until(lambda: time.time() > os.stat(shop.mirror.file).st_ctime + 3, what="later than its end")
    os.replace(copy, shop.mirror.file)
    for code in (None, 3):
        if code is not None:
            shop.mirror.start()
            assert shop.mirror.wait_ended() == code, shop.mirror.tail()
        status = json.loads(run("status", shop.mirror.target, "--json").stdout)
        assert lsn(status["applied"]) == older, status
