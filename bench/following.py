"""Following: tailrace applies the backlog to a copy of the DuckDB file that was in step before it."""
import json
import shutil
import socket
import time

from lsn import lsn
from processes import ServerSide, cpu_seconds, peak_resident
from receiving import Reading

POLL = 0.02


class ControlSocket:
    """The running tailrace's own answer to `status`, without a process for each question."""

    def __init__(self, path):
        self.path = str(path)

    def status(self):
        """None while nobody answers."""
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.connect(self.path)
                link.sendall(b'{"command":"status"}\n')
                answer = b""
                while not answer.endswith(b"\n"):
                    part = link.recv(65536)
                    if not part:
                        return None
                    answer += part
        except OSError:
            return None
        return json.loads(answer).get("status")


def wait_for(mirror, control, condition, timeout, peak=lambda: None):
    deadline = time.monotonic() + timeout
    while True:
        status = control.status()
        if status and condition(status):
            return time.monotonic()
        peak()
        if not mirror.running():
            raise RuntimeError(f"tailrace ended: {mirror.tail()}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"it took longer than {timeout} s: {mirror.tail()}")
        time.sleep(POLL)


def measure(prepared, timeout=900, **settings):
    """From the moment that it streams until everything is durable in the file."""
    directory = prepared.copy_of_mirror()
    mirror = prepared.mirror(directory, **settings)
    control = ControlSocket(f"{mirror.file}.tailrace.sock")
    end = lsn(prepared.end)
    with mirror:
        with ServerSide(prepared.slots, prepared.slot) as side:
            start = wait_for(mirror, control, lambda status: status["state"] == "streaming", 60)
            before = cpu_seconds(mirror.process.pid)
            finish = wait_for(mirror, control, lambda status: lsn(status["applied"]) >= end, timeout)
            cpu = cpu_seconds(mirror.process.pid) - before
            resident = peak_resident(mirror.process.pid)
            commits = control.status()["commits"]
            mirror.stop(timeout=60)
    shutil.rmtree(directory)
    return Reading(finish - start, cpu, side.seconds or 0, resident, {"commits": commits})
