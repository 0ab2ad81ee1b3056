"""Commits at the source wait for the mirror (synchronous_standby_names). Until it acknowledges one, no session sees
what the transaction did, not even in the catalogs, and it keeps its locks. Invariant: the commit returns, whatever is
in the transaction, and nothing is lost.

The same of a lock that somebody else keeps: what waits for it is that table alone."""
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Thread

import psycopg
import pytest

from kill_points import killed_at
from tailrace import in_background
from waiting import PATIENCE, wait_until

START = """CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 20) i;
CREATE TABLE u (id int PRIMARY KEY, v text); INSERT INTO u VALUES (1, 'v')"""
STEPS = {
    "rows": "INSERT INTO t VALUES (100, 'x'); UPDATE t SET v = 'y' WHERE id < 5",
    "a new table": "CREATE TABLE n (id int PRIMARY KEY); INSERT INTO n SELECT generate_series(1, 5)",
    "a column": "ALTER TABLE t ADD COLUMN e text DEFAULT 'e'",
    "a column with rows": "ALTER TABLE t ADD COLUMN d int DEFAULT 7; INSERT INTO t VALUES (100, 'x', 8)",
    "renamed with rows": "ALTER TABLE t RENAME TO r; INSERT INTO r VALUES (100, 'x')",
    "a type with rows": "ALTER TABLE t ALTER v TYPE int USING length(v); INSERT INTO t VALUES (100, 8)",
    "values with rows": "ALTER TABLE t ALTER v TYPE text USING v || '!'; INSERT INTO t VALUES (100, 'x')",
    "another column with rows": "ALTER TABLE t DROP v, ADD v text DEFAULT 'new'; INSERT INTO t VALUES (100, 'x')",
    "twice with rows": "ALTER TABLE t ADD a int; ALTER TABLE t ADD b int DEFAULT 5; INSERT INTO t VALUES (100, 'x', 1);"
                       "ALTER TABLE t DROP a; INSERT INTO t VALUES (101, 'x', 6)",
    "emptied with rows": "TRUNCATE t; INSERT INTO t VALUES (100, 'x')",
    "made again with rows": "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, w int); INSERT INTO t VALUES (100, 1)",
}
INTO = pytest.mark.parametrize("into", [None, 15], ids=["duckdb", "postgres"])


class Session:
    """One of a source whose commits wait for the mirror. `execute` fails where one waits for too long: the server only
    warns then, for it is committed."""

    def __init__(self, shop):
        self.warnings = []
        self.connection = shop.connect(autocommit=True)
        self.connection.add_notice_handler(lambda notice: self.warnings.append(notice.message_primary))
        self.connection.execute("SET statement_timeout = '60s'")

    def execute(self, sql):
        self.connection.execute(sql)
        assert not any("canceling wait" in warning for warning in self.warnings), f"it waited for too long: {sql}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()


