"""Shorter programs with the same fault: delta debugging over the steps, for as long as there is time."""
import time


def shrunk(steps, fails, seconds):
    """The shortest list found of which `fails(list)` is true. The first step, the setup, stays, and so does the last,
    where it failed."""
    end = time.monotonic() + seconds
    size = max(1, (len(steps) - 2) // 2)
    while True:
        at, shorter = 1, False
        while at < len(steps) - 1:
            if time.monotonic() > end:
                return steps
            fewer = steps[:at] + steps[min(at + size, len(steps) - 1):]
            if fails(fewer):
                steps, shorter = fewer, True
            else:
                at += size
        if size == 1 and not shorter:
            return steps
        size = max(1, size // 2)
