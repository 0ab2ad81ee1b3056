"""pgbench for minutes, with the mirror killed at random, and with the server and the network failing too. Invariant:
in the end `tailrace verify` and an independent comparison of every row find no difference.

Not part of `make test`. TAILRACE_MINUTES, TAILRACE_KILLS, TAILRACE_SCALE and TAILRACE_SEED set how much.
"""
import os
import random
import subprocess
import threading
import time

import pytest

from chaos import Killer
from proxy import Proxy
from waiting import wait_until

MINUTES = float(os.environ.get("TAILRACE_MINUTES", "5"))
KILLS = int(os.environ.get("TAILRACE_KILLS", "50"))
SCALE = int(os.environ.get("TAILRACE_SCALE", "20"))
SEED = os.environ.get("TAILRACE_SEED") or str(random.randrange(1_000_000))
CLIENTS = 8
PGBENCH = "/usr/lib/postgresql/15/bin/pgbench"


class Pgbench:
    """pgbench that starts again whenever the server has thrown it out, until the time is over."""

    def __init__(self, shop):
        self.shop = shop
        self.end = time.monotonic() + MINUTES * 60
        self.transactions = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        subprocess.run([PGBENCH, "-i", "-q", "-s", str(SCALE), self.shop.url], check=True, capture_output=True)
        # pgbench_history has no key: rows are only ever inserted there.
        self.end = time.monotonic() + MINUTES * 60
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._thread.join()

    @property
    def over(self):
        return time.monotonic() >= self.end

    def _run(self):
        while not self.over:
            left = max(1, int(self.end - time.monotonic()))
            outcome = subprocess.run([PGBENCH, "-n", "-c", str(CLIENTS), "-j", "2", "-T", str(left), self.shop.url],
                                     capture_output=True, text=True)
            for line in outcome.stdout.splitlines():
                if line.startswith("number of transactions actually processed"):
                    self.transactions += int(line.split(":")[1].split("/")[0])


def finish(shop, bench, killer, what):
    shop.mirror.wait_caught_up(shop.cluster, timeout=1800)
    print(f"seed {SEED}: {bench.transactions} transactions counted, {killer.kills} kills, {what}")
    print(shop.verified())
    rows = shop.settle(timeout=600)
    print(f"{rows} rows are equal")
    assert rows > SCALE * 100000
    assert killer.kills >= KILLS


@pytest.fixture
def soaked(own_cluster, shop_on):
    return shop_on(own_cluster(15, shared_buffers="512MB", max_wal_size="8GB", synchronous_commit="off"))


def test_kills(soaked):
    shop = soaked
    killer = Killer(shop.mirror, SEED)
    longest = MINUTES * 60 / KILLS
    with Pgbench(shop) as bench:
        while killer.kills < KILLS or not bench.over:
            killer.strike(2 * longest)
        shop.mirror.start()
    finish(shop, bench, killer, "no other fault")


def test_kills_restarts_and_cuts(soaked):
    shop = soaked
    chance = random.Random(f"faults/{SEED}")
    faults = {"restart": 0, "crash": 0, "drop": 0, "half_close": 0, "stall": 0}
    with Proxy(shop.cluster.port) as proxy:
        shop.mirror.source = shop.cluster.url(shop.name, port=proxy.port)
        shop.mirror.configure(connect={"timeout": "2s", "backoff_min": "100ms", "backoff_max": "1s"})
        killer = Killer(shop.mirror, SEED)
        with Pgbench(shop) as bench:
            while killer.kills < KILLS or not bench.over:
                shop.mirror.start()
                for _ in range(2):
                    fault = chance.choice(list(faults))
                    end = time.monotonic() + chance.random() * MINUTES * 30 / KILLS
                    wait_until(lambda: time.monotonic() >= end, timeout=3600)
                    if fault in ("restart", "crash"):
                        if sum(faults.values()) % 4:
                            continue
                        shop.cluster.restart("fast" if fault == "restart" else "immediate")
                    else:
                        getattr(proxy, fault)()
                        proxy.restore()
                    faults[fault] += 1
                    assert shop.mirror.running(), shop.mirror.tail()
                shop.mirror.kill()
                killer.kills += 1
            shop.mirror.start()
        finish(shop, bench, killer, f"faults {faults}")
