"""The control socket: nobody else can put one in its place, nobody else is answered or believed, and nobody who asks
can keep the process from ending."""
import contextlib
import json
import os
import pwd
import re
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tailrace import BINARY, run
from waiting import PATIENCE, wait_until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to act as")


@pytest.fixture(autouse=True)
def one_table(shop):
    shop.execute("CREATE TABLE first (id int)")


SQUATTER = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
listener.listen(50)
print("there", flush=True)
held = []
while True:
    client = listener.accept()[0]
    held.append(client)
    if len(sys.argv) > 2:
        client.recv(1000)
        client.sendall(sys.argv[2].encode() + b"\\n")
        client.close()
"""
# One that listens and accepts nobody, as many as ask: whoever connects waits.
DEAF = """
import os, signal, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
listener.listen(0)
held = []
while True:
    held.append(socket.socket(socket.AF_UNIX))
    held[-1].setblocking(False)
    try:
        held[-1].connect(sys.argv[1])
    except BlockingIOError:
        break
print("there", flush=True)
signal.pause()
"""
ASK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as client:
    client.connect(sys.argv[1])
    client.settimeout(5)
    try:
        client.sendall(b'{"command":"status"}\\n')
        print(client.recv(100000).decode())
    except ConnectionError:
        pass
"""


def as_nobody():
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def let_through(path):
    """Another user comes to what lies there: pytest's own folders, however many there are, are for nobody else."""
    for folder in (path, *path.parents):
        if folder.owner() == pwd.getpwuid(os.geteuid()).pw_name and folder != Path("/tmp"):
            with contextlib.suppress(PermissionError):
                folder.chmod(folder.stat().st_mode | 0o011)


@contextlib.contextmanager
def squatting(path, answer=None, how=SQUATTER):
    """Another user listens at the path."""
    with subprocess.Popen([sys.executable, "-c", how, path, *([answer] if answer else [])], text=True,
                          stdout=subprocess.PIPE, **as_nobody()) as process:
        try:
            assert process.stdout.readline() == "there\n"
            yield
        finally:
            process.kill()


@pytest.fixture
def shared(shop, tmp_path):
    """A folder that everybody may write to, as /tmp, with the mirror's file in it."""
    let_through(tmp_path)
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    if shop.mirror.into.kind == "duckdb":
        shop.mirror.into.file = folder / "mirror.duckdb"
        shop.mirror.into.url = f"duckdb:{shop.mirror.file}"
        shop.mirror.configure()
    return folder


def named(mirror, path):
    mirror.configure(control_socket=path)
    mirror.named = lambda: ["-c", mirror.config]


def listening(process):
    """Paths of the Unix sockets that a process listens on."""
    inodes = set()
    for fd in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.update(re.findall(r"^socket:\[(\d+)\]$", os.readlink(fd)))
    lines = [line.split() for line in Path("/proc/net/unix").read_text(encoding="utf-8").splitlines()[1:]]
    return [line[7] for line in lines if len(line) > 7 and line[6] in inodes and int(line[3], 16) & 0x10000]


def test_nobody_else_may_write_where_it_is(shop, shared):
    del shared
    with shop.mirror:
        shop.mirror.wait_streaming()
        [path] = listening(shop.mirror.process)
        folder = Path(path).parent
        info = folder.lstat()
        assert info.st_uid in (0, os.geteuid()) and info.st_mode & 0o022 == 0, f"{folder} {info.st_mode:o}"
        assert Path(path).stat().st_mode & 0o077 == 0
        outcome = run("status", *shop.mirror.named(), env={"XDG_RUNTIME_DIR": str(shop.directory)})
        assert outcome.returncode == 0, f"whoever asks may have another environment: {outcome}"


@as_root
@pytest.mark.duckdb("a PostgreSQL target's socket is in no folder of others")
@pytest.mark.parametrize("how", ["socket", "deaf", "file", "link"])
def test_a_squatter_keeps_it_from_nothing(shop, shared, how):
    shop.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    path = f"{shared}/mirror.duckdb.tailrace.sock"
    with contextlib.ExitStack() as stack:
        if how in ("socket", "deaf"):
            stack.enter_context(squatting(path, how=DEAF if how == "deaf" else SQUATTER))
        else:
            subprocess.run(["touch", path] if how == "file" else ["ln", "-s", "/etc/passwd", path], check=True,
                           **as_nobody())
        shop.mirror.start()
        wait_until(lambda: "streaming from" in shop.mirror.log_text(), timeout=20, what=shop.mirror.tail)
        shop.mirror.wait_caught_up(shop.cluster)
        shop.mirror.stop()
    assert shop.compared() == 1
    assert os.path.lexists(path), "what is another's stays"


@as_root
def test_root_does_not_believe_another_user(shop, tmp_path):
    """A status, and where another user's socket stands in a folder of that user's."""
    let_through(tmp_path)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, pwd.getpwnam("nobody").pw_uid, -1)
    with shop.mirror:
        shop.mirror.wait_streaming()
        answer = json.dumps({"ok": True, "status": shop.mirror.status()})
    with squatting(f"{theirs}/x.duckdb.tailrace.sock", answer):
        outcome = run("status", f"duckdb:{theirs}/x.duckdb")
    assert outcome.returncode == 3 and "another user" in outcome.stderr, outcome
    assert "streaming" not in outcome.stdout


