"""A start that is far behind reads what the slot held back through functions, in bites, and goes over to the
replication stream at their end. Invariant: nothing is lost, doubled or reordered, wherever a bite ends."""
import json
import re

import pytest

import workload
from tailrace import run
from waiting import wait_until

BY_FUNCTIONS = "reading the backlog through"
TABLES = """CREATE TABLE t (id int PRIMARY KEY, v int, body text);
CREATE TABLE other (id int PRIMARY KEY, v text);
CREATE TABLE keyless (v int);
ALTER TABLE t ALTER body SET STORAGE EXTERNAL;
INSERT INTO t SELECT g, g, repeat('x', 3000) FROM generate_series(1, 100) g"""


def stopped(shop, **settings):
    """It followed, and was stopped; any backlog at all is read through functions from now on."""
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    shop.mirror.configure(limits={"backlog": "1B", **settings.pop("limits", {})}, **settings)
    shop.mirror.log.unlink()
    return shop


def copies_of_slots(shop):
    return int(shop.value("SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE '%backlog%'"
                          " AND database = current_database()"))


@pytest.fixture
def behind(shop):
    shop.execute(TABLES)
    return stopped(shop)


@pytest.mark.parametrize("binary", ("auto", "off"))
def test_all_that_happens_to_rows(shop, binary):
    shop.execute(TABLES)
    stopped(shop, binary=binary)
    for step in range(20):
        shop.execute(f"""INSERT INTO t SELECT g, g, repeat('y', 4000) FROM generate_series({step}01, {step}99) g
                           ON CONFLICT DO NOTHING;
                         UPDATE t SET v = v + 1 WHERE id % 3 = {step} % 3;
                         UPDATE t SET id = id + 100000 WHERE id % 50 = {step} AND id < 100000;
                         DELETE FROM t WHERE id % 7 = {step} % 7 AND id > 50000""")
        shop.execute(f"INSERT INTO other VALUES ({step}, {step})")
    shop.execute("TRUNCATE other")
    shop.execute("INSERT INTO other VALUES (1, 'after')")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("UPDATE other SET v = v || ' and live'; UPDATE t SET v = -v WHERE id < 30")
    shop.verified()
    wait_until(lambda: "streaming from" in shop.mirror.log_text(), what="the end of the backlog")
    shop.settle()
    log = shop.mirror.log_text()
    assert re.search(f"{BY_FUNCTIONS}.*streaming from", log, re.DOTALL), log
    wait_until(lambda: copies_of_slots(shop) == 0, what="the end of the session that held the copy")


@pytest.mark.parametrize("streaming", (True, False))
def test_transactions_across_bites(shop, streaming):
    """One that is larger than the first bites, one that is begun in the first and commits in the last, and one that
    commits after them all. The server streams what is larger than the least that it may remember, each time from its
    beginning."""
    shop.execute(f"ALTER DATABASE {shop.name} SET logical_decoding_work_mem = '64kB'; " + TABLES)
    behind = stopped(shop, streaming=streaming)
    with behind.connect() as writer, behind.connect() as crossing:
        writer.autocommit = crossing.autocommit = True
        crossing.execute("BEGIN")
        crossing.execute("INSERT INTO keyless SELECT g FROM generate_series(1, 3000) g")
        writer.execute("BEGIN")
        writer.execute("INSERT INTO t SELECT g, 0, 'open' FROM generate_series(500001, 501000) g")
        behind.execute("INSERT INTO other SELECT g, 'first' FROM generate_series(1, 100) g")
        behind.execute("INSERT INTO t SELECT g, g, repeat('z', 100) FROM generate_series(1001, 100000) g")
        for step in range(100):
            behind.execute("INSERT INTO t SELECT g, g, repeat('w', 100) FROM generate_series"
                           f"({140000 + step * 100}, {140099 + step * 100}) g; UPDATE other SET v = '{step}'")
        crossing.execute("COMMIT")
        behind.mirror.start()
        wait_until(lambda: "streaming from" in behind.mirror.log_text(), what="the end of the backlog")
        writer.execute("UPDATE t SET v = 1, body = 'closed' WHERE id > 500500")
        writer.execute("COMMIT")
    behind.mirror.wait_caught_up(behind.cluster)
    behind.verified()
    assert behind.settle() > 110000
    assert BY_FUNCTIONS in behind.mirror.log_text()


