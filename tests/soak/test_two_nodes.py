"""Two databases that follow each other, both written to at random for minutes, in few keys and so always in
each other's way. Invariant: under last_update_wins both end with the same rows.

Not part of `make test`. TAILRACE_MINUTES and TAILRACE_SEED set how much.
"""
import os

from conflicting import SEED, Nodes

MINUTES = float(os.environ.get("TAILRACE_MINUTES", "5"))


def test_last_update_wins(pair_on, own_cluster):
    nodes = Nodes(pair_on, own_cluster)
    nodes.start()
    nodes.write(seconds=MINUTES * 60, writers=3)
    rows = nodes.wait_identical(timeout=600)
    counts = [mirror.status()["conflicts"] for mirror in (nodes.there, nodes.back)]
    print(f"seed {SEED}: {nodes.transactions} transactions, {rows} rows are equal, conflicts {counts}")
    assert nodes.conflicts() > 100 * MINUTES
