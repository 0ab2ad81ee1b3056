"""Whatever a server sends, and wherever it stops sending: the process does not crash, writes nothing that the server
did not commit, needs no more memory than it may, and ends soon after it is asked to."""
import contextlib
import subprocess
import threading
from pathlib import Path

import pytest

from evil_server import EvilServer
from proxy import Proxy
from tailrace import BINARY
from waiting import PATIENCE, wait_until

MEMORY_MB = 256
SLACK_MB = 64
# libpq takes a message of an answer as long as it comes, on each connection: docs/guarantees.md names this bound.
LIBPQ_MB = 1024
# 0 and the one of an unfinished copy after SIGTERM; 3, 4, 5: needs an operator, damaged, later.
DOCUMENTED = (0, 1, 2, 3, 4, 5, 6)

START = ["garbage", "notices", "negative_length", "half_authentication", "huge_error", "silence"]
ANSWER = ["garbage", "notices", "unknown_message", "huge_error", "endless_rows", "wrong_columns", "negative_value",
          "no_rows", "escapes_in_error"]
COPY = ["close_inside", "half_message", "negative_length", "short_length", "huge_row", "two_gigabytes", "copy_garbage",
        "silence"]
STREAM = ["garbage", "close_inside", "half_message", "notices", "short_length", "unknown_message", "huge_row",
          "two_gigabytes", "stream_of_unknown", "unknown_change", "wrong_tuple", "cut_relation", "relations",
          "transactions", "silence"]
MODES = [(at, how) for at, hows in [("start", START), ("answer", ANSWER), ("copy", COPY), ("stream", STREAM)]
         for how in hows]


# What is no protocol is never passed over: it might have been a change.
TOLD = {"unknown_message": "a message of type '!'", "stream_of_unknown": "unknown kind of replication message",
        "unknown_change": "a message has an unknown type", "cut_relation": "ends before its own fields do",
        "wrong_tuple": "ends before its own fields do", "negative_length": "something that is not a message",
        "short_length": "something that is not a message"}


class Peak:
    """The most memory that a process ever had, in MB, also once it has ended."""

    def __init__(self, process):
        self.process, self.mb, self._over = process, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self):
        while not self._over.wait(0.02):
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8").splitlines():
                    if line.startswith("VmHWM:"):
                        self.mb = max(self.mb, int(line.split()[1]) // 1024)

    def end(self):
        self._over.set()
        self._thread.join()
        return self.mb


def idle(process, evil):
    """True once it has taken what it was sent, or takes no more: all is said, or nothing of it was taken for three
    seconds, and its processor time stands still; or it has ended. On a busy machine that alone stands still too."""
    def used():
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])
        return None
    history = []

    def still():
        history.append((used(), evil.sent))
        if process.poll() is not None:
            return True
        return (evil.said_all.is_set() and len(history) > 6 and history[-1][0] - history[-7][0] <= 3
                or len(history) > 30 and history[-1][1] == history[-31][1] and history[-1][0] - history[-31][0] <= 3)
    wait_until(still, 60, "the end of its work", poll=0.1)


def url_of(evil, shop):
    """With a password, for without one libpq leaves before a server that asks for it has half done so."""
    return f"postgres://postgres:none@127.0.0.1:{evil.port}/{shop.name}"


@pytest.mark.parametrize("at, how", MODES, ids=lambda value: value)
def test_broken_server(shop, at, how):
    shop.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one')")
    with EvilServer(shop.cluster.port, at, how, cancels=False) as evil:
        shop.mirror.source = url_of(evil, shop)
        shop.mirror.configure(limits={"memory": f"{MEMORY_MB}MB"}, connect={"timeout": "3s", "backoff_max": "1s"})
        shop.mirror.start()
        process = shop.mirror.process
        peak = Peak(process)
        wait_until(evil.reached.is_set, 20, "the moment")
        if how in ("notices", "copy_garbage"):
            evil.cancelled.wait(1)
        else:
            idle(process, evil)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(8 * PATIENCE)
            except Exception:
                process.kill()
                process.wait()
                raise AssertionError(f"SIGTERM: it did not end\n{shop.mirror.tail()}") from None
        libpqs = LIBPQ_MB if (at, how) == ("answer", "huge_error") else 0
        assert peak.end() <= MEMORY_MB + SLACK_MB + libpqs, shop.mirror.tail()
    assert process.returncode in DOCUMENTED, f"{process.returncode}\n{shop.mirror.tail()}"
    assert "This is a bug" not in shop.mirror.log_text()
    if at in ("copy", "stream"):
        assert TOLD.get(how, "") in shop.mirror.log_text(), shop.mirror.tail()
    assert shop.mirror.into.tables() <= {"public.t"}
    assert shop.mirror.into.rows() <= 1


