"""Random kills of a mirror, from a seed, at instants that its own work suggests: in the copy, in the first moments
of a run, under load, at rest. And random faults of a PostgreSQL target's server."""
import random
import time

from waiting import wait_until


class Killer:
    """kill -9 at random instants. `kills` counts those that hit a running process."""

    def __init__(self, mirror, seed):
        self.mirror = mirror
        self.chance = random.Random(f"kill/{seed}")
        self.kills = 0

    def moment(self, longest=2.0):
        """How long to let it run. Short ones are frequent: starting up is where most state changes."""
        return self.chance.random() ** 3 * longest

    def strike(self, longest=2.0):
        """Starts it, lets it run for a random moment, kills it."""
        self.mirror.start()
        self._let_run(self.moment(longest))
        assert self.mirror.running(), f"it ended by itself with {self.mirror.process.returncode}\n{self.mirror.tail()}"
        self.mirror.kill()
        self.kills += 1

    def _let_run(self, seconds):
        end = time.monotonic() + seconds
        wait_until(lambda: time.monotonic() >= end or not self.mirror.running(), timeout=seconds + 5, poll=0.002)

    def strike_after_progress(self, timeout=60):
        """Starts it, waits for a commit to the target, then kills it a random moment later."""
        self.mirror.start()
        before = None

        def moved(status):
            nonlocal before
            now = (status["applied"], sum(table["rows_copied"] for table in status["tables"]))
            before = before or now
            return now != before
        self.mirror.wait_status(moved, timeout, "progress")
        self._let_run(self.moment(0.5))
        self.mirror.kill()
        self.kills += 1


class TargetFaults:
    """Crashes of a PostgreSQL target's server, and connections to it that the server ends."""

    def __init__(self, mirror, seed):
        self.into = mirror.into
        self.chance = random.Random(f"target/{seed}")
        self.ended = 0

    def wait(self, longest=2.0):
        """Lets a random moment pass. Short ones are frequent."""
        end = time.monotonic() + self.chance.random() ** 2 * longest
        wait_until(lambda: time.monotonic() >= end, timeout=longest + 5, poll=0.002)

    def crash(self, longest=0.5):
        """Stops it without a word, and starts it again a random moment later."""
        self.into.cluster.stop("immediate")
        self.wait(longest)
        self.into.cluster.start()

    def terminate(self):
        self.ended += self.into.terminate()
