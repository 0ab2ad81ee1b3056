"""Following: tailrace applies the backlog to a copy of the DuckDB file that was in step before it."""
import shutil
import time

from control_socket import ControlSocket
from lsn import lsn
from processes import ServerSide, cpu_seconds, peak_resident
from receiving import Reading

POLL = 0.02


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
