"""Ends, crashes and refusals. Invariant: whatever happened, the next run goes on from the checkpoint, and at its LSN
the target equals the source. What cannot go on says why, and has written nothing."""
import os
import signal
import time

import pytest

from lsn import lsn
from waiting import PATIENCE, wait_until

SETUP = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, %d) i"


def started(shop, rows=1000):
    shop.execute(SETUP % rows)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    return shop


def slot_is_free(shop):
    return shop.value(f"SELECT count(*) = 0 FROM pg_replication_slots WHERE slot_name = '{shop.name}' AND active")


def refused(shop, *words, code=None):
    """The mirror must end by itself, with a failure that says these words and nothing that looks like a crash."""
    before = len(shop.mirror.log_text())
    shop.mirror.start()
    ended = shop.mirror.wait_ended()
    text = shop.mirror.log_text()[before:]
    assert ended > 0, f"ended with {ended}: {text}"
    assert code is None or ended == code
    for word in words:
        assert word in text, f"{word!r} is not in: {text}"
    assert "terminate called" not in text
    return text


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_resume_in_stream(shop, end):
    started(shop)
    for step in range(5):
        getattr(shop.mirror, end)()
        first = 10000 * step + 2000
        shop.execute(f"INSERT INTO t SELECT i, 'r' FROM generate_series({first}, {first + 500}) i;"
                     f"UPDATE t SET v = v || '{step}' WHERE id % 3 = 0; DELETE FROM t WHERE id % 101 = {step}")
        shop.mirror.start()
        shop.execute(f"UPDATE t SET v = 'x' WHERE id % 17 = {step}")
        shop.mirror.wait_caught_up(shop.cluster)
    shop.settle()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_resume_in_copy(shop, end):
    shop.execute("DO $$ BEGIN FOR i IN 1..8 LOOP EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, v text);"
                 " INSERT INTO t%s SELECT i, repeat(md5(i::text), 5) FROM generate_series(1, 60000) i', i, i);"
                 " END LOOP; END $$")
    shop.mirror.configure(snapshot={"readers": 1})
    for step in range(4):
        shop.mirror.start()
        shop.mirror.wait_status(lambda status: any(
            table["state"] == "copied" or table["rows_copied"] > 1000 for table in status["tables"])
            or status["state"] == "streaming", what="some progress of the copy")
        if end == "stop":
            shop.mirror.stop(unfinished=True)
        else:
            shop.mirror.kill()
        shop.execute(f"UPDATE t{step + 1} SET v = 'changed' WHERE id % 100 = 0; DELETE FROM t{step + 5} WHERE id < 50")
    shop.mirror.start()
    shop.settle(timeout=120)


def test_sigterm_is_quick(shop):
    """Idle, and in the middle of a backlog: two seconds at most."""
    started(shop)
    begin = time.monotonic()
    shop.mirror.stop()
    assert time.monotonic() - begin < 2 * PATIENCE
    before = shop.value("SELECT pg_current_wal_insert_lsn()::text")
    shop.execute("INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(10000, 400000) i")
    shop.mirror.start()
    shop.mirror.wait_status(lambda status: lsn(status["received"]) > lsn(before), what="something received")
    begin = time.monotonic()
    shop.mirror.stop()
    assert time.monotonic() - begin < 2 * PATIENCE
    shop.mirror.start()
    shop.settle(timeout=120)


@pytest.mark.duckdb("several mirrors may share a PostgreSQL database")
def test_second_on_the_same_file(shop):
    started(shop)
    second = shop.another(name="other", into=shop.mirror.into)
    second.start()
    assert second.wait_ended() > 0
    assert "another tailrace" in second.log_text() or "already" in second.log_text(), second.log_text()
    assert shop.mirror.running()
    shop.settle()


