"""Random programs: rows, definitions of every kind, values that do not fit, strangers at the target, restarts, kills.

TAILRACE_RANDOM_SEED=N        begins with this seed, and runs one program unless more are asked for
TAILRACE_RANDOM_PROGRAMS=N    how many programs; by default as many as miss no version pair, kind, or kill point
TAILRACE_RANDOM_MINUTES=N     goes on for that long, from a random seed
TAILRACE_RANDOM_STEPS=FILE    runs the steps that a run printed into that file
TAILRACE_RANDOM_TARGET=KIND   only programs into duckdb, or postgres
TAILRACE_RANDOM_WITHOUT=A,B   leaves kinds of steps out
TAILRACE_RANDOM_SHRINK=N      seconds for making a program that failed shorter
"""
import ast
import os
import random
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from author import KINDS
from found import FOUND
from kill_points import points_of_copies
from program import PAIRS, PROCESS, SET, Program, Servers, pair_of, play
from shrink import shrunk
from tally import Tally

SEED = os.environ.get("TAILRACE_RANDOM_SEED")
PROGRAMS = int(os.environ.get("TAILRACE_RANDOM_PROGRAMS", "1" if SEED else str(SET)))
MINUTES = float(os.environ.get("TAILRACE_RANDOM_MINUTES", "0"))
TARGET = os.environ.get("TAILRACE_RANDOM_TARGET")
WITHOUT = set(os.environ.get("TAILRACE_RANDOM_WITHOUT", "").split(","))
STEPS = os.environ.get("TAILRACE_RANDOM_STEPS")
SHRINK = float(os.environ.get("TAILRACE_RANDOM_SHRINK", "60"))
WORKERS = int(os.environ.get("TAILRACE_RANDOM_WORKERS", "4"))
FAILURES = int(os.environ.get("TAILRACE_RANDOM_FAILURES", "3"))  # after as many, no more programs are begun


def seeds():
    first = int(SEED or (random.randrange(1_000_000) * SET if MINUTES else 0))
    end = time.monotonic() + MINUTES * 60
    at = first
    while at < first + PROGRAMS or time.monotonic() < end:
        if TARGET in (None, "postgres" if pair_of(at)[1] else "duckdb"):
            yield at
        at += 1


def written(outcome, directory):
    """A file with the steps, as a list that Python reads."""
    path = Path(directory) / f"seed-{outcome.program.seed}.py"
    lines = ["[", *(f"    {step!r}," for step in outcome.steps), "]"]
    path.write_text("\n".join([f"# {outcome.program}", *lines, ""]), encoding="utf-8")
    return path


def told(outcome, directory):
    path = written(outcome, directory)
    steps = "\n".join(textwrap.shorten(repr(step), 500) for step in outcome.steps)
    return (f"\n{outcome.program}: {outcome.fault}\n{steps}\n"
            f"to run it again: TAILRACE_RANDOM_SEED={outcome.program.seed} TAILRACE_RANDOM_STEPS={path} make random\n"
            f"the whole of it: TAILRACE_RANDOM_SEED={outcome.program.seed} make random")


def shortened(outcome, servers, directory):
    def fails(steps):
        nonlocal outcome
        again = play(outcome.program, servers, directory, steps, patience=15)
        if again.fault and again.fault.sort == outcome.fault.sort:
            outcome = again
            return True
        return False
    shrunk(outcome.steps, fails, SHRINK)
    return outcome


def play_missing(tally, servers, directory, failures):
    """Programs of what the set did not come to: a step may have been refused, or a point not have been passed."""
    for seed in range(10 * SET, 10 * SET + 24):
        kinds = tally.missing("kind", set(KINDS) - WITHOUT)
        points = tally.missing("kill point", set(points_of_copies()))
        if failures or not (kinds or points):
            return
        if Program(seed, WITHOUT, kinds, points).points or kinds:
            outcome = play(Program(seed, WITHOUT, kinds[:12], points or None), servers, directory)
            tally.add(outcome, 0)
            failures += [outcome] if outcome.fault else []


@pytest.fixture
def servers(clusters):
    return Servers(clusters)


@pytest.mark.skipif(STEPS is not None, reason="TAILRACE_RANDOM_STEPS")
def test_programs(servers, tmp_path):
    tally, failures, whole = Tally(), [], not TARGET and (PROGRAMS >= SET or MINUTES > 0)
    waiting, lock = seeds(), threading.Lock()

    def next_seed():
        with lock:
            return next(waiting, None)

    def work():
        for seed in iter(next_seed, None):
            if len(failures) >= FAILURES:
                return
            begun = time.monotonic()
            outcome = play(Program(seed, WITHOUT), servers, tmp_path)
            tally.add(outcome, time.monotonic() - begun)
            if outcome.fault:
                failures.append(outcome)
                print(f"{outcome.program}: {outcome.fault.sort}", flush=True)

    with ThreadPoolExecutor(WORKERS) as pool:
        for worker in [pool.submit(work) for _ in range(WORKERS)]:
            worker.result()
        if whole and not failures:
            play_missing(tally, servers, tmp_path, failures)
        print(tally.told())
        texts = list(pool.map(lambda outcome: told(shortened(outcome, servers, tmp_path), tmp_path), failures))
    if failures:
        pytest.fail("\n".join(texts), pytrace=False)
    if whole:
        tally.must_have("pair", {str(Program(seed).pair) for seed in range(SET)})
        tally.must_have("kind", (set(KINDS) | PROCESS) - WITHOUT)
        tally.must_have("kill point", set(points_of_copies()))


@pytest.mark.skipif(STEPS is None, reason="no TAILRACE_RANDOM_STEPS")
def test_steps(servers, tmp_path):
    steps = ast.literal_eval(Path(STEPS).read_text(encoding="utf-8"))
    outcome = play(Program(int(SEED or 0)), servers, tmp_path, steps)
    assert not outcome.fault, outcome.fault


@pytest.mark.skipif(bool(SEED or STEPS or MINUTES), reason="other programs are asked for")
@pytest.mark.parametrize("name", FOUND)
def test_found(servers, tmp_path, name):
    source, target, steps = FOUND[name]
    outcome = play(Program.between(source, target), servers, tmp_path, steps)
    assert not outcome.fault, outcome.fault


def test_pairs():
    """Every source with a file, and with a target of every version."""
    assert {pair_of(seed) for seed in range(SET)} == set(PAIRS)