def test_schema_change_in_the_backlog(behind):
    """A column goes in the middle of it."""
    behind.execute("INSERT INTO other SELECT g, 'before' FROM generate_series(1, 1000) g")
    behind.execute("ALTER TABLE other DROP COLUMN v")
    behind.execute("INSERT INTO other SELECT g FROM generate_series(1001, 2000) g")
    behind.mirror.start()
    behind.mirror.wait_caught_up(behind.cluster)
    if behind.target_server is None:
        assert behind.settle() == 2100
    else:
        assert behind.mirror.into.value("(SELECT count(*) FROM other)") == "2000"


def test_while_it_is_written_to(behind):
    """The end of the backlog moves on."""
    behind.execute(workload.SETUP)
    with workload.Workload(behind.connect) as load:
        for _ in range(4):
            behind.mirror.start()
            wait_until(lambda: "streaming from" in behind.mirror.log_text(), what="the end of the backlog")
            behind.mirror.stop(unfinished=True)  # the new tables may wait for their copies
            behind.mirror.log.unlink()
            before = load.count
            wait_until(lambda: load.count > before + 200, what="more to read")
        behind.mirror.start()
    behind.mirror.wait_caught_up(behind.cluster)
    behind.verified()
    assert behind.settle() > workload.ACCOUNTS


def test_our_slot_moves_to_what_is_durable_only(behind):
    """While the target takes nothing, bites go on, but the slot stays."""
    if behind.target_server is None:
        pytest.skip("a DuckDB file has no locks to hold")
    position = f"(SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{behind.name}')"
    behind.execute("INSERT INTO t SELECT g, g, repeat('x', 2500) FROM generate_series(1001, 20000) g")
    there = behind.value(f"SELECT {position}")
    with behind.mirror.into.cluster.connect(behind.mirror.into.database) as holder:
        holder.execute("BEGIN; LOCK TABLE t")
        behind.mirror.start()
        wait_until(lambda: "streaming from" in behind.mirror.log_text(), what="the end of the backlog")
        assert behind.value(f"SELECT {position}") == there
    behind.mirror.wait_caught_up(behind.cluster)
    wait_until(lambda: behind.value(f"SELECT {position} > '{there}'"), what="an acknowledgement")
    assert behind.settle() > 19000


def test_our_slot_is_taken_meanwhile(behind, tmp_path):
    """Nobody else reads or drops it."""
    if behind.target_server is None:
        pytest.skip("a DuckDB file has no locks to hold")
    behind.execute("INSERT INTO t SELECT g, g, repeat('x', 2500) FROM generate_series(1001, 20000) g")
    with behind.mirror.into.cluster.connect(behind.mirror.into.database) as holder:
        holder.execute("BEGIN; LOCK TABLE t")
        behind.mirror.start()
        wait_until(lambda: copies_of_slots(behind) == 1, what="a bite")
        # As from another host, where nothing but the source says that somebody is there.
        outcome = run("teardown", behind.url, "--name", behind.name, env={"TAILRACE_STATE": str(tmp_path)})
        assert outcome.returncode != 0
        assert "in use" in outcome.stderr, outcome.stderr
    assert behind.settle() > 19000


