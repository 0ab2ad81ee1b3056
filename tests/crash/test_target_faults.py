"""A PostgreSQL target that crashes, ends connections or is cut off, and a mirror that is killed, under a write load.
Invariant: it goes on by itself from its checkpoint, nothing is lost or doubled; no commit of the source is ever seen
in part; and the slot is acknowledged only up to what a crash of the target does not take back.

TAILRACE_FAULTS and TAILRACE_SEED repeat or lengthen a run; the seed is printed.
"""
import os
import random

import pytest

import workload
from chaos import Killer, TargetFaults
from lsn import lsn
from proxy import Proxy
from waiting import wait_until

pytestmark = pytest.mark.postgres

FAULTS = int(os.environ.get("TAILRACE_FAULTS", "6"))
SEED = os.environ.get("TAILRACE_SEED") or str(random.randrange(1_000_000))
QUICK = {"timeout": "2s", "backoff_min": "100ms", "backoff_max": "500ms"}


@pytest.fixture
def loaded(pair_on, own_cluster):
    """A pair whose target has a server of its own, and tables at the source."""
    print(f"TAILRACE_SEED={SEED} TAILRACE_FAULTS={FAULTS}")
    pair = pair_on(15, own_cluster(15))
    pair.execute(workload.SETUP)
    pair.mirror.configure(connect=QUICK)
    return pair


def strike_under_load(pair, strike):
    """Starts the mirror under load and strikes at random moments; the mirror has to bear it without ending."""
    faults = TargetFaults(pair.mirror, SEED)
    with workload.Workload(pair.connect, seed=SEED) as load:
        pair.mirror.start()
        # Before there is a slot, a connection that fails is an error for whoever started it.
        wait_until(lambda: pair.value(f"SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{pair.name}'"),
                   what="a slot")
        for number in range(FAULTS):
            if number >= FAULTS // 2:
                pair.mirror.wait_streaming()
            faults.wait()
            strike(faults)
            assert pair.mirror.running(), f"seed {SEED}: it ended\n{pair.mirror.tail()}"
            assert workload.balanced(pair.mirror.into), f"seed {SEED}: a transaction is torn"
    print(f"{load.count} transactions, {faults.ended} connections ended")
    finish(pair)
    return faults


def finish(pair):
    pair.mirror.wait_caught_up(pair.cluster, timeout=180)
    pair.verified()
    assert pair.settle() > workload.ACCOUNTS
    assert workload.balanced(pair.mirror.into)


def test_target_server_crashes(loaded):
    strike_under_load(loaded, TargetFaults.crash)


def test_target_ends_connections(loaded):
    assert strike_under_load(loaded, TargetFaults.terminate).ended > 0


@pytest.mark.parametrize("fault", ["drop", "half_close"])
def test_target_is_cut_off(loaded, fault):
    """Also in the middle of a commit, when nobody told whether it happened."""
    into = loaded.mirror.into
    with Proxy(into.cluster.port) as proxy:
        into.url = into.cluster.url(into.database, port=proxy.port)
        loaded.mirror.configure(connect=QUICK)
        strike_under_load(loaded, lambda _: getattr(proxy, fault)())


def test_kills_under_load(loaded):
    """As test_kill.py with --target postgres, but short. What is visible is looked at while nothing runs."""
    killer = Killer(loaded.mirror, SEED)
    with workload.Workload(loaded.connect, seed=SEED):
        while killer.kills < FAULTS:
            if killer.kills % 3 == 2:
                killer.strike_after_progress()
            else:
                killer.strike()
            assert workload.balanced(loaded.mirror.into), f"seed {SEED}: a transaction is torn"
        loaded.mirror.start()
    finish(loaded)


def test_target_away_at_start(loaded):
    """It waits for a target that is not there yet, as it does for a source."""
    loaded.mirror.start()
    loaded.mirror.wait_caught_up(loaded.cluster)
    loaded.mirror.stop()
    loaded.execute("UPDATE accounts SET note = 'meanwhile'")
    loaded.mirror.into.cluster.stop()
    loaded.mirror.start()
    faults = TargetFaults(loaded.mirror, SEED)
    faults.wait()
    assert loaded.mirror.running(), loaded.mirror.tail()
    loaded.mirror.into.cluster.start()
    finish(loaded)


def test_target_without_room(loaded):
    """What fails again and again at the same place is tried at growing intervals, though each time it connects; when
    there is room again, it goes on."""
    pair = loaded
    into = pair.mirror.into
    pair.mirror.configure(connect={**QUICK, "backoff_max": "60s"})
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    into.execute("CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
                 " 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;"
                 "CREATE TRIGGER a BEFORE INSERT ON transfers FOR EACH ROW EXECUTE FUNCTION no_room();"
                 "ALTER TABLE transfers ENABLE ALWAYS TRIGGER a")
    with workload.Workload(pair.connect, seed=SEED):
        wait_until(lambda: "No space left on device; trying again in 0.8 s" in pair.mirror.log_text(),
                   what=lambda: f"the fourth attempt: {pair.mirror.tail()}")
        into.execute("DROP TRIGGER a ON transfers")
        pair.mirror.wait_streaming()
    finish(pair)


def acknowledged(pair):
    return lsn(pair.value("SELECT confirmed_flush_lsn::text FROM pg_replication_slots"
                          f" WHERE slot_name = '{pair.name}'"))


def test_what_is_acknowledged_survives(pair_on, own_cluster):
    """The target's commits do not wait for its disk, and its WAL writer sleeps: a commit is visible long before it is
    safe. A row that the slot was acknowledged past must be there after a crash."""
    lazy = own_cluster(15, synchronous_commit="off", wal_writer_delay="10s", wal_writer_flush_after="1GB")
    pair = pair_on(15, lazy)
    pair.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (0)")
    pair.mirror.configure(connect=QUICK, intervals={"status": "100ms"})
    for step in range(1, FAULTS + 1):
        pair.mirror.start()
        pair.mirror.wait_streaming()
        pair.execute(f"INSERT INTO t VALUES ({step})")
        position = lsn(pair.value("SELECT pg_current_wal_insert_lsn()::text"))
        wait_until(lambda: acknowledged(pair) >= position, timeout=60, what="the slot to be acknowledged")
        pair.mirror.kill()
        lazy.restart("immediate")
        assert pair.mirror.into.value("(SELECT count(*) FROM t)") == str(step + 1)
    pair.mirror.start()
    assert pair.settle() == FAULTS + 1
