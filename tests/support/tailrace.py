"""Tailrace: the program under test as a process, driven and asked only the way a user would."""
import json
import os
import signal
import subprocess
from pathlib import Path

from control_socket import ControlSocket
from lsn import end_of_record, lsn
from targets import DuckdbTarget
from waiting import PATIENCE, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
BACKLOG = os.environ.get("TAILRACE_BACKLOG")  # limits.backlog of every mirror; with 1B all starts read one
BINARY = os.environ.get("TAILRACE_BIN", str(REPOSITORY / "build/release/src/cli/tailrace"))


def run(*arguments, timeout=120, env=None):
    """One command to its end. The outcome has returncode, stdout and stderr."""
    return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=timeout * PATIENCE,
                          env={**os.environ, **(env or {})})


def in_background(mirror, command):
    """One that asks a running mirror for something, while it waits for the answer."""
    return subprocess.Popen([BINARY, command, *mirror.named()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Tailrace:
    """`tailrace run` of one source into one target, with settings as in its configuration file.

    name       names slot and publication, so that many mirrors share a server
    directory  where the configuration and the log go, and the DuckDB file
    into       the target (see targets.py); by default a DuckDB file
    """

    def __init__(self, source, directory, name, into=None, **settings):
        self.source = source
        self.directory = Path(directory)
        self.into = into or DuckdbTarget(self.directory / "mirror.duckdb")
        self.log = self.directory / "tailrace.log"
        self.config = self.directory / "tailrace.yaml"
        self.name = name
        self.process = None
        self.socket = None  # the path where it listens, once known
        self.env = {}
        self.configure(**settings)

    @property
    def target(self):
        return self.into.url

    @property
    def file(self):
        """The DuckDB file of one that has a file."""
        return self.into.file

    def opened(self, **how):
        """The target, to be asked: query(), value(), tables(), columns(). All values are text."""
        return self.into.opened(**how)

    def configure(self, **settings):
        """Rewrites the configuration for the next start. JSON is YAML."""
        if BACKLOG:
            settings["limits"] = {"backlog": BACKLOG, **settings.get("limits", {})}
        whole = {"name": self.name, "source": self.source, "target": self.target,
                 "connect": {"backoff_max": "1s"}, "intervals": {"status": "1s"}, **settings}
        self.config.write_text(json.dumps(whole), encoding="utf-8")

    # The process -----------------------------------------------------------------------------------------

    def start(self, *arguments, command="run"):
        """`arguments`: more of them for `tailrace run`, or for another command that takes a while."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([BINARY, command, "-c", self.config, *arguments], stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, env={**os.environ, **self.env},
                                            cwd=self.directory)
        self.socket = None
        return self

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9, as any crash."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout=10, unfinished=False):
        """SIGTERM; checks that it leaves cleanly and in time. `unfinished`: its copy may be incomplete, which has an
        exit code of its own."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"SIGTERM: still running after {timeout} s\n{self.tail()}") from None
        assert code == 0 or (unfinished and code == 6), f"SIGTERM: it ended with {code}\n{self.tail()}"

    def wait_ended(self, timeout=30):
        """Its exit code, when it is expected to end by itself."""
        try:
            return self.process.wait(timeout=timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout * PATIENCE} s\n{self.tail()}") from None

    def close(self):
        if self.running():
            self.kill()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    # What it says ----------------------------------------------------------------------------------------

    def log_text(self):
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def tail(self, lines=30):
        return "\n".join(self.log_text().splitlines()[-lines:])

    def named(self):
        """The arguments that name it to `tailrace status`."""
        return self.into.named(self.config)

    def status(self):
        """What a running one says of itself, or None."""
        outcome = run("status", *self.named(), "--json")
        return json.loads(outcome.stdout) if outcome.returncode == 0 else None

    def polled(self):
        """The same as status(), without a process for each look where its socket is known: most of a test's time went
        into those."""
        if self.socket is None and self.process is not None:
            self.socket = listening_at(self.process.pid)
        answer = ControlSocket(self.socket).status() if self.socket else None
        if answer is None:
            self.socket = None
            return self.status()
        return answer

    def text_status(self):
        """The same for people."""
        return run("status", *self.named()).stdout

    def teardown(self):
        return run("teardown", "-c", self.config)

    def look(self, cluster):
        """Lets it look at the source's catalogs, as it does by itself every 10 s, and follow what it saw."""
        # A commit takes what was written before to the disk, which else may take the server's time.
        cluster.execute("SELECT txid_current()")
        self.wait_caught_up(cluster)
        wait_until(lambda: run("refresh", *self.named()).returncode == 0, what="a look at the catalogs")
        self.wait_caught_up(cluster)

    def table(self, name):
        """One table's part of the status, by its qualified source name."""
        for table in (self.polled() or {}).get("tables", []):
            if f"{table['schema']}.{table['name']}" == name:
                return table
        return None

    def verify(self, timeout=300):
        return run("verify", "-c", self.config, timeout=timeout)

    # Waiting for it --------------------------------------------------------------------------------------

    def wait_status(self, predicate, timeout=60, what="a state"):
        """Polls the status until the predicate holds; fails at once if the process has ended."""
        last = None

        def ask():
            nonlocal last
            if not self.running():
                raise AssertionError(f"tailrace ended with {self.process.returncode}\n{self.tail()}")
            last = self.polled()
            return last if last and predicate(last) else None

        return wait_until(ask, timeout, lambda: f"{what}; status: {brief(last)}\n{self.tail()}")

    def wait_streaming(self, timeout=60):
        return self.wait_status(lambda status: status["state"] == "streaming", timeout, "streaming")

    def wait_applied(self, position, timeout=60):
        """Until all up to a WAL position is durable in the target."""
        wanted = end_of_record(lsn(position))
        return self.wait_status(
            lambda status: status["state"] == "streaming" and lsn(status["applied"]) >= wanted
            and all(table["state"] in ("streaming", "stopped") for table in status["tables"]),
            timeout, f"applied >= {position}")

    def wait_caught_up(self, cluster, timeout=60):
        """Until everything committed on the server by now is durable in the target."""
        return self.wait_applied(cluster.value("SELECT pg_current_wal_insert_lsn()::text"), timeout)


def listening_at(pid):
    """The path of the Unix socket that a process of ours listens on; None if there is none yet."""
    try:
        links = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
    except OSError:
        return None  # it opens and closes files, or ends
    open_ones = {link[len("socket:["):-1] for link in links if link.startswith("socket:[")}
    for line in Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()[1:]:
        fields = line.split(maxsplit=7)
        # Flags 00010000: it listens.
        if len(fields) == 8 and fields[3] == "00010000" and fields[6] in open_ones and fields[7].endswith(".sock"):
            return fields[7]
    return None


def brief(status):
    if not status:
        return "none"
    tables = [f"{table['name']}:{table['state']}" for table in status.get("tables", [])[:10]]
    keys = ("state", "message", "received", "applied", "acknowledged", "source_lsn")
    return ", ".join(f"{key}={status.get(key)}" for key in keys) + f", tables={tables}"
