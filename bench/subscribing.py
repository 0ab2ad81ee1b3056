"""Subscribing: a backlog goes from one PostgreSQL server to another, by tailrace and by what it is measured against."""
import time

from comparison import Run
from processes import ServerCpu
from rivals import Native, usage, wait_for
from server import Slots
from templates import DATABASE, FINISH, FINISH_TABLE, Templates, contents, difference

SOURCE = "bench_source"
POLL = 0.02


class Backlog:
    """Two databases that were in step, and a backlog at the source that nobody has read yet."""

    def __init__(self, pair, workload, directory, kinds):
        self.pair, self.workload = pair, workload
        self.directory = directory / f"subscribe-{workload.name}"
        self.kinds = kinds
        self.templates = Templates(pair.target)
        self.slots = None

    def __enter__(self):
        self.directory.mkdir()
        self.pair.source.create_database(SOURCE)
        self.fill(self.pair.source, SOURCE)
        self.pair.source.execute("VACUUM ANALYZE", SOURCE)
        self.templates.empty()
        self.fill(self.pair.target, DATABASE)
        self.templates.keep(Native.template)
        self.rivals = [kind(self.pair, SOURCE, self.directory / kind.title) for kind in self.kinds]
        for rival in self.rivals:
            rival.prepare(self.templates)
        self.workload.run(self.pair.source, SOURCE)
        self.pair.source.execute(f"INSERT INTO {FINISH} VALUES (1)", SOURCE)
        self.expected = contents(self.pair.source, SOURCE)
        self.slots = Slots(self.pair.source, SOURCE)
        return self

    def __exit__(self, *_):
        if self.slots:
            self.slots.close()
        self.templates.close()
        self.pair.source.drop_database(SOURCE)

    def fill(self, server, database):
        self.workload.fill(server, database)
        server.execute(FINISH_TABLE, database)

    def measure(self, rival):
        """From the moment that the slot has a reader until the last transaction is visible in the target."""
        self.templates.copy(rival.template)
        try:
            rival.arrange(self.slots)
            self.templates.warm()
            run = self.apply(rival)
        finally:
            rival.end(self.slots)
        wrong = difference(self.pair.target, DATABASE, self.expected)
        if wrong:
            raise RuntimeError(f"the target is not as the source: {wrong}")
        return run

    def apply(self, rival):
        with self.pair.target.connect(DATABASE) as target:
            source_cpu, target_cpu = ServerCpu(self.pair.source), ServerCpu(self.pair.target)
            rival.begin()
            wait_for(rival, lambda: self.slots.reader(rival.slot), 0.002)
            start, (before, _) = time.monotonic(), usage(rival.process())
            wait_for(rival, lambda: target.execute(f"SELECT 1 FROM {FINISH}").fetchone() is not None, POLL)
            finish, (after, resident) = time.monotonic(), usage(rival.process())
            return Run(finish - start, source_cpu.seconds(), target_cpu.seconds(), after - before, resident)
