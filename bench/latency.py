"""From commit at the source to durable and visible in the file, at a steady rate of small transactions."""
import threading
import time

from control_socket import ControlSocket
from lsn import lsn
from tailrace import Tailrace

DATABASE = "bench_latency"
POLL = 0.001


class Sampler:
    """When which position was first seen applied, each time after the answer came: an upper bound."""

    def __init__(self, control):
        self.control = control
        self.samples = []
        self.leaving = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.leaving.wait(POLL):
            status = self.control.status()
            if status:
                applied = lsn(status["applied"])
                if not self.samples or applied != self.samples[-1][1]:
                    self.samples.append((time.monotonic(), applied))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.leaving.set()
        self.thread.join()


def commit_steadily(server, rate, seconds, database=DATABASE, first=0):
    """[(time when the commit returned, its position)]"""
    commits = []
    # Only WAL that was flushed is streamed: a commit that does not wait for that is not there yet.
    with server.connect(database, options="-c synchronous_commit=on") as connection:
        start = time.monotonic()
        for number in range(int(rate * seconds)):
            time.sleep(max(start + number / rate - time.monotonic(), 0))
            connection.execute("INSERT INTO events VALUES (%s, 1, 'a name', now(), 12.5)", (first + number,))
            now = time.monotonic()
            position = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()[0]
            commits.append((now, lsn(position)))
    return commits


def delays(commits, samples):
    """Sorted seconds. The position after a commit may hold more than the commit: its own end is what counts."""
    found, at = [], 0
    for when, position in commits:
        while at < len(samples) and samples[at][1] < position:
            at += 1
        if at < len(samples):
            found.append(max(samples[at][0] - when, 0))
    return sorted(found)


def percentile(values, share):
    return values[min(int(len(values) * share), len(values) - 1)]


def measure(server, directory, rate=200, seconds=15):
    """(p50, p99, number of commits) in seconds."""
    server.create_database(DATABASE)
    try:
        server.execute("CREATE TABLE events (id bigint PRIMARY KEY, number int, name text, at timestamptz,"
                       " amount numeric(12, 2))", DATABASE)
        with Tailrace(server.url(DATABASE), directory, DATABASE) as mirror:
            mirror.wait_streaming()
            with Sampler(ControlSocket(f"{mirror.file}.tailrace.sock")) as sampler:
                commits = commit_steadily(server, rate, seconds)
                mirror.wait_applied(server.value("SELECT pg_current_wal_insert_lsn()::text"), timeout=60)
                time.sleep(0.1)
            mirror.stop()
        found = delays(commits[int(rate):], sampler.samples)  # the first second warms up
        return percentile(found, 0.5), percentile(found, 0.99), len(found)
    finally:
        server.drop_database(DATABASE)