@as_root
def test_another_user_is_not_answered(shop, shared):
    """Even where somebody opened the socket's mode."""
    path = f"{shared}/control.sock"
    named(shop.mirror, path)
    with shop.mirror:
        shop.mirror.wait_streaming()
        os.chmod(path, 0o777)
        outcome = subprocess.run([sys.executable, "-c", ASK, path], capture_output=True, text=True, timeout=60,
                                 **as_nobody())
        assert (outcome.returncode, outcome.stdout.strip()) == (0, ""), outcome
        assert shop.mirror.status()["state"] == "streaming"


@as_root
def test_its_folder_cannot_be_moved_away(shop, shared, tmp_path):
    """By whoever may write to the folder above: they would put their own in its place."""
    del shared
    above = tmp_path / "runtime"
    above.mkdir()
    above.chmod(0o777)
    with open(shop.mirror.log, "ab") as log:
        shop.mirror.process = subprocess.Popen([BINARY, "run", "-c", shop.mirror.config], stdout=log, stderr=log,
                                               stdin=subprocess.DEVNULL, **as_nobody(),
                                               env={**os.environ, "XDG_RUNTIME_DIR": str(above)})
    try:
        wait_until(lambda: "streaming from" in shop.mirror.log_text(), what=shop.mirror.tail)
        [path] = listening(shop.mirror.process)
        assert not path.startswith(str(above)), path
        shop.mirror.stop()
    finally:
        shop.mirror.close()


def ask(path, reads=False):
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    client.sendall(b'{"command":"status"}\n')
    if reads:
        client.settimeout(10)
        client.recv(1)
    return client


def test_who_does_not_read_keeps_it_from_nothing(shop):
    """More than a socket takes: 208 kB by default."""
    shop.execute("".join(f"CREATE TABLE {'t' * 50}{n} (id int);" for n in range(650)))
    shop.mirror.start()
    shop.mirror.wait_streaming()
    assert len(json.dumps(shop.mirror.status())) > 212992
    [path] = listening(shop.mirror.process)
    with ask(path), ask(path):
        wait_until(lambda: [line for line in Path("/proc/net/unix").read_text(encoding="utf-8").splitlines()
                            if line.endswith(path)], what="its socket")
        assert shop.mirror.status()["state"] == "streaming", "others are answered"
        shop.mirror.stop()


def awake(process):
    """Of each thread, the seconds in which it ran or waited for a processor: on a busy machine a loop gets few."""
    seconds = {}
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that ended meanwhile
            ran, waited, _ = (task / "schedstat").read_text(encoding="utf-8").split()
            seconds[task.name] = (int(ran) + int(waited)) / 1e9
    return seconds


def test_no_descriptor_for_who_asks(shop):
    with shop.mirror:
        shop.mirror.wait_streaming()
        [path] = listening(shop.mirror.process)
        pid = shop.mirror.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (4, before[1]))
        with ask(path):
            then, since = awake(shop.mirror.process), time.monotonic()
            wait_until(lambda: time.monotonic() - since > 2, what="seconds of waiting")
            passed = time.monotonic() - since
            used = max(seconds - then[thread] for thread, seconds in awake(shop.mirror.process).items()
                       if thread in then)
            assert used < 0.7 * passed, f"a busy loop: {used} s of {passed} s"
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        shop.mirror.wait_streaming()
        shop.mirror.stop()


def limit_threads(process, limits):
    subprocess.run(["prlimit", "--pid", str(process.pid), f"--nproc={limits}"], check=True, **as_nobody())


@as_root
def test_no_thread_for_who_asks(shop, tmp_path):
    """Root's own processes have no limit of threads."""
    let_through(tmp_path)
    os.chown(shop.mirror.directory, pwd.getpwnam("nobody").pw_uid, -1)
    named(shop.mirror, f"{shop.mirror.directory}/control.sock")
    with open(shop.mirror.log, "ab") as log:
        shop.mirror.process = subprocess.Popen([BINARY, "run", "-c", shop.mirror.config], stdout=log, stderr=log,
                                               stdin=subprocess.DEVNULL, **as_nobody())
    try:
        shop.mirror.wait_streaming()
        usual = resource.getrlimit(resource.RLIMIT_NPROC)[0]
        limit_threads(shop.mirror.process, "1:")
        with (contextlib.suppress(BrokenPipeError, ConnectionResetError),
              ask(f"{shop.mirror.directory}/control.sock") as client):
            client.settimeout(10 * PATIENCE)
            assert client.recv(10) == b""
        limit_threads(shop.mirror.process, f"{'unlimited' if usual == resource.RLIM_INFINITY else usual}:")
        assert shop.mirror.wait_streaming()["state"] == "streaming"
        shop.mirror.stop()
    finally:
        shop.mirror.close()
