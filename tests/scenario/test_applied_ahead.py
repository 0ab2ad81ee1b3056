"""A large transaction is applied at a PostgreSQL target while it is in progress at the source. Invariant: nothing of it
is seen before its commit or after its rollback, all of it is after its commit, and the others keep their place."""
import pytest

from proxy import Proxy
from waiting import wait_until

pytestmark = pytest.mark.postgres

TABLES = """CREATE TABLE t (id int PRIMARY KEY, v int, body text);
CREATE TABLE other (id int PRIMARY KEY, v int);
CREATE TABLE twins (v int); ALTER TABLE twins REPLICA IDENTITY FULL;
INSERT INTO t SELECT g, g, 'here' FROM generate_series(1, 1000) g;
INSERT INTO other SELECT g, g FROM generate_series(1, 100) g"""
LARGE = "INSERT INTO t SELECT g, g, repeat('x', 300) FROM generate_series(10001, 50000) g"


@pytest.fixture
def streamed(pair):
    """The server streams what is larger than the least that it may remember."""
    pair.execute(f"ALTER DATABASE {pair.name} SET logical_decoding_work_mem = '64kB'; " + TABLES)
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    return pair


def ahead(pair):
    """The transaction that the target has open, or nothing."""
    return pair.mirror.into.value(
        "(SELECT max(backend_xid::text) FROM pg_stat_activity WHERE application_name LIKE '% apply'"
        " AND datname = current_database() AND state LIKE 'idle in%' OR query LIKE '%pg_locks%'"
        " AND application_name LIKE '% apply' AND datname = current_database())")


def begun(writer, pair):
    """The writer is in a large transaction, and the target too."""
    writer.execute("BEGIN")
    writer.execute(LARGE)
    return wait_until(lambda: ahead(pair), what="a transaction that is open at the target")


def seen(pair, condition, table="t"):
    return int(pair.mirror.into.value(f"(SELECT count(*) FROM {table} WHERE {condition})"))


def test_in_its_place(streamed):
    """What commits meanwhile arrives at once, and what the large transaction does to it afterwards comes after it."""
    pair = streamed
    with pair.connect() as writer:
        writer.autocommit = True
        xid = begun(writer, pair)
        for step in range(5):
            pair.execute(f"UPDATE other SET v = v + 1 WHERE id <= 50; INSERT INTO other VALUES ({step + 500}, 0);"
                         f"UPDATE t SET body = 'changed {step}' WHERE id <= 100")
            pair.mirror.wait_caught_up(pair.cluster)
            assert seen(pair, f"id = {step + 500}", "other") == 1
            assert seen(pair, f"body = 'changed {step}'") == 100
            writer.execute("UPDATE other SET v = v * 2 WHERE id > 50 OR id > 490; DELETE FROM other WHERE id = 500")
            writer.execute(f"UPDATE t SET v = -v, body = repeat('{step}', 200) WHERE id BETWEEN 10001 AND 30000")
        assert seen(pair, "id > 10000") == 0
        writer.execute("UPDATE t SET v = -v WHERE id <= 100")
        writer.execute("COMMIT")
    pair.mirror.wait_caught_up(pair.cluster)
    pair.verified()
    pair.settle()
    assert pair.mirror.into.value("(SELECT DISTINCT xmin::text FROM t WHERE id > 30000)") == xid


@pytest.mark.parametrize("back_to", ("", "TO SAVEPOINT s"))
def test_taken_back(streamed, back_to):
    """Its rows do not stand in the way of those that come instead of them."""
    pair = streamed
    with pair.connect() as writer:
        writer.autocommit = True
        begun(writer, pair)
        writer.execute("SAVEPOINT s")
        writer.execute("UPDATE t SET v = 0, body = repeat('y', 300) WHERE id > 20000; DELETE FROM t WHERE id = 7")
        writer.execute("UPDATE t SET body = 'gone' WHERE id <= 1000")
        writer.execute(f"ROLLBACK {back_to}")
        if back_to:
            writer.execute("COMMIT")
        else:
            pair.execute(LARGE + "; UPDATE t SET body = 'instead' WHERE id <= 1000")
    pair.settle()


def begun_with_a_tie(writer, pair):
    """The same, and the target forbids what the source does not: that another row has the value 9000."""
    pair.mirror.into.execute("CREATE UNIQUE INDEX ON other (v)")
    writer.autocommit = True
    writer.execute("BEGIN")
    writer.execute("INSERT INTO other VALUES (900, 9000)")
    writer.execute(LARGE)
    wait_until(lambda: ahead(pair), what="a transaction that is open at the target")


def test_gives_way(streamed):
    """A transaction that commits earlier would wait for ever for one that commits later."""
    pair = streamed
    with pair.connect() as writer:
        begun_with_a_tie(writer, pair)
        pair.execute("INSERT INTO other VALUES (901, 9000)")
        pair.mirror.wait_caught_up(pair.cluster)
        assert seen(pair, "id = 901", "other") == 1
        writer.execute("COMMIT")
    pair.mirror.wait_caught_up(pair.cluster)
    # What came later of the two has the value, as apply_remote says.
    assert pair.mirror.into.value("(SELECT array_agg(id) FROM other WHERE v = 9000)") == "{900}"
    assert seen(pair, "id > 10000") == 40000
    assert pair.mirror.status()["conflicts"]["insert_exists"] == 1


