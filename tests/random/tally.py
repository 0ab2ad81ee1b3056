"""Counts of what a run of random programs did."""
import threading
from collections import Counter


class Tally:
    def __init__(self):
        self._lock = threading.Lock()
        self.counts = {"pair": Counter(), "kind": Counter(), "kill point": Counter()}
        self.refused, self.parts = Counter(), Counter()
        self.programs, self.steps, self.rows, self.seconds = 0, 0, 0, 0.0

    def add(self, outcome, seconds):
        with self._lock:
            self.programs += 1
            self.steps += len(outcome.steps)
            self.seconds += seconds
            field = outcome.field
            self.rows += field.rows
            self.parts += field.seconds
            self.counts["pair"][outcome.program.pair] += 1
            self.counts["kind"] += field.passed
            self.counts["kill point"] += field.hits
            self.refused += field.refused

    def told(self):
        longest = ", ".join(f"{name} {seconds:.0f}" for name, seconds in self.parts.most_common(6))
        lines = [f"{self.programs} programs, {self.steps} steps, {self.rows} rows compared,"
                 f" {self.seconds:.0f} s of programs: {longest}"]
        for what, counts in self.counts.items():
            lines.append(f"{what}: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
        lines.append(f"{sum(self.refused.values())} statements were refused")
        return "\n".join(lines)

    def missing(self, what, names):
        return sorted(names - set(self.counts[what]))

    def must_have(self, what, names):
        missing = self.missing(what, names)
        assert not missing, f"none of these ({what}): {missing}\n{self.told()}"
