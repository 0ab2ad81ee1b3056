"""kill -9 at random instants under a write load. Invariant: after every crash it goes on from its checkpoint, and in
the end, at the checkpoint's LSN, every row of the target equals the source's.

TAILRACE_KILLS and TAILRACE_SEED repeat or lengthen a run; the seed is printed.
"""
import os
import random

import pytest

import workload
from chaos import Killer

KILLS = int(os.environ.get("TAILRACE_KILLS", "12"))
SEED = os.environ.get("TAILRACE_SEED") or str(random.randrange(1_000_000))


@pytest.mark.parametrize("binary, limits", [("auto", {}), ("off", {}), ("auto", {"backlog": "1B"})],
                         ids=("binary", "text", "backlog"))
def test_kills_under_load(shop, binary, limits):
    print(f"TAILRACE_SEED={SEED} TAILRACE_KILLS={KILLS}")
    shop.execute(workload.SETUP)
    shop.mirror.configure(binary=binary, limits=limits, snapshot={"readers": 2})
    killer = Killer(shop.mirror, SEED)
    with workload.Workload(shop.connect, seed=SEED) as load:
        while killer.kills < KILLS:
            if killer.kills % 3 == 2:
                killer.strike_after_progress()
            else:
                killer.strike()
            if killer.kills % 4 == 0:
                assert workload.balanced(shop.mirror.into), f"seed {SEED}: a transaction is torn"
        shop.mirror.start()
    print(f"{load.count} transactions, {killer.kills} kills")
    shop.mirror.wait_caught_up(shop.cluster, timeout=180)
    shop.verified()
    assert shop.settle() > workload.ACCOUNTS
    assert workload.balanced(shop.mirror.into)


def test_kills_while_it_sets_up(shop):
    """Publication, slot and the first tables: whatever is half made is completed or made anew."""
    shop.execute(workload.SETUP)
    shop.execute("INSERT INTO transfers (giver, taker) SELECT i, i FROM generate_series(1, 100000) i")
    killer = Killer(shop.mirror, SEED)
    for _ in range(KILLS):
        killer.strike(longest=0.4)
        shop.execute("INSERT INTO transfers (giver, taker) VALUES (1, 1);"
                     "UPDATE documents SET version = version + 1 WHERE code = 'd5'")
    shop.mirror.start()
    assert shop.settle(timeout=120) > 100000
    assert shop.value("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") == 1
