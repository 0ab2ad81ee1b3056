"""From PostgreSQL to PostgreSQL: tailrace against its rivals, on two servers with the same settings, interleaved."""
from comparison import FAILURES, Comparison
from copying import Copying
from report import machine, progress
from rivals import Mirror, MirrorAsServer, Native, Pglogical, refusal
from subscribing import Backlog
from visible import Visible, table
from workloads import workloads

COPY_WANTED = {"native": 1.8, "COPY | COPY": 0.9, "pg_dump | pg_restore": 1, "pgcopydb": 1}


def rotated(ways, turn):
    """Each round begins with another way: none always runs while the machine writes what the same one has left."""
    first = turn % len(ways)
    return ways[first:] + ways[:first]


class Versus:
    """Prints each table when it is done; `tables` and `bars` are for a page of them all."""

    def __init__(self, pair, directory, wishes):
        self.pair, self.directory, self.wishes = pair, directory, wishes
        self.machine = machine(pair.source)
        self.tables, self.bars = [], []
        self.refusal = refusal(pair, directory)

    def run(self, parts):
        print(self.machine, flush=True)
        if self.refusal:
            print(f"tailrace is left out: {self.refusal}", flush=True)
        if "subscribe" in parts:
            self.subscribe()
        if "visible" in parts:
            self.visible()
        if "copy" in parts:
            for tables, rows in ((1, 5_000_000), (8, 500_000)):
                self.copy(tables, max(int(rows * self.wishes.scale), 1000))

    def add(self, found):
        self.tables.append(found)
        print(found.text(), flush=True)

    def measurable(self, *kinds):
        """Those of them that can be measured here; says why of the others."""
        found = []
        for kind in kinds:
            missing = self.refusal if issubclass(kind, Mirror) else kind.missing(self.pair)
            if missing is None:
                found.append(kind)
            elif not issubclass(kind, Mirror):
                print(f"{kind.title} is left out: {missing}", flush=True)
        return found

    def subscribe(self):
        for workload in workloads(self.wishes.scale):
            if not workload.faster or (self.wishes.workload and workload.name not in self.wishes.workload):
                continue
            further = [MirrorAsServer] if workload.compressed else []
            # pglogical last: its restarts come between no other two, and tailrace would copy its extension.
            kinds = self.measurable(Native, Mirror, *further, Pglogical)
            comparison = Comparison(workload.title, workload.changes, Mirror.title, {Native.title: workload.faster})
            progress(f"{workload.title}: preparing")
            with Backlog(self.pair, workload, self.directory, kinds) as backlog:
                for _ in range(self.wishes.repeat):
                    for rival in backlog.rivals:
                        comparison.measure(rival.title, lambda rival=rival: backlog.measure(rival))
            self.add(comparison.table())
            self.bars += comparison.bars()

    def visible(self):
        seconds = max(15 * min(self.wishes.scale, 1), 3)
        kinds = self.measurable(Native, Mirror)
        readings = {kind.title: [] for kind in kinds}
        with Visible(self.pair, self.directory, kinds) as visible:
            for _ in range(self.wishes.repeat):
                for rival in visible.rivals:
                    try:
                        readings[rival.title].append(visible.measure(rival, seconds))
                    except FAILURES as error:
                        progress(f"latency: {rival.title}: DISCARDED: {error}")
        self.add(table(readings))

    def copy(self, tables, rows):
        title = "rows copied, one table" if tables == 1 else f"rows copied, {tables} tables"
        comparison = Comparison(title, tables * rows, Mirror.title, COPY_WANTED)
        progress(f"{title}: preparing")
        with Copying(self.pair, tables, rows, self.directory) as copying:
            ways = {}
            for name, (way, missing) in copying.ways().items():
                if name == Mirror.title and self.refusal:
                    continue
                if missing:
                    print(f"{name} is left out: {missing}", flush=True)
                else:
                    ways[name] = way
            for turn in range(self.wishes.repeat):
                for name, way in rotated(list(ways.items()), turn):
                    comparison.measure(name, lambda way=way: copying.measure(way))
        self.add(comparison.table())
        self.bars += comparison.bars()
