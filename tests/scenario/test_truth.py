"""A status that is never untrue. Whatever breaks: `in_step` is not said while a commit of 2 s ago is missing or an end
does not answer, `lag_seconds` is never more than a second below the true age of what is missing, and positions do not
contradict each other. The truth is asked of both ends directly; the mirror reaches them through proxies that fail."""
import contextlib
import json
import os
import random
import signal
import threading
import time

import pytest

from control_socket import ControlSocket
from lsn import lsn
from proxy import Proxy
from tailrace import listening_at, run
from waiting import wait_until

PATIENCE = float(os.environ.get("TAILRACE_PATIENCE", "1"))
SEEDS = [int(seed) for seed in os.environ.get("TAILRACE_SEEDS", "1 2").split()]


class Writer:
    """Commits rows with the number of each, and notes when each was committed, and a position before it."""

    def __init__(self, shop, random_):
        self.shop, self.random = shop, random_
        self.commits = []  # (id, when it had been committed, a position before it)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        with self.shop.connect(autocommit=True) as connection:
            number = 0
            while not self._stop.is_set():
                kind = self.random.random()
                if kind < 0.6:
                    number += 1
                    before = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()[0]
                    connection.execute("INSERT INTO t VALUES (%s)", (number,))
                    self.commits.append((number, time.monotonic(), lsn(before)))
                elif kind < 0.8:
                    connection.execute("INSERT INTO unpublished VALUES (1)")
                self._stop.wait(self.random.choice((0.01, 0.05, 0.3, 1.5)))

    def stop(self):
        self._stop.set()
        self._thread.join(timeout=30)


class Sampler:
    """Asks for the status ten times a second, and what is in the target right afterwards."""

    def __init__(self, mirror, writer, applied):
        self.mirror, self.writer, self.applied = mirror, writer, applied
        self.away = None  # when an end stopped answering
        self.wrong = []
        self.count = self.in_step = self.behind = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        control = None
        while not self._stop.wait(0.1):
            if control is None:
                path = listening_at(self.mirror.process.pid)
                control = ControlSocket(path) if path else None
                continue
            commits = list(self.writer.commits)
            asked, away = time.monotonic(), self.away
            status = control.status()
            if status is None:
                control = None
                continue
            answered = time.monotonic()
            is_there = self.applied(status)
            self.judge(status, asked, away if away == self.away else None, answered, commits, is_there)

    def judge(self, status, asked, away, answered, commits, is_there):
        self.count += 1
        missing = [when for number, when, before in commits if not is_there(number, before)]
        age = asked - min(missing) if missing else 0
        self.behind += age > 2
        self.in_step += status["in_step"]
        told = f"{status['state']}, in_step {status['in_step']}, lag {status['lag_seconds']}, really {age:.2f} s"
        if status["in_step"] and age > 2 * PATIENCE:
            self.wrong.append(f"in step, {told}")
        if status["in_step"] and away and asked - away > 2 * PATIENCE:
            self.wrong.append(f"in step with an end away for {asked - away:.2f} s, {told}")
        if status["lag_seconds"] is not None and status["lag_seconds"] < age - 1 * PATIENCE:
            self.wrong.append(f"lag too small, {told}")
        if away and status["lag_seconds"] is not None and status["lag_seconds"] < asked - away - 1.5 * PATIENCE:
            self.wrong.append(f"lag does not grow while an end is away for {asked - away:.2f} s, {told}")
        if answered - asked > 1 * PATIENCE:
            self.wrong.append(f"status took {answered - asked:.2f} s, {told}")
        positions = [status[key] for key in ("acknowledged", "applied", "received", "source_lsn")]
        known = [lsn(position) for position in positions if position]
        if known != sorted(known):
            self.wrong.append(f"positions contradict each other: {positions}")

    def stop(self):
        self._stop.set()
        self._thread.join(timeout=30)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ("duckdb", "postgres"))
