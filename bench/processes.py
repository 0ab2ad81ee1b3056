"""Processes and what they use: time, CPU, memory."""
import os
import subprocess
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid, first=11):
    """User and system time of a live process, or None. With first=13 that of its children that have ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[first]) + int(fields[first + 1])) / TICK


class ServerCpu:
    """The CPU of the processes that a server has started since: of those that ended, and of those that live."""

    def __init__(self, server):
        self.pid = server.process.pid
        self.known, self.ended = self._children(), self._ended()

    def seconds(self):
        living = [cpu_seconds(pid) for pid in self._children() - self.known]
        return self._ended() - self.ended + sum(filter(None, living))

    def _children(self):
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as children:
            return {int(pid) for pid in children.read().split()}

    def _ended(self):
        return cpu_seconds(self.pid, first=13)


def peak_resident(pid):
    """VmHWM in bytes, 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class ServerSide:
    """The CPU of the server's processes behind a slot, one after the other, each looked at until it ends."""

    def __init__(self, slots, slot):
        self.slots, self.slot, self.of = slots, slot, {}
        self.leaving = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def seconds(self):
        return sum(self.of.values()) if self.of else None

    def _watch(self):
        while not self.leaving.wait(0.005):
            pid = self.slots.reader(self.slot)
            while pid is not None:
                now = cpu_seconds(pid)
                if now is None:
                    break
                self.of[pid] = now
                # Once the reader has left, the server's process is about to end, too.
                time.sleep(0.002) if self.leaving.is_set() else self.leaving.wait(0.02)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.leaving.set()
        self.thread.join()


def run_timed(command):
    """(seconds, CPU seconds, peak resident bytes, standard output) of a command that must succeed."""
    start = time.monotonic()
    words = [str(word) for word in command]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        output = process.stdout.read()
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {errors.decode()[-2000:]}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, output
