"""What was measured, as one table: medians with the fastest in brackets, and ratios of medians."""
import os
import platform
import statistics
import sys
import time

HEADER = f"{'':30} {'seconds (best)':>16} {'rows/s':>10} {'CPU us':>7} {'server':>7} {'MB':>5}  ratios"
RIVALS = {
    "decode": ("pg_recvlogical", "pg_recvlogical streaming", "count"),
    "follow": ("decode",),
    "snapshot": ("copy",),
}


class Report:
    def __init__(self):
        self.count = 0
        self.wanted = {}
        self.readings = {}

    @staticmethod
    def machine(server):
        print(machine(server))
        print(HEADER, flush=True)

    def begin(self, title, count, wanted=None):
        """`wanted`: {(reader, rival): the ratio to stay under}."""
        self.count, self.wanted, self.readings = count, wanted or {}, {}
        print(f"\n{count:,} {title}", flush=True)

    def add(self, reader, where, reading):
        self.readings.setdefault((reader, where), []).append(reading)
        progress(f"{reader}, {where}: {reading.seconds:.2f} s")

    def end(self):
        for (reader, where), readings in self.readings.items():
            print(self.row(f"  {reader}, {where}", readings, self.ratios(reader, where)))
        sys.stdout.flush()

    def ratios(self, reader, where):
        found = []
        for rival in RIVALS.get(reader, ()):
            if (rival, where) in self.readings:
                wanted = self.wanted.get((reader, rival))
                text = f"{self.median(reader, where) / self.median(rival, where):.2f}x {rival}"
                found.append(text + (f" (wanted: {wanted})" if wanted else ""))
        return ", ".join(found)

    def median(self, reader, where):
        return statistics.median(reading.seconds for reading in self.readings[reader, where])

    def row(self, name, readings, ratios):
        seconds = [reading.seconds for reading in readings]

        def micros(which):
            return statistics.median(getattr(reading, which) for reading in readings) / self.count * 1e6

        middle = statistics.median(seconds)
        resident = max(reading.resident for reading in readings) / 2**20
        return (f"{name:30} {middle:8.2f} ({min(seconds):5.2f}) {self.count / middle:10,.0f}"
                f" {micros('cpu'):7.2f} {micros('server_cpu'):7.2f} {resident:5.0f}  {ratios}".rstrip())

    @staticmethod
    def fact(name, text):
        print(f"\n{name}\n  {text}", flush=True)


def machine(server):
    version = server.value("SELECT current_setting('server_version')")
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Linux {platform.release()}, PostgreSQL {version}"


def progress(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