def test_status_in_outages(shop_into, kind, seed):
    shop = shop_into(kind)
    chance = random.Random(f"{kind} {seed}")
    shop.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE unpublished (id int)")
    into = shop.mirror.into
    with Proxy(shop.cluster.port) as source, Proxy(into.cluster.port if kind == "postgres" else 1) as target:
        shop.mirror.source = shop.cluster.url(shop.name, port=source.port)
        settings = {"tables": ["public.t"], "connect": {"timeout": "2s", "backoff_max": "2s"}}
        if kind == "postgres":
            settings["target"] = into.cluster.url(into.database, port=target.port)
        shop.mirror.configure(**settings)
        shop.mirror.start()
        shop.mirror.wait_streaming()
        link = into.cluster.connect(into.database, autocommit=True) if kind == "postgres" else None

        def applied(status):
            if link is not None:
                there = link.execute("SELECT coalesce(max(id), 0) FROM t").fetchone()[0]
                return lambda number, before: number <= there
            return lambda number, before: lsn(status["applied"] or "0/0") > before

        writer = Writer(shop, random.Random(chance.random()))
        sampler = Sampler(shop.mirror, writer, applied)
        proxies = [source] + ([target] if kind == "postgres" else [])
        try:
            for _ in range(4):
                time.sleep(chance.uniform(0.5, 2))
                proxy = chance.choice(proxies)
                chance.choice((proxy.stall, proxy.refuse))()
                sampler.away = time.monotonic()
                time.sleep(chance.uniform(0.2, 5))
                sampler.away = None
                proxy.restore()
                # What a stalled link holds comes at once; one that was cut is tried again after a moment.
                wait_until(lambda: (shop.mirror.polled() or {}).get("in_step"), timeout=60, what=shop.mirror.tail)
        finally:
            sampler.stop()
            writer.stop()
        assert not sampler.wrong, f"{len(sampler.wrong)} of {sampler.count}:\n" + "\n".join(sampler.wrong[:12])
        assert sampler.count > 50 and sampler.in_step and sampler.behind, "it was both"
        shop.settle(tables=["public.t"])


@pytest.mark.parametrize("kind", ("duckdb", "postgres"))
def test_an_idle_pair_is_in_step(shop_into, kind):
    """Nothing is published, and nothing is missing: it stays in step, and says so without a gap."""
    shop = shop_into(kind)
    shop.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE unpublished (id int)")
    shop.mirror.configure(tables=["public.t"])
    shop.mirror.start()
    shop.mirror.wait_status(lambda status: status["in_step"], what="in step")
    out = 0
    for number in range(40):
        shop.execute(f"INSERT INTO unpublished VALUES ({number})")
        time.sleep(0.1)
        out += not shop.mirror.polled()["in_step"]
    assert out <= 4


@pytest.mark.parametrize("kind", ("duckdb", "postgres"))
def test_a_start_with_much_to_catch_up(shop_into, kind):
    """From its first answer on: not in step before all is there that was committed before the start."""
    shop = shop_into(kind)
    shop.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    shop.mirror.start()
    shop.mirror.wait_status(lambda status: status["in_step"], what="in step")
    shop.mirror.stop()
    shop.execute("INSERT INTO t SELECT i, repeat('x', 500) FROM generate_series(1, 100000) i")
    end = lsn(shop.value("SELECT pg_current_wal_insert_lsn()"))
    shop.mirror.start()
    behind, status = 0, {"in_step": False}
    deadline = time.monotonic() + 60 * PATIENCE
    while not status["in_step"] and time.monotonic() < deadline:
        status = shop.mirror.polled() or status
        if status["in_step"]:
            break
        behind += "lag_seconds" in status
    assert status["in_step"] and lsn(status["applied"]) >= end, status
    assert behind, "it answered before"
    assert shop.settle() == 100000


def processes(cluster):
    """The server's, its first one first."""
    first = cluster.process.pid
    parents = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = open(f"/proc/{entry.name}/stat", encoding="utf-8", errors="replace").read()
                parents[int(entry.name)] = int(stat.rsplit(")", 1)[1].split()[1])
    return [first] + [pid for pid, parent in parents.items() if parent == first]