@pytest.mark.slow
def test_second_on_the_same_slot(shop):
    """It may wait to see whether the slot's holder is alive, then refuses; the first one is not disturbed."""
    started(shop)
    second = shop.another(name=shop.name)
    second.start()
    assert second.wait_ended(timeout=60) > 0
    assert shop.name in second.log_text()
    if second.into.kind == "postgres":
        assert f'applies to the database "{shop.mirror.into.database}" of' in second.log_text()
    assert shop.mirror.running()
    assert not second.into.tables()
    if second.into.kind == "duckdb":
        left = {path.name for path in second.directory.iterdir()} - {second.config.name, second.log.name}
        assert not left, left
    else:
        assert second.into.value("to_regnamespace('tailrace')") is None
    shop.execute("INSERT INTO t VALUES (5000, 'still here')")
    shop.settle()


def contents(mirror):
    return sorted(mirror.into.query("SELECT id::varchar, v FROM public.t"))


def test_slot_dropped(shop):
    started(shop)
    shop.mirror.stop()
    before = contents(shop.mirror)
    shop.execute("INSERT INTO t VALUES (5000, 'unseen')")
    shop.execute(f"SELECT pg_drop_replication_slot('{shop.name}')")
    refused(shop, shop.name, "slot")
    assert contents(shop.mirror) == before


def test_slot_advanced_by_somebody(shop):
    """The slot is ahead of the checkpoint: changes between the two are gone for good."""
    started(shop)
    shop.mirror.stop()
    before = contents(shop.mirror)
    shop.execute("INSERT INTO t VALUES (5000, 'lost')")
    wait_until(lambda: slot_is_free(shop), what="a free slot")
    shop.execute(f"SELECT pg_replication_slot_advance('{shop.name}', pg_current_wal_lsn())")
    refused(shop, shop.name, "ahead")
    assert contents(shop.mirror) == before


def test_slot_lost(own_cluster, shop_on):
    """max_slot_wal_keep_size has let the server throw away what the slot needs."""
    shop = shop_on(own_cluster(15, max_slot_wal_keep_size="16MB", max_wal_size="32MB", min_wal_size="32MB"))
    started(shop)
    shop.mirror.stop()
    before = contents(shop.mirror)

    def lost():
        shop.execute("INSERT INTO t SELECT i, repeat('x', 500) FROM generate_series(100000, 140000) i")
        shop.execute("DELETE FROM t WHERE id >= 100000")
        shop.execute("SELECT pg_switch_wal()")
        shop.execute("CHECKPOINT")
        return shop.value("SELECT wal_status FROM pg_replication_slots") == "lost"

    wait_until(lost, timeout=60, what="a lost slot")
    refused(shop, shop.name, "max_slot_wal_keep_size")
    assert contents(shop.mirror) == before


def test_other_cluster(shop, own_cluster, shop_on):
    """The file was filled from another server, which happens to have a slot of the same name."""
    started(shop)
    shop.mirror.stop()
    before = contents(shop.mirror)
    other = shop_on(own_cluster(15))
    other.execute(SETUP % 5)
    shop.mirror.source = other.url
    shop.mirror.configure()
    refused(shop, "cluster")
    assert contents(shop.mirror) == before


def test_wal_level(own_cluster, shop_on):
    shop = shop_on(own_cluster(15, wal_level="replica"))
    shop.execute(SETUP % 5)
    refused(shop, "wal_level", "logical")
    assert not shop.mirror.into.rows()


def test_missing_privileges(shop):
    shop.execute(SETUP % 5)
    shop.execute("CREATE ROLE reader LOGIN")
    shop.mirror.source = shop.cluster.url(shop.name, user="reader")
    shop.mirror.configure()
    try:
        refused(shop, "reader")
    finally:
        shop.execute("DROP ROLE reader")


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_server_restart(own_cluster, shop_on, mode):
    shop = started(shop_on(own_cluster(15)))
    for step in range(3):
        shop.execute(f"INSERT INTO t VALUES ({5000 + step}, 'before')")
        shop.cluster.restart(mode)
        shop.execute(f"UPDATE t SET v = 'after {step}' WHERE id % 10 = {step}")
        shop.mirror.wait_caught_up(shop.cluster)
    assert shop.mirror.running()
    shop.settle()


def test_server_away_at_start(own_cluster, shop_on):
    """It waits for a server that is not there yet."""
    cluster = own_cluster(15)
    shop = started(shop_on(cluster))
    shop.mirror.stop()
    shop.execute("INSERT INTO t VALUES (5000, 'x')")
    cluster.stop()
    shop.mirror.start()
    shop.mirror.wait_status(lambda status: status["state"] == "reconnecting", what="reconnecting")
    cluster.start()
    shop.settle()