@pytest.mark.parametrize("fault", ("mirror", "target", "walsender"))
def test_interrupted(streamed, fault):
    pair = streamed
    with pair.connect() as writer:
        writer.autocommit = True
        xid = begun(writer, pair)
        pair.execute("INSERT INTO other VALUES (700, 0)")
        if fault == "mirror":
            pair.mirror.kill()
            pair.mirror.start()
        elif fault == "target":
            pair.mirror.into.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                                     f" WHERE backend_xid::text = '{xid}'")
        else:
            pair.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
        writer.execute("UPDATE t SET v = -1 WHERE id % 3 = 0")
        pair.mirror.wait_streaming()
        assert seen(pair, "id > 10000") == 0
        writer.execute("COMMIT")
    pair.settle(timeout=60)


ELSEWHERE = "INSERT INTO unpublished SELECT g, repeat('x', 300) FROM generate_series(1, 9999) g"


@pytest.mark.parametrize("changes", (ELSEWHERE,
                                     LARGE + "; DELETE FROM t WHERE id > 10000"), ids=("elsewhere", "undone"))
def test_nothing_comes_of_it(streamed, changes):
    """The server streams a transaction also if none of its tables is published."""
    pair = streamed
    pair.mirror.stop()
    pair.mirror.configure(tables=["public.t", "public.other"])
    pair.execute("CREATE TABLE unpublished (id int, body text)")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    with pair.connect() as writer:
        writer.execute(changes)
    pair.execute("INSERT INTO other VALUES (600, 6)")
    pair.mirror.wait_caught_up(pair.cluster)
    assert seen(pair, "id = 600", "other") == 1 and pair.mirror.status()["reconnects"] == 0
    pair.settle(tables={"public.t": "public.t", "public.other": "public.other"})


def test_a_lane_that_came_later(streamed):
    """As above, and the connection that has to wait was not open when the large transaction began."""
    pair = streamed
    with pair.connect() as writer:
        begun_with_a_tie(writer, pair)
        # Several batches, so that more than one connection is needed.
        pair.execute("DO $$ BEGIN FOR i IN 1 .. 8 LOOP INSERT INTO t SELECT g, 0, repeat('y', 1000) FROM"
                     " generate_series(i * 10000 + 100001, i * 10000 + 104000) g; INSERT INTO other VALUES"
                     " (900 + i, 8999 + i); COMMIT; END LOOP; END $$")
        pair.mirror.wait_caught_up(pair.cluster)
        assert seen(pair, "v >= 9000", "other") == 8
        writer.execute("ROLLBACK")
    pair.settle()


def test_stopped(streamed):
    """A transaction that is open at the source keeps nobody from ending, and leaves nothing."""
    pair = streamed
    with pair.connect() as writer:
        writer.autocommit = True
        begun(writer, pair)
        pair.mirror.stop()
        assert ahead(pair) is None and seen(pair, "id > 10000") == 0
        writer.execute("COMMIT")
    pair.mirror.start()
    pair.settle()


def test_stopped_while_it_waits(streamed):
    """For a lock of somebody at the target, who may keep it for hours."""
    pair = streamed
    into = pair.mirror.into
    with pair.connect() as writer, into.cluster.connect(into.database) as holder:
        holder.execute("BEGIN")
        holder.execute("UPDATE t SET id = id WHERE id = 1")
        writer.autocommit = True
        writer.execute("BEGIN")
        writer.execute("UPDATE t SET v = 0 WHERE id = 1; " + LARGE)
        wait_until(lambda: into.value("(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND"
                                      " application_name LIKE '% apply' AND wait_event_type = 'Lock')") == "1",
                   what="a part that waits")
        pair.mirror.stop()
        holder.execute("ROLLBACK")
        writer.execute("COMMIT")
    pair.mirror.start()
    pair.settle()


def test_lost_at_its_commit(streamed):
    """The connection breaks while it commits: whether it did is looked up, not guessed, where no key would tell."""
    pair = streamed
    into = pair.mirror.into
    commits = "application_name LIKE '% apply' AND datname = current_database() AND wait_event_type = 'Lock'"
    with pair.connect() as writer, into.cluster.connect(into.database) as holder:
        begun(writer, pair)
        writer.execute("INSERT INTO twins SELECT 1 FROM generate_series(1, 100)")
        holder.execute("BEGIN")
        holder.execute("SELECT FROM tailrace.checkpoint FOR UPDATE")
        writer.execute("COMMIT")
        wait_until(lambda: into.value(f"(SELECT count(*) FROM pg_stat_activity WHERE {commits})") != "0",
                   what="a commit that waits")
        into.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {commits}")
        holder.execute("ROLLBACK")
    pair.settle()


def test_a_stop_while_the_target_does_not_answer(pair):
    """With a large transaction open there, which nobody can be told to roll back."""
    into = pair.mirror.into
    pair.execute(f"ALTER DATABASE {pair.name} SET logical_decoding_work_mem = '64kB'; " + TABLES)
    with Proxy(into.cluster.port) as proxy:
        pair.mirror.configure(target=into.cluster.url(into.database, port=proxy.port))
        pair.mirror.start()
        pair.mirror.wait_caught_up(pair.cluster)
        with pair.connect() as writer:
            writer.autocommit = True
            begun(writer, pair)
            proxy.stall()
            pair.mirror.process.terminate()
            assert pair.mirror.wait_ended(20) in (0, 5), pair.mirror.tail()
            proxy.restore()
            writer.execute("COMMIT")
        pair.mirror.start()
        assert pair.settle() == 41100
