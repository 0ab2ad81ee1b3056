"""WAL that the slot holds back at the source. Invariants: it is measured also while nobody reads from the slot; who may
lose the slot is warned while there is time, once for each level, in the log, the status and the metrics."""
import pytest

from watching import Watching

START = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 100) i"
WAL = "SELECT pg_logical_emit_message(false, 'x', repeat('x', 900000)) FROM generate_series(1, 10)"  # 9 MB


def followed(shop, **settings):
    shop.execute(START)
    shop.watching = Watching(shop.mirror)
    shop.mirror.configure(http=shop.watching.port, **settings)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    return shop


def held_back(shop, megabytes):
    """Nobody reads from the slot meanwhile, as where the target is away."""
    with shop.connect() as connection:
        for _ in range(megabytes // 9 + 1):
            connection.execute(WAL)


def test_a_source_that_limits_it(own_cluster, pair_on):
    """max_slot_wal_keep_size: the target is away, and the slot is half full, nearly full, lost."""
    source = own_cluster(max_slot_wal_keep_size="64MB", checkpoint_timeout="1h")
    target = own_cluster()
    pair = followed(pair_on(source, target))
    pages = pair.watching
    pages.wait_value(lambda value: value == 1, "tailrace_slot_active")
    pages.wait_value(lambda value: value > 40 << 20, "tailrace_slot_safe_bytes")
    assert pages.value("tailrace_slot_wal_status", wal_status="reserved") == 1
    assert pair.mirror.polled()["warnings"] == []
    target.stop("immediate")
    held_back(pair, 45)
    status = pair.mirror.wait_status(lambda status: status["warnings"], what="a warning")
    [warning] = status["warnings"]
    assert "of WAL at the source" in warning and "that max_slot_wal_keep_size allows" in warning
    assert status["state"] == "reconnecting" and status["retained_wal_bytes"] > 40 << 20
    assert status["slot_active"] is False
    assert "warning  the slot holds back" in pair.mirror.text_status()
    assert pages.value("tailrace_slot_active") == 0
    held_back(pair, 90)
    source.execute("CHECKPOINT")
    status = pair.mirror.wait_status(lambda status: status["wal_status"] == "lost", what="the slot is lost")
    assert "gave up on the slot" in status["warnings"][0]
    assert pages.value("tailrace_slot_wal_status", wal_status="lost") == 1
    lines = [line for line in pair.mirror.log_text().splitlines() if " slot: " in line]
    assert 2 <= len(lines) <= 3, lines


def test_a_source_whose_room_is_stated(pair_on, own_cluster):
    """Nothing limits it there; the user knows the disk."""
    target = own_cluster()
    pair = followed(pair_on(15, target), slot={"name": "stated_room", "wal_room": "20MB"})
    target.stop("immediate")
    held_back(pair, 12)
    status = pair.mirror.wait_status(lambda status: status["warnings"], what="a warning")
    assert "20.0 MB that slot.wal_room says there is room for" in status["warnings"][0]
    assert status["safe_wal_bytes"] < 10 << 20
    target.start()
    pair.mirror.wait_status(lambda status: not status["warnings"] and status["slot_active"], what="all is well")
    assert pair.settle() == 100


@pytest.mark.duckdb("the target is none of its business")
def test_without_a_limit_it_is_measured_and_not_judged(shop):
    followed(shop)
    status = shop.mirror.wait_status(lambda status: status["wal_status"], what="a look at the slot")
    assert status["wal_status"] == "reserved" and status["safe_wal_bytes"] is None
    assert shop.watching.value("tailrace_slot_safe_bytes") is None
    assert shop.watching.value("tailrace_slot_retained_bytes") >= 0


def test_a_copy_that_takes_long_is_looked_at(shop):
    """Nothing else asks the source for its slot then."""
    shop.execute(START)
    shop.mirror.env["TAILRACE_STALL_POINT"] = "copy.part.finished"
    shop.mirror.start()
    status = shop.mirror.wait_status(lambda status: status["wal_status"] == "reserved", what="a look at the slot")
    assert status["state"] == "copying" and status["retained_wal_bytes"] is not None
    shop.mirror.kill()
