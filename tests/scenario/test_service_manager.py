"""What a run tells systemd. Invariants: it is ready when it works and not before, however long that takes; the watchdog
hears of it as long as its own threads move, whoever keeps them waiting, and no longer; its end is announced."""
import configparser
import itertools
import json
import os
import signal
import socket
import subprocess
import time

import pytest

from tailrace import BINARY, REPOSITORY
from waiting import PATIENCE, wait_until
from watching import Watching

START = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 100) i"
WATCHDOG = 2  # seconds


class Manager:
    """The receiving end of $NOTIFY_SOCKET."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.socket.setblocking(False)
        self.env = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": str(WATCHDOG * 1_000_000)}
        self.heard = []  # (when, line)

    def listen(self):
        while True:
            try:
                datagram = self.socket.recv(65536)
            except BlockingIOError:
                return self.heard
            self.heard += [(time.monotonic(), line) for line in datagram.decode().splitlines()]

    def said(self, what):
        """When it came first."""
        return next((when for when, line in self.listen() if line.startswith(what)), None)

    def wait_for(self, what, timeout=60):
        wait_until(lambda: self.said(what), timeout, lambda: f"{what}, after {self.heard[-5:]}")

    def now(self):
        """What came until now came before."""
        self.listen()
        return time.monotonic()

    def since(self, when, what):
        return [line for at, line in self.listen() if at > when and line.startswith(what)]


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else f"@tailrace-test-{os.getpid()}")
    yield manager
    manager.socket.close()


@pytest.fixture
def managed(shop, tmp_path):
    shop.manager = Manager(str(tmp_path / "notify"))
    shop.mirror.env.update(shop.manager.env)
    shop.execute(START)
    yield shop
    shop.manager.socket.close()


def test_a_start_and_an_end_are_told(shop, manager):
    shop.execute(START)
    shop.mirror.env.update(manager.env)
    shop.mirror.start()
    manager.wait_for("READY=1")
    manager.wait_for("STATUS=streaming: ")
    assert len(manager.since(0, "READY=1")) == 1
    shop.mirror.stop()
    manager.wait_for("STOPPING=1")
    assert len(manager.since(0, "STOPPING=1")) == 1


def test_until_it_works_it_asks_for_time(managed):
    """A slot is made only when the transactions that run have ended."""
    with managed.connect(autocommit=False) as other:
        other.execute("INSERT INTO t VALUES (1000, 'open')")
        managed.mirror.start()
        managed.manager.wait_for("EXTEND_TIMEOUT_USEC=")
        managed.manager.wait_for("WATCHDOG=1")
        heard = managed.manager.now()
        wait_until(lambda: len(managed.manager.since(heard, "WATCHDOG=1")) >= 2, what="more signs of life")
        assert managed.manager.said("READY=1") is None
        other.rollback()
    managed.manager.wait_for("READY=1")
    ready = managed.manager.said("READY=1")
    managed.mirror.wait_caught_up(managed.cluster)
    assert not managed.manager.since(ready, "EXTEND_TIMEOUT_USEC=")


@pytest.mark.duckdb("the place where it is made to stand still is there")
def test_the_watchdog_hears_nothing_of_a_thread_that_is_stuck(managed):
    pages = Watching(managed.mirror)
    managed.mirror.configure(http=pages.port)
    managed.mirror.env["TAILRACE_STALL_POINT"] = "duckdb.commit.before:3"
    managed.mirror.start()
    managed.manager.wait_for("READY=1")
    rows = itertools.count(1000)
    wait_until(lambda: managed.execute(f"INSERT INTO t VALUES ({next(rows)}, 'one of them is stuck')")
               or "has stood still for" in managed.mirror.log_text(), poll=0.3, what="the standstill to be noticed")
    begun = managed.manager.now()
    assert pages.page("/healthz") == "alive\n", "a moment is no reason to restart"
    sentence = pages.wait_for("/healthz", 503, timeout=40 / PATIENCE + 20)
    assert sentence.startswith("the applier has stood still for 3")
    assert not managed.manager.since(begun, "WATCHDOG=1")
    managed.mirror.kill()


def test_the_watchdog_hears_of_one_who_waits_for_others(managed, pair):
    """A lock that somebody holds at the target for longer than the watchdog waits: a restart would not help."""
    pair.execute(START)
    pair.mirror.env.update(managed.manager.env)
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    with pair.mirror.opened() as into, pair.target_server.connect(pair.mirror.into.database, autocommit=False) as other:
        other.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        pair.execute("UPDATE t SET v = 'waits'")
        wait_until(lambda: into.query("SELECT 1 FROM pg_locks WHERE NOT granted"), what="it waits for the lock")
        begun = managed.manager.now()
        wait_until(lambda: len(managed.manager.since(begun, "WATCHDOG=1")) >= 8, what="signs of life")
        other.rollback()
    assert pair.settle() == 100


def test_the_watchdog_hears_of_one_whose_source_is_away(own_cluster, shop_on, managed):
    shop = shop_on(own_cluster())
    shop.execute(START)
    shop.mirror.env.update(managed.manager.env)
    shop.mirror.start()
    managed.manager.wait_for("READY=1")
    shop.mirror.wait_caught_up(shop.cluster)
    shop.cluster.stop("immediate")
    managed.manager.wait_for("STATUS=reconnecting: ")
    begun = managed.manager.now()
    wait_until(lambda: len(managed.manager.since(begun, "WATCHDOG=1")) >= 6, what="signs of life")
    shop.cluster.start()
    assert len(managed.manager.since(0, "READY=1")) == 1


class Supervisor:
    """What systemd does with the unit that is shipped, at a tenth of its times: Type=notify, WatchdogSec=,
    Restart=on-failure, RestartPreventExitStatus=, SuccessExitStatus=."""

    def __init__(self, mirror, manager):
        self.mirror = mirror
        self.manager = manager
        self.ends = []  # (exit code, whether the watchdog did it)
        unit = configparser.ConfigParser(strict=False)
        unit.read(REPOSITORY / "packaging/systemd/tailrace@.service")
        self.service = unit["Service"]
        assert (self.service["Type"], self.service["Restart"]) == ("notify", "on-failure")
        assert self.service.get("WatchdogSignal") is None, "SIGABRT"
        self.started = self._start()

    def _start(self):
        self.mirror.start()
        return self.manager.now()

    def watch(self):
        """Its duty of this moment. Whether the mirror runs."""
        silent = False
        if self.mirror.running():
            signs = [when for when, line in self.manager.listen() if line == "WATCHDOG=1" and when > self.started]
            ready = self.manager.since(self.started, "READY=1")
            silent = bool(ready) and time.monotonic() - max(signs, default=self.started) > WATCHDOG * PATIENCE
            if not silent:
                return True
            self.mirror.process.send_signal(signal.SIGABRT)
        code = self.mirror.process.wait(timeout=30)
        self.ends.append((code, silent))
        fine = [0, *map(int, self.service["SuccessExitStatus"].split())]
        if code in fine or code in map(int, self.service["RestartPreventExitStatus"].split()):
            return False
        self.mirror.env.pop("TAILRACE_STALL_POINT", None)  # it happens once
        self.started = self._start()
        return True


def found_by_every_command(shop):
    """As from cron, which knows nothing of whoever started it."""
    def bare(*arguments):
        return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=120, check=False, cwd="/",
                              env={"PATH": os.environ["PATH"], "TAILRACE_STATE": os.environ["TAILRACE_STATE"]})

    pid = shop.mirror.process.pid
    status = bare("status", "--name", shop.name, "--json")
    assert status.returncode == 0 and json.loads(status.stdout)["pid"] == pid, status
    listed = bare("list", "--json")
    assert [line["status"]["pid"] for line in json.loads(listed.stdout) if line["name"] == shop.name] == [pid], listed
    for command in (("verify", shop.mirror.target), ("refresh", "--name", shop.name),
                    ("skip", "--name", shop.name, "--lsn", "0/1"), ("replay", "--name", shop.name)):
        outcome = bare(*command)
        assert "not running" not in outcome.stderr and "nothing answers" not in outcome.stderr, outcome


def test_a_manager_keeps_it_going(managed, tmp_path):
    """It stands still, is killed, is stopped: the first two are mended, the last is respected. Every command finds the
    one that runs now."""
    mirror, manager = managed.mirror, managed.manager
    mirror.env.update({"TAILRACE_STALL_POINT": "duckdb.commit.before:3", "XDG_RUNTIME_DIR": str(tmp_path),
                       "HOME": str(tmp_path)})
    supervisor = Supervisor(mirror, manager)
    rows = itertools.count(1000)

    def restarted(times):
        def look():
            assert supervisor.watch()
            managed.execute(f"INSERT INTO t VALUES ({next(rows)}, 'goes on')")
            return len(supervisor.ends) == times and manager.since(supervisor.started, "READY=1")
        wait_until(look, timeout=90, poll=0.3, what=lambda: f"a restart, after {supervisor.ends}\n{mirror.tail()}")

    restarted(1)
    assert supervisor.ends == [(-signal.SIGABRT, True)]
    mirror.wait_caught_up(managed.cluster)
    found_by_every_command(managed)
    mirror.process.send_signal(signal.SIGKILL)
    restarted(2)
    assert supervisor.ends[-1] == (-signal.SIGKILL, False)
    mirror.wait_caught_up(managed.cluster)
    found_by_every_command(managed)
    mirror.process.send_signal(signal.SIGTERM)
    wait_until(lambda: not supervisor.watch(), what="its end to be taken as meant")
    assert supervisor.ends[-1] == (0, False)
    assert managed.compared() == 100 + next(rows) - 1000