def test_rows_that_never_end_after_a_bad_one(shop):
    """Nobody has to end it: it does not wait for the rest of an answer that it has no use for."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one')")
    with EvilServer(shop.cluster.port, "copy", "copy_garbage", cancels=False) as evil:
        shop.mirror.source = url_of(evil, shop)
        shop.mirror.configure(connect={"timeout": "3s", "backoff_max": "1s"})
        shop.mirror.start()
        wait_until(evil.reached.is_set, 20, "the moment")
        wait_until(lambda: not shop.mirror.running() or "trying again" in shop.mirror.log_text(), 60,
                   what=shop.mirror.tail)
        if shop.mirror.running():
            assert ends_soon(shop.mirror.process), shop.mirror.tail()


@pytest.mark.parametrize("how", ["half_authentication", "silence"])
def test_sigterm_while_it_connects(shop, how):
    shop.execute("CREATE TABLE t (id int)")
    with EvilServer(shop.cluster.port, "start", how) as evil:
        shop.mirror.source = url_of(evil, shop)
        shop.mirror.configure(connect={"timeout": "300s"})
        shop.mirror.start()
        wait_until(evil.reached.is_set, 20, "the moment")
        assert shop.mirror.running()
        shop.mirror.process.terminate()
        assert shop.mirror.wait_ended(10) in DOCUMENTED


def ends_soon(process):
    """True if SIGTERM ends it, and not by a second one."""
    process.terminate()
    try:
        process.wait(10 * PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


@contextlib.contextmanager
def set_up(pair):
    """A target that was followed into before."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one')")
    with pair.mirror:
        pair.mirror.wait_caught_up(pair.cluster)
        pair.mirror.stop()
    yield pair.mirror
    assert pair.mirror.process.returncode in DOCUMENTED, pair.mirror.tail()
    assert "This is a bug" not in pair.mirror.log_text()


def test_sigterm_while_somebody_locks_what_is_opened(pair):
    with set_up(pair) as mirror:
        into = mirror.into
        with into.cluster.connect(into.database, autocommit=False) as other:
            other.execute("LOCK TABLE tailrace.checkpoint")
            mirror.start()
            wait_until(lambda: into.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                                          " AND datname = current_database()"), what="a wait for the lock")
            assert ends_soon(mirror.process), mirror.tail()
            assert not into.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                                  " AND datname = current_database()"), "the server was told"


def test_sigterm_while_the_books_wait(pair):
    """Of a run that follows: for a lock on tailrace's own tables."""
    with set_up(pair) as mirror:
        into = mirror.into
        waits = ("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ILIKE '%tailrace.tables%'"
                 " AND datname = current_database()")
        mirror.start()
        mirror.wait_caught_up(pair.cluster)
        with into.cluster.connect(into.database, autocommit=False) as other:
            other.execute("LOCK TABLE tailrace.tables")
            pair.execute("CREATE TABLE later (id int PRIMARY KEY)")
            with subprocess.Popen([BINARY, "refresh", *map(str, mirror.named())], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) as asking:
                wait_until(lambda: into.query(waits), what="a wait for the lock")
                assert ends_soon(mirror.process), mirror.tail()
                asking.wait(10 * PATIENCE)
            wait_until(lambda: not into.query(waits), what="the server to give up")


