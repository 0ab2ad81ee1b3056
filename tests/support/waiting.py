"""Waiting for a condition, never for a time."""
import os
import time

# Slow builds (sanitizers) get more patience, not other tests.
PATIENCE = float(os.environ.get("TAILRACE_PATIENCE", "1"))
POLL = 0.05


def wait_until(condition, timeout=60, what="the condition", poll=POLL):
    """Returns the first true value of `condition()`. `what` may be a callable that describes the last state."""
    deadline = time.monotonic() + timeout * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout * PATIENCE:.0f} s for {what() if callable(what) else what}")
        time.sleep(poll)