def test_idle_database_lets_the_slot_advance(shop):
    """Only another database is written to; the slot must not hold back its WAL."""
    started(shop)
    before = shop.value("SELECT pg_current_wal_lsn()::text")
    shop.cluster.execute("CREATE TABLE IF NOT EXISTS noise (v text); INSERT INTO noise VALUES (repeat('x', 10000))")
    for column in ("confirmed_flush_lsn", "restart_lsn"):
        wait_until(lambda: shop.value(
            f"SELECT {column} > '{before}' FROM pg_replication_slots WHERE slot_name = '{shop.name}'"),
            timeout=40, what=f"{column} to pass {before}")
    shop.settle()


def test_open_transaction_while_the_slot_is_made(shop):
    """An open transaction on the source holds back the slot's creation; status says so, and it goes on after."""
    shop.execute(SETUP % 100)
    with shop.connect(autocommit=False) as blocker:
        blocker.execute("INSERT INTO t VALUES (7000, 'open')")
        shop.mirror.start()
        wait_until(lambda: shop.value("SELECT count(*) FROM pg_replication_slots WHERE slot_name = "
                                      f"'{shop.name}'") or "slot" in shop.mirror.log_text(), what="a slot being made")
        blocker.commit()
    assert shop.settle() == 101


def test_stop_while_the_slot_is_made(shop):
    """What waits for other people's transactions leaves when it is told to, and leaves nothing behind that waits."""
    shop.execute(SETUP % 100)
    with shop.connect(autocommit=False) as blocker:
        blocker.execute("INSERT INTO t VALUES (7000, 'open')")
        shop.mirror.start()
        wait_until(lambda: "creating slot" in shop.mirror.log_text(), what="a slot being made")
        begin = time.monotonic()
        shop.mirror.stop(unfinished=True)
        assert time.monotonic() - begin < 3 * PATIENCE
        wait_until(lambda: shop.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE_REPL%'"
                                      " AND state = 'active'") == 0, what="the server to give up")
        blocker.commit()
    shop.mirror.start()
    assert shop.settle() == 101


def test_no_free_slot(shop):
    """No free replication slot is left."""
    taken = shop.value("SELECT setting::int - (SELECT count(*) FROM pg_replication_slots) FROM pg_settings"
                       " WHERE name = 'max_replication_slots'")
    shop.execute(SETUP % 5)
    for number in range(taken):
        shop.execute(f"SELECT pg_create_physical_replication_slot('filler{number}')")
    try:
        refused(shop, "max_replication_slots")
    finally:
        shop.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                     " WHERE slot_name LIKE 'filler%'")


@pytest.mark.parametrize("at", ["first copy", "later copy"])
def test_the_slot_moves_while_tables_are_copied(shop, at):
    """Nobody reads from it then, and another mirror of its name may: what that was told, this one is never sent."""
    if at == "later copy":
        shop.execute("CREATE TABLE earlier (id int PRIMARY KEY)")
        shop.mirror.start()
        shop.mirror.wait_caught_up(shop.cluster)
        shop.mirror.stop()
    shop.execute(SETUP % 1_000_000)
    shop.mirror.start()
    wait_until(lambda: "copying 1 tables at" in shop.mirror.log_text(), what=shop.mirror.tail, poll=0.01)
    os.kill(shop.mirror.process.pid, signal.SIGSTOP)
    shop.execute("INSERT INTO t VALUES (0, 'lost')")
    assert slot_is_free(shop), shop.mirror.tail()
    shop.execute(f"SELECT pg_replication_slot_advance('{shop.name}', pg_current_wal_lsn())")
    os.kill(shop.mirror.process.pid, signal.SIGCONT)
    assert shop.mirror.wait_ended() == 3, shop.mirror.tail()
    assert "ahead of what the target has" in shop.mirror.log_text() and "(--name)" in shop.mirror.log_text()
    shop.mirror.start("--recopy-all")
    assert shop.settle() == 1_000_001