@pytest.mark.parametrize("command", ["run", "snapshot"])
def test_sigterm_while_a_copy_waits_at_the_target(pair, command):
    """For what somebody has there, as a trigger of theirs does, and may keep for hours."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one')")
    into = pair.mirror.into
    into.execute("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS"
                 " 'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NEW; END';"
                 "CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();"
                 "ALTER TABLE t ENABLE ALWAYS TRIGGER f")
    pair.mirror.configure(schema={"mode": "expect"})
    waits = ("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory' AND query ILIKE 'copy%'"
             " AND datname = current_database()")
    with into.cluster.connect(into.database) as holder:
        holder.execute("SELECT pg_advisory_lock(42)")
        pair.mirror.start(command=command)
        wait_until(lambda: into.query(waits), what=lambda: f"a copy that waits\n{pair.mirror.tail()}")
        assert ends_soon(pair.mirror.process), pair.mirror.tail()
        assert pair.mirror.process.returncode == 6, pair.mirror.tail()
        wait_until(lambda: not into.query(waits), what="the server to give up")


# What the process says last before it hears nothing more, by the end that falls silent.
SILENCES = [("source", b"pg_try_advisory_xact_lock"), ("source", b"IDENTIFY_SYSTEM"), ("target", b"nspowner"),
            ("target", b"tailrace.checkpoint"), ("target", b"session_replication_role"),
            ("target", b"pg_try_advisory_lock"), ("source", b"pg_publication"), ("target", b"tailrace.skips"),
            ("source", b"START_REPLICATION")]


@pytest.mark.parametrize("command", ["run", "snapshot"])
@pytest.mark.parametrize("end, words", SILENCES)
def test_sigterm_while_a_server_is_silent_at_the_start(pair, end, words, command):
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one')")
    server = pair.cluster if end == "source" else pair.target_server
    with Proxy(server.port) as proxy:
        if end == "source":
            pair.mirror.source = f"postgres://postgres@127.0.0.1:{proxy.port}/{pair.name}"
        else:
            pair.mirror.into.url = f"postgres://postgres@127.0.0.1:{proxy.port}/{pair.mirror.into.database}"
        pair.mirror.configure()
        proxy.stall_at(words)
        pair.mirror.start(command=command)
        process = pair.mirror.process
        wait_until(lambda: not proxy.flowing or process.poll() is not None, what="the silence")
        if process.poll() is None:
            assert ends_soon(process), pair.mirror.tail()
        proxy.restore()
    assert process.returncode in DOCUMENTED, pair.mirror.tail()
    assert "This is a bug" not in pair.mirror.log_text()


@pytest.mark.parametrize("end", ["source", "target"])
def test_sigterm_while_check_asks_a_silent_server(pair, end):
    server = pair.cluster if end == "source" else pair.target_server
    with Proxy(server.port) as proxy:
        if end == "source":
            pair.mirror.source = f"postgres://postgres@127.0.0.1:{proxy.port}/{pair.name}"
        else:
            pair.mirror.into.url = f"postgres://postgres@127.0.0.1:{proxy.port}/{pair.mirror.into.database}"
        pair.mirror.configure()
        proxy.stall_at(b"pg_catalog")
        pair.mirror.start(command="check")
        wait_until(lambda: not proxy.flowing, what="the silence")
        assert ends_soon(pair.mirror.process), pair.mirror.tail()
        assert pair.mirror.process.returncode == 5, "nothing failed, nothing passed"


@pytest.mark.parametrize("command", ["init", "teardown", "sync-sequences", "tail"])
def test_sigterm_while_a_command_asks_a_silent_server(pair, command):
    pair.execute("CREATE TABLE t (id serial PRIMARY KEY)")
    with Proxy(pair.cluster.port) as proxy:
        pair.mirror.source = f"postgres://postgres@127.0.0.1:{proxy.port}/{pair.name}"
        pair.mirror.configure()
        proxy.stall_at(b"pg_catalog")
        pair.mirror.start(command=command)
        wait_until(lambda: not proxy.flowing or pair.mirror.process.poll() is not None, what="the silence")
        if pair.mirror.process.poll() is None:
            assert ends_soon(pair.mirror.process), pair.mirror.tail()
        assert "This is a bug" not in pair.mirror.log_text()


def test_a_target_that_falls_silent(pair):
    """In the middle of what is written: no lock is waited for, the server just says nothing, also of a cancel."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one')")
    with Proxy(pair.target_server.port) as proxy:
        pair.mirror.into.url = f"postgres://postgres@127.0.0.1:{proxy.port}/{pair.mirror.into.database}"
        pair.mirror.configure()
        with pair.mirror as mirror:
            mirror.wait_caught_up(pair.cluster)
            proxy.stall_at(b"two")
            pair.execute("INSERT INTO t VALUES (2, 'two')")
            wait_until(lambda: not proxy.flowing, what="the silence")
            mirror.process.terminate()
            assert mirror.wait_ended(20) in DOCUMENTED
    pair.mirror.into.url = pair.target_server.url(pair.mirror.into.database)
    pair.mirror.configure()
    with pair.mirror:
        assert pair.settle() == 2