def test_nothing_of_ours_at_its_end(behind):
    """The target and our slot are where the backlog ended before the walsender begins."""
    behind.execute("INSERT INTO other SELECT g, 'ours' FROM generate_series(1, 50000) g")
    noise = f"noise_{behind.name}"
    behind.cluster.execute(f"CREATE TABLE {noise} AS SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
    behind.cluster.execute(f"DROP TABLE {noise}")
    behind.mirror.start()
    begins = wait_until(lambda: re.search(r"streaming from (\S+)", behind.mirror.log_text()),
                        what="the end of the backlog")[1]
    assert behind.value(f"SELECT confirmed_flush_lsn >= '{begins}' FROM pg_replication_slots"
                        f" WHERE slot_name = '{behind.name}'")
    assert behind.settle() == 50100


def test_its_session_is_ended_at_once(behind):
    """Before the first of its rows came."""
    behind.execute("INSERT INTO other SELECT g, repeat('z', 50) FROM generate_series(1, 100000) g")
    behind.mirror.start()
    behind.execute("""DO $$ BEGIN
        FOR i IN 1 .. 30000 LOOP
            PERFORM pg_stat_clear_snapshot();
            PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
                AND state = 'active' AND query LIKE '%logical_slot_get_binary_changes%' AND pid <> pg_backend_pid();
            EXIT WHEN FOUND;
            PERFORM pg_sleep(0.001);
        END LOOP; END $$""")
    behind.mirror.wait_caught_up(behind.cluster)
    assert behind.settle() == 100100
    assert "terminating connection due to administrator command" in behind.mirror.log_text(), behind.mirror.log_text()


def test_no_slot_is_free(own_cluster, shop_on):
    """Then the replication stream brings it."""
    server = own_cluster(max_replication_slots=3)
    shop = shop_on(server)
    shop.execute(TABLES)
    stopped(shop)
    server.execute("SELECT pg_create_physical_replication_slot('a'), pg_create_physical_replication_slot('b')")
    shop.execute("INSERT INTO other SELECT g, 'more' FROM generate_series(1, 1000) g")
    shop.mirror.start()
    assert shop.settle() == 1100
    assert "the backlog comes by the replication stream" in shop.mirror.log_text()


def test_a_bite_that_the_server_refuses(behind):
    """What needs room that a replication stream does not."""
    behind.execute(f"ALTER DATABASE {behind.name} SET temp_file_limit = '64kB'")
    behind.execute("INSERT INTO t SELECT g, g, repeat('x', 3500) FROM generate_series(1001, 31000) g")
    behind.mirror.start()
    assert behind.settle() == 30100
    assert "temp_file_limit" in behind.mirror.log_text()


def test_wide_rows(behind):
    """One bite shows that they are wide; the replication stream brings the rest while the target is at work."""
    config = json.loads(behind.mirror.config.read_text(encoding="utf-8"))
    behind.mirror.configure(limits=config["limits"], log={"level": "debug"})
    for first in range(1000, 17000, 1000):
        behind.execute(f"INSERT INTO t SELECT g, g, repeat('x', 6000) FROM generate_series({first}, {first + 999}) g;"
                       f"UPDATE t SET v = -v WHERE id % 10 = 0; UPDATE t SET body = 'y' WHERE id = {first} + 7")
    behind.mirror.start()
    assert behind.settle() == 16100
    behind.verified()
    assert behind.mirror.log_text().count("a bite of") == 1


def test_by_a_unix_socket(shop):
    shop.execute(TABLES)
    shop.mirror.source = shop.cluster.socket_url(shop.name)
    stopped(shop)
    shop.execute("INSERT INTO other SELECT g, 'more' FROM generate_series(1, 1000) g")
    shop.mirror.start()
    assert shop.settle() == 1100
    assert BY_FUNCTIONS in shop.mirror.log_text()


def test_failover_slots_wait_for_their_standbys(shop_on):
    """A copy of the slot would not."""
    shop = shop_on(18)
    shop.execute(TABLES)
    shop.mirror.configure(slot={"failover": True})
    stopped(shop, slot={"failover": True})
    shop.execute("INSERT INTO other SELECT g, 'more' FROM generate_series(1, 1000) g")
    shop.mirror.start()
    assert shop.settle() == 1100
    assert BY_FUNCTIONS not in shop.mirror.log_text()


def test_every_version(shop_on, version):
    shop = shop_on(version)
    shop.execute(workload.SETUP)
    stopped(shop)
    with workload.Workload(shop.connect) as load:
        wait_until(lambda: load.count > 300, what="a backlog")
    shop.mirror.start()
    assert shop.settle() > workload.ACCOUNTS
    assert BY_FUNCTIONS in shop.mirror.log_text()
    wait_until(lambda: copies_of_slots(shop) == 0, what="the end of the session that held the copy")
