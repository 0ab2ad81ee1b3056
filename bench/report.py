"""What was measured, as one table. Times are medians with the fastest in brackets; ratios compare medians."""
import os
import platform
import statistics
import sys
import time

HEADER = f"{'':28} {'seconds (best)':>16} {'rate/s':>10} {'CPU us':>7} {'server':>7} {'MB':>5}  ratios"


class Report:
    def __init__(self):
        self.lines = [HEADER]
        self.workload = None
        self.readings = {}

    def machine(self, server):
        version = server.value("SELECT current_setting('server_version')")
        self.line(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.release()}, PostgreSQL {version}")

    def line(self, text=""):
        self.lines.append(text)

    def begin(self, workload):
        self.workload, self.readings = workload, {}
        self.line()
        self.line(f"{workload.changes:,} {workload.title}")

    def add(self, reader, transport, reading):
        self.readings.setdefault((reader, transport), []).append(reading)
        progress(f"{self.workload.name} {reader} {transport}: {reading.seconds:.2f} s")

    def end(self):
        for (reader, transport), readings in self.readings.items():
            self.line(self.row(f"  {reader}, {transport}", readings, self.workload.changes,
                               self.ratios(reader, transport)))

    def ratios(self, reader, transport):
        found = []
        rivals = {"decode": ("pg_recvlogical", "count"), "follow": ("decode",)}.get(reader, ())
        for rival in rivals:
            if (rival, transport) in self.readings:
                ratio = self.median(reader, transport) / self.median(rival, transport)
                found.append(f"{ratio:.2f}x {rival}")
        if reader == "follow" and self.workload.limit:
            found.append(f"(wanted: {self.workload.limit}x)")
        return ", ".join(found)

    def median(self, reader, transport):
        return statistics.median(reading.seconds for reading in self.readings[reader, transport])

    @staticmethod
    def row(name, readings, count, ratios):
        seconds = [reading.seconds for reading in readings]

        def micros(which):
            return statistics.median(getattr(reading, which) for reading in readings) / count * 1e6

        middle = statistics.median(seconds)
        resident = max(reading.resident for reading in readings) / 2**20
        return (f"{name:28} {middle:8.2f} ({min(seconds):5.2f}) {count / middle:10,.0f} {micros('cpu'):7.2f} "
                f"{micros('server_cpu'):7.2f} {resident:5.0f}  {ratios}")

    def print(self):
        print("\n".join(self.lines))


def progress(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
