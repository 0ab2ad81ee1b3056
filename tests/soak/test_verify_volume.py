"""verify under writes, for long and over much. Not part of `make test`. TAILRACE_ROWS sets how many rows there are,
TAILRACE_MINUTES how long it goes on."""
import os
import threading
import time

import pytest

from tailrace import run
from workload import SETUP, Workload

MINUTES = float(os.environ.get("TAILRACE_MINUTES", "5"))
ROWS = int(os.environ.get("TAILRACE_ROWS", 10_000_000))


def timed(pair, *options):
    began = time.monotonic()
    outcome = run("verify", "-c", pair.mirror.config, *options, timeout=3600)
    return outcome, time.monotonic() - began


def test_one_byte_among_many_rows(pair):
    """How long until it is found and mended is printed, not asserted."""
    pair.execute(f"CREATE TABLE t (id int PRIMARY KEY, body text, n int, at timestamp); INSERT INTO t SELECT i,"
                 " md5(i::text), i % 1000, timestamp '2020-01-01' + i * interval '1 s'"
                 f" FROM generate_series(1, {ROWS}) i; ANALYZE t")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster, timeout=1800)
    done = threading.Event()

    def write():
        with pair.connect() as connection:
            while not done.wait(0.005):
                connection.execute(f"UPDATE t SET n = n + 1 WHERE id = 1 + (random() * {ROWS - 1})::int")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        equal, first = timed(pair)
        pair.mirror.into.execute(f"UPDATE t SET body = overlay(body placing '#' from 7 for 1) WHERE id = {ROWS // 2}")
        found, second = timed(pair)
        mended, third = timed(pair, "--repair")
    finally:
        done.set()
        writer.join()
    print(f"\n{ROWS} rows under writes: equal after {first:.1f} s, one byte found after {second:.1f} s,"
          f" found, mended and compared again after {third:.1f} s")
    assert equal.returncode == 0, equal.stdout + equal.stderr
    assert found.returncode == 1 and f"id={ROWS // 2}" in found.stdout, found.stdout + found.stderr
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert pair.mirror.status()["reconnects"] == 0


@pytest.mark.postgres
def test_no_false_difference(pair):
    """Again and again, among small transactions of every kind and some that are applied while in progress."""
    pair.execute(f"ALTER DATABASE {pair.name} SET logical_decoding_work_mem = '64kB'; " + SETUP)
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    until = time.monotonic() + MINUTES * 60
    rounds = 0
    with Workload(pair.connect, writers=1) as workload:
        while time.monotonic() < until:
            outcome = pair.mirror.verify(timeout=600)
            assert outcome.returncode == 0, f"round {rounds}:\n{outcome.stdout}\n{outcome.stderr}"
            rounds += 1
    print(f"\n{MINUTES:g} minutes: {rounds} rounds, {workload.count} transactions, no difference")
    assert pair.mirror.status()["reconnects"] == 0
    pair.settle(timeout=300)
