"""From commit at the source to visible at a PostgreSQL target, at a steady rate of small transactions."""
import multiprocessing
import statistics
import time

import psycopg

from comparison import Table
from latency import commit_steadily, delays, percentile
from rivals import Native, wait_for
from server import Slots
from templates import DATABASE, Templates, contents, difference
from workloads import TABLE

SOURCE = "bench_latency"
RATE = 200
WANTED = (1.5, 2)


def look(url, link):
    """Asks for the newest row in a tight loop, until told to stop: [(when the answer came, the row)]."""
    samples = []
    with psycopg.connect(url, autocommit=True) as connection:
        link.send("ready")
        while not link.poll():
            row = connection.execute("SELECT max(id) FROM events", prepare=True).fetchone()[0]
            if row is not None and (not samples or row != samples[-1][1]):
                samples.append((time.monotonic(), row))
    link.send(samples)


class Looker:
    """A process of its own, so that it waits for nobody in this one."""

    def __init__(self, url):
        # A copy of this process: what runs here is no module that another could import.
        context = multiprocessing.get_context("fork")
        self.link, self.other = context.Pipe()
        self.process = context.Process(target=look, args=(url, self.other), daemon=True)
        self.samples = []

    def __enter__(self):
        self.process.start()
        self.other.close()  # so that its death is noticed
        self.link.recv()
        return self

    def __exit__(self, *_):
        self.link.send("stop")
        self.samples = self.link.recv()
        self.process.join()


class Visible:
    def __init__(self, pair, directory, kinds):
        self.pair, self.kinds = pair, kinds
        self.directory = directory / "visible"
        self.templates = Templates(pair.target)

    def __enter__(self):
        self.directory.mkdir()
        self.pair.source.create_database(SOURCE)
        self.pair.source.execute(TABLE, SOURCE)
        self.templates.empty()
        self.pair.target.execute(TABLE, DATABASE)
        self.templates.keep(Native.template)
        self.rivals = [kind(self.pair, SOURCE, self.directory / kind.title) for kind in self.kinds]
        for rival in self.rivals:
            rival.prepare(self.templates)
        self.slots = Slots(self.pair.source, SOURCE)
        return self

    def __exit__(self, *_):
        self.slots.close()
        self.templates.close()
        self.pair.source.drop_database(SOURCE)

    def measure(self, rival, seconds):
        """(p50, p99) in seconds. What earlier runs wrote is applied first."""
        self.templates.copy(rival.template)
        try:
            rival.arrange(self.slots)
            self.templates.warm()
            rival.begin()
            wait_for(rival, lambda: self.slots.reader(rival.slot) and self.newest(self.pair.target, DATABASE)
                     == self.newest(self.pair.source, SOURCE), 0.05)
            first = self.newest(self.pair.source, SOURCE) + 1
            with Looker(self.pair.target.url(DATABASE)) as looker:
                commits = commit_steadily(self.pair.source, RATE, seconds, SOURCE, first)
                wait_for(rival, lambda: self.newest(self.pair.target, DATABASE) >= first + len(commits) - 1, 0.05)
                time.sleep(0.1)
        finally:
            rival.end(self.slots)
        wrong = difference(self.pair.target, DATABASE, contents(self.pair.source, SOURCE))
        if wrong:
            raise RuntimeError(f"the target is not as the source: {wrong}")
        numbered = [(when, first + number) for number, (when, _) in enumerate(commits)]
        found = delays(numbered[RATE:], looker.samples)  # the first second warms up
        return percentile(found, 0.5), percentile(found, 0.99)

    @staticmethod
    def newest(server, database):
        return server.value("SELECT coalesce(max(id), 0) FROM events", database)


def milliseconds(values):
    return f"{statistics.median(values) * 1000:.2f} ({min(values) * 1000:.2f})"


def table(readings):
    """readings: {name: [(p50, p99)]}; the first is what others are compared with."""
    rows = []
    _, first = next(iter(readings.items()))
    for name, found in readings.items():
        ratios = []
        for which, wanted, label in zip((0, 1), WANTED, ("p50", "p99")):
            ratio = (statistics.median(one[which] for one in found) / statistics.median(one[which] for one in first)
                     if found and first and found is not first else None)
            if ratio:
                ratios.append(f"{ratio:.2f}x {label} of {next(iter(readings))} (wanted: below {wanted})")
        cells = [milliseconds([one[which] for one in found]) if found else "" for which in (0, 1)]
        rows.append((name, *cells, ", ".join(ratios)))
    return Table(f"Commit to visible, ms, {RATE} transactions a second", ("", "p50 (best)", "p99 (best)", "ratios"),
                 (30, 16, 16, 0), rows)