@contextmanager
def waited_for(cluster, shop):
    cluster.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{shop.name}'")
    try:
        cluster.execute("SELECT pg_reload_conf()")
        wait_until(lambda: cluster.value("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == 1,
                   what="the mirror to be waited for")
        # Ours is what the mirror heard of last.
        shop.execute("UPDATE u SET v = v")
        with Session(shop) as session:
            yield session
    finally:
        cluster.execute("ALTER SYSTEM RESET synchronous_standby_names")
        cluster.execute("SELECT pg_reload_conf()")


@pytest.fixture
def start(own_cluster, shop_on, pair_on):
    """A factory: start(into, version, settings...) is a source with tables, and a mirror that follows them."""
    def make(into, version=15, **settings):
        cluster = own_cluster(version)
        shop = pair_on(cluster, into) if into else shop_on(cluster)
        shop.execute(START)
        if settings:
            shop.mirror.configure(**settings)
        shop.mirror.start()
        shop.mirror.wait_caught_up(cluster)
        return cluster, shop

    return make


def follow(cluster, shop):
    shop.mirror.look(cluster)
    return shop.settle()


@INTO
@pytest.mark.parametrize("step", STEPS)
def test_commits_that_wait(start, into, step):
    cluster, shop = start(into)
    with waited_for(cluster, shop) as source:
        source.execute(STEPS[step])
        # What comes next is not held up by what it left to do.
        source.execute("INSERT INTO u VALUES (2, 'after')")
    follow(cluster, shop)


@pytest.mark.parametrize("version, step", [
    # Below 14 the server's own decoder waits for a lock on the indexes of what it describes or truncates.
    (13, "a column with rows"), (16, "a new table"), (18, "a column with rows"), (18, "a new table")])
def test_other_servers(start, version, step):
    cluster, shop = start(None, version)
    with waited_for(cluster, shop) as source:
        source.execute(STEPS[step])
        source.execute("INSERT INTO u VALUES (2, 'after')")
    follow(cluster, shop)


# What is done, to which table, and how often its definition is followed.
BEHIND = {"renamed": (STEPS["renamed with rows"], "public.r", 1),
          "a leaf": ("CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2); INSERT INTO p VALUES (1, 2)", "public.p", 0)}


@pytest.mark.parametrize("into, what", [(None, "renamed"), (15, "renamed"), (None, "a leaf")])
def test_catalogs_that_are_behind_are_not_judged(start, into, what):
    """Another standby has not answered, so what the mirror has of the table is newer than they are."""
    cluster, shop = start(into)
    mirror = shop.mirror
    statements, table, follows = BEHIND[what]
    shop.execute("CREATE TABLE p (id int, d int, PRIMARY KEY (id, d)) PARTITION BY LIST (d);"
                 "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); INSERT INTO p VALUES (1, 1)")
    mirror.look(cluster)
    with waited_for(cluster, shop) as source, ThreadPoolExecutor(1) as pool:
        cluster.execute(f"ALTER SYSTEM SET synchronous_standby_names = '2 ({shop.name}, another)'")
        cluster.execute("SELECT pg_reload_conf()")
        wait_until(lambda: "another" in cluster.value("SHOW synchronous_standby_names"), what="the setting")
        done = pool.submit(source.execute, statements)
        wait_until(lambda: cluster.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == 1,
                   what="the commit to wait")
        with in_background(mirror, "refresh") as refresh:
            # One after the other: the mirror would look several times meanwhile.
            for i in range(2, 32):
                shop.execute(f"SET synchronous_commit = local; INSERT INTO u VALUES ({i}, 'x')")
                mirror.wait_status(lambda status: any(table["inserts"] >= i - 1 for table in status["tables"]
                                                      if table["name"] == "u"), what="a row")
            assert mirror.table(table)["state"] == "streaming" and not mirror.status()["in_step"], mirror.tail()
            # Once, as the stream told it.
            assert refresh.poll() is None and mirror.log_text().count("the target follows") == follows
            cluster.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{shop.name}'")
            cluster.execute("SELECT pg_reload_conf()")
            done.result()
            assert refresh.wait(60) == 0
    mirror.look(cluster)
    assert mirror.table(table)["state"] == "streaming"
    shop.settle()


@INTO
def test_a_new_table_that_nobody_copies(start, into):
    """Its rows were not had, and that is said, not passed over."""
    cluster, shop = start(into)
    shop.mirror.stop()
    shop.execute(f"DROP PUBLICATION {shop.name}; CREATE PUBLICATION {shop.name} FOR ALL TABLES")
    shop.mirror.configure(publication={"create": False})
    shop.mirror.start()
    shop.mirror.wait_caught_up(cluster)
    shop.mirror.stop()
    shop.mirror.configure(publication={"create": False}, snapshot={"enabled": False})
    shop.mirror.start()
    shop.mirror.wait_caught_up(cluster)
    with waited_for(cluster, shop) as source:
        source.execute(STEPS["a new table"])
        source.execute("INSERT INTO u VALUES (2, 'after')")
        held = wait_until(lambda: shop.mirror.table("public.n"), what="a word of the table")
        assert held["state"] == "held" and "waited for this mirror" in held["last_error"], held
    shop.mirror.stop()
    shop.mirror.configure(publication={"create": False})
    shop.mirror.start()
    shop.settle()


@INTO
@pytest.mark.parametrize("step", ["a column with rows", "a new table"])
def test_killed_before_it_is_acknowledged(start, into, step):
    """And again while what is to be copied waits."""
    cluster, shop = start(into)
    with waited_for(cluster, shop) as source, ThreadPoolExecutor(1) as pool:
        shop.mirror.stop()
        done = pool.submit(source.execute, STEPS[step])
        wait_until(lambda: cluster.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == 1,
                   what="the commit to wait")
        shop.mirror.env = killed_at("duckdb.mark_for_copy.committed") if into is None else {}
        for _ in range(3):
            shop.mirror.start()
            wait_until(lambda: not shop.mirror.running() or (shop.mirror.polled() or {}).get("state") == "streaming",
                       what="the stream, or its end")
            shop.mirror.kill()
            shop.mirror.env = {}
        shop.mirror.start()
        done.result()
        source.execute("INSERT INTO u VALUES (2, 'after')")
    follow(cluster, shop)


@INTO
def test_written_all_the_time(start, into):
    """Its snapshot is always older than its last change, unless there is a pause."""
    cluster, shop = start(into)
    over = Event()
    failed = []

    def write(first):
        try:
            with Session(shop) as session:
                for i in range(first, first + 100000, 2):
                    if over.is_set():
                        return
                    session.execute(f"INSERT INTO t (id, v) VALUES ({i}, 'w')")
        except (psycopg.Error, AssertionError) as error:
            failed.append(error)

    with waited_for(cluster, shop) as source:
        writers = [Thread(target=write, args=(first,)) for first in (1000, 1001)]
        for writer in writers:
            writer.start()
        try:
            source.execute("ALTER TABLE t ADD a int; UPDATE t SET a = 1 WHERE id < 3; ALTER TABLE t DROP a, ADD a text")
            wait_until(lambda: shop.mirror.table("public.t")["state"] != "streaming", what="the copy to be due")
            shop.mirror.wait_status(lambda status: all(table["state"] == "streaming" for table in status["tables"]),
                                    what="the copy")
        finally:
            over.set()
            for writer in writers:
                writer.join()
    assert not failed, failed
    follow(cluster, shop)


@INTO
@pytest.mark.parametrize("version", [15, 18])
def test_a_lock_that_somebody_keeps(start, into, version):
    """Killed and started again meanwhile: the other tables are followed, and the status says who keeps it."""
    cluster, shop = start(into, version)
    mirror = shop.mirror
    mirror.stop()
    shop.execute("ALTER TABLE t ALTER v TYPE int USING length(v); INSERT INTO t VALUES (100, 8)")
    with shop.connect(autocommit=False, application_name="migration") as other:
        other.execute("LOCK TABLE t")
        pid = other.info.backend_pid
        for i in range(2, 4):
            mirror.start()
            shop.execute(f"INSERT INTO u VALUES ({i}, 'x')")
            mirror.wait_status(lambda status: status["state"] == "streaming" and any(
                table["name"] == "u" and table["inserts"] for table in status["tables"]), what="the other table")
            status = mirror.wait_status(lambda status: status["waiting_for"], what="a word of what it waits for")
            assert f"public.t, which is locked by pid {pid} (user postgres, migration" in status["waiting_for"], status
            assert not status["in_step"] and mirror.table("public.t")["state"] == "pending"
            assert "a copy waits for public.t, which is locked by" in mirror.log_text()
            mirror.kill()
        mirror.start()
        mirror.wait_status(lambda status: status["waiting_for"], what="a word of what it waits for")
        other.execute("INSERT INTO t VALUES (101, 9)")
        other.commit()
    follow(cluster, shop)


@INTO
def test_a_stop_while_somebody_keeps_a_lock(own_cluster, shop_on, pair_on, into):
    """The first copy waits for him; a stop does not."""
    cluster = own_cluster()
    shop = pair_on(cluster, into) if into else shop_on(cluster)
    shop.execute(START)
    with shop.connect(autocommit=False) as other:
        other.execute("LOCK TABLE t")
        shop.mirror.start()
        wait_until(lambda: "waits for" in shop.mirror.log_text(), what="a word of what it waits for")
        shop.mirror.stop(unfinished=True)


@INTO
@pytest.mark.parametrize("leaf", ["made", "attached"])
@pytest.mark.parametrize("who", ["a commit that waits", "somebody"])
def test_a_new_partition_that_is_locked_at_a_start(start, into, leaf, who):
    """Whether it came with rows is found without its lock: its holder may wait for us, and other tables for nobody."""
    cluster, shop = start(into)
    shop.execute("CREATE TABLE p (id int, part int, PRIMARY KEY (id, part)) PARTITION BY LIST (part);"
                 "CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1); INSERT INTO p VALUES (1, 1)")
    shop.mirror.look(cluster)
    shop.mirror.stop()
    shop.execute("CREATE TABLE p_2 PARTITION OF p FOR VALUES IN (2)" if leaf == "made" else
                 "CREATE TABLE p_2 (LIKE p INCLUDING ALL); ALTER TABLE p ATTACH PARTITION p_2 FOR VALUES IN (2)")
    with shop.connect() as other:
        if who == "somebody":
            other.execute("BEGIN; LOCK TABLE p_2")
            writing = None
        else:
            cluster.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{shop.name}'")
            cluster.execute("SELECT pg_reload_conf()")
            wait_until(lambda: cluster.value("SHOW synchronous_standby_names") == shop.name)
            writing = Thread(target=other.execute, args=["ALTER TABLE p ADD x int DEFAULT 1;"
                                                         "INSERT INTO p VALUES (1, 2)"])
            writing.start()
            waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            wait_until(lambda: cluster.value(waits) == 1, what="the commit to wait")
        try:
            shop.mirror.start()
            if writing:
                writing.join(40 * PATIENCE)
                assert not writing.is_alive(), shop.mirror.tail()
            else:
                shop.execute("INSERT INTO u VALUES (5000, 'meanwhile')")
                wait_until(lambda: (shop.mirror.table("public.u") or {}).get("inserts"), timeout=40,
                           what=lambda: f"the other tables to go on\n{shop.mirror.tail()}")
                other.execute("ROLLBACK")
        finally:
            cluster.execute("ALTER SYSTEM RESET synchronous_standby_names")
            cluster.execute("SELECT pg_reload_conf()")
            if writing:
                writing.join()
    follow(cluster, shop)
