"""What the systems that do the same took for it, as a table: medians, and how many times as fast as which."""
import statistics
from dataclasses import dataclass

import psycopg

from report import progress

FAILURES = (RuntimeError, AssertionError, OSError, psycopg.Error)

HEADER = ("", "seconds (best)", "rows/s", "source", "target", "own", "MB", "speed")
WIDTHS = (30, 16, 10, 7, 7, 7, 5, 0)


@dataclass
class Run:
    """CPU seconds of the source's and the target's processes and of the system's own, which also has a peak memory."""
    seconds: float
    source_cpu: float
    target_cpu: float
    own_cpu: float = 0
    resident: int = 0


@dataclass
class Table:
    title: str
    header: tuple
    widths: tuple
    rows: list

    def text(self):
        lines = [f"\n{self.title}", self.line(self.header)]
        lines += [self.line(("  " + row[0], *row[1:])) for row in self.rows]
        return "\n".join(lines)

    def line(self, cells):
        first, *middle, last = zip(cells, self.widths)
        cells = [f"{first[0]:{first[1]}}", *(f"{cell:>{width}}" for cell, width in middle), f" {last[0]}"]
        return " ".join(cells).rstrip()


class Comparison:
    """`subject` is compared with all others, these only with the first. `wanted`: {other: times as fast}."""

    def __init__(self, title, count, subject, wanted):
        self.title, self.count, self.subject, self.wanted = title, count, subject, wanted
        self.runs, self.discarded = {}, {}

    def measure(self, name, run):
        """`run()` gives a Run, or raises when it is not to be counted."""
        self.runs.setdefault(name, [])
        try:
            self.runs[name].append(run())
            progress(f"{self.title}: {name}: {self.runs[name][-1].seconds:.2f} s")
        except FAILURES as error:
            self.discarded.setdefault(name, []).append(error)
            progress(f"{self.title}: {name}: DISCARDED: {error}")

    def speed(self, name, other):
        """How many times as fast; None when one has not been measured."""
        if not self.runs.get(name) or not self.runs.get(other):
            return None
        return self.seconds(other) / self.seconds(name)

    def seconds(self, name):
        return statistics.median(run.seconds for run in self.runs[name])

    def table(self):
        return Table(f"{self.count:,} {self.title}", HEADER, WIDTHS, [self.row(name) for name in self.runs])

    def row(self, name):
        runs = self.runs[name]
        notes = self.speeds(name)
        if self.discarded.get(name):
            notes.append(f"{len(self.discarded[name])} DISCARDED: {str(self.discarded[name][0])[:200]}")
        if not runs:
            return (name, *[""] * 6, ", ".join(notes))

        def micros(which):
            return f"{statistics.median(getattr(run, which) for run in runs) / self.count * 1e6:.2f}"

        seconds = self.seconds(name)
        resident = max(run.resident for run in runs)
        return (name, f"{seconds:.2f} ({min(run.seconds for run in runs):5.2f})", f"{self.count / seconds:,.0f}",
                micros("source_cpu"), micros("target_cpu"), micros("own_cpu"),
                f"{resident / 2**20:.0f}" if resident else "", ", ".join(notes))

    def speeds(self, name):
        others = [other for other in self.runs if other != name]
        if name != self.subject:
            others = others[:1] if name != next(iter(self.runs)) else []
        found = []
        for other in others:
            speed = self.speed(name, other)
            if speed:
                wanted = self.wanted.get(other) if name == self.subject else None
                found.append(f"{speed:.2f}x {other}" + (f" (wanted: {wanted})" if wanted else ""))
        return found

    def bars(self):
        """[(label, speed of the subject, wanted)] against the first."""
        first = next(iter(self.runs), None)
        speed = self.speed(self.subject, first)
        return [(self.title, speed, self.wanted.get(first))] if speed else []