@contextlib.contextmanager
def stopped(cluster, how):
    """A server that crashes, or that stands still with all its connections open."""
    if how == "immediate":
        cluster.stop("immediate")
        yield
        cluster.start()
        return
    frozen = processes(cluster)
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("how", ("immediate", "frozen"))
@pytest.mark.parametrize("end", ("source", "target"))
def test_a_server_that_is_stopped(pair_on, own_cluster, end, how):
    """Not a line that is cut, but the server itself."""
    servers = {"source": own_cluster(), "target": own_cluster()}
    pair = pair_on(servers["source"], servers["target"])
    pair.execute("CREATE TABLE t (id int PRIMARY KEY)")
    pair.mirror.configure(connect={"timeout": "2s", "backoff_max": "1s"})
    pair.mirror.start()
    pair.mirror.wait_status(lambda status: status["in_step"], what="in step")
    control = ControlSocket(listening_at(pair.mirror.process.pid))
    with stopped(servers[end], how):
        since = time.monotonic()
        if end == "target":
            pair.execute("INSERT INTO t VALUES (1)")
        wait_until(lambda: not control.status()["in_step"], timeout=2, what="not in step")
        while (age := time.monotonic() - since) < 4:
            status = control.status()
            assert status is not None, pair.mirror.tail()
            if age > 2 * PATIENCE:
                assert not status["in_step"], (age, status)
            assert status["lag_seconds"] is None or status["lag_seconds"] > age - 1.5 * PATIENCE, (age, status)
            time.sleep(0.1)
    pair.mirror.wait_status(lambda status: status["in_step"], what="in step")
    pair.execute("INSERT INTO t VALUES (2)")
    assert pair.settle() == (2 if end == "target" else 1)


@pytest.mark.parametrize("kind", ("duckdb", "postgres"))
@pytest.mark.parametrize("meanwhile", ("cut off", "ended"))
def test_a_slot_that_is_gone(shop_into, kind, meanwhile):
    """Dropped while nobody reads it: from the moment the source is back it is never in step, and says why."""
    shop = shop_into(kind)
    shop.execute("CREATE TABLE t (id int PRIMARY KEY)")
    with Proxy(shop.cluster.port) as source:
        shop.mirror.source = shop.cluster.url(shop.name, port=source.port)
        shop.mirror.configure(connect={"backoff_max": "1s"})
        shop.mirror.start()
        shop.mirror.wait_status(lambda status: status["in_step"], what="in step")
        if meanwhile == "ended":
            shop.mirror.stop()
        source.refuse()
        wait_until(lambda: shop.value("SELECT NOT active FROM pg_replication_slots"
                                      f" WHERE slot_name = '{shop.name}'"), what="a free slot")
        shop.execute("INSERT INTO t VALUES (1)")
        shop.execute(f"SELECT pg_drop_replication_slot('{shop.name}')")
        if meanwhile == "cut off":
            shop.mirror.wait_status(lambda status: not status["in_step"], what="not in step")
        source.restore()
        if meanwhile == "ended":
            shop.mirror.start()
        control = None
        while shop.mirror.running():
            path = listening_at(shop.mirror.process.pid)
            control = control or (ControlSocket(path) if path else None)
            status = control.status() if control else None
            assert not status or not status["in_step"], status
            time.sleep(0.02)
        assert shop.mirror.wait_ended() == 3
        outcome = run("status", *shop.mirror.named(), "--json")
        status = json.loads(outcome.stdout)
        assert outcome.returncode == 1 and status["state"] == "failed", status
        assert not status["in_step"] and "does not exist any more" in status["message"], status
    shop.mirror.source = shop.url
    shop.mirror.configure()
    shop.mirror.start("--recopy-all")
    assert shop.settle() == 1


def test_a_deleted_file_is_noticed(shop_into):
    shop = shop_into("duckdb")
    shop.execute("CREATE TABLE t (id int PRIMARY KEY)")
    shop.mirror.start()
    shop.mirror.wait_status(lambda status: status["in_step"], what="in step")
    aside = shop.mirror.file.rename(shop.mirror.file.with_suffix(".moved"))
    assert shop.mirror.wait_ended() == 3
    assert "was deleted, moved or replaced" in shop.mirror.tail()
    aside.rename(shop.mirror.file)
    shop.execute("INSERT INTO t VALUES (1)")
    shop.mirror.start()
    assert shop.settle() == 1
