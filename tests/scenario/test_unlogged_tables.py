"""A table of a PostgreSQL target that a crash of its server empties, while the checkpoint stays. Invariant: it is
refused or held with the remedy, by itself, and never followed on from as if its rows were there."""
import pytest

from tailrace import run
from waiting import wait_until

pytestmark = pytest.mark.postgres

SOURCE = """
CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 100) i;
CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (1000); INSERT INTO p SELECT i, 'v' FROM generate_series(1, 50) i;
CREATE TABLE bystander (id int PRIMARY KEY)
"""
EMPTY = """
CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (1000); CREATE TABLE bystander (id int PRIMARY KEY);
"""
LOADED = EMPTY + "INSERT INTO t SELECT i, 'v' FROM generate_series(1, 100) i; INSERT INTO p SELECT i, 'v' FROM" \
                 " generate_series(1, 50) i"
# The table of the source, and what is unlogged of it at the target.
TABLES = pytest.mark.parametrize("table, unlogged", [("t", "t"), ("p", "p1")], ids=["table", "partition"])


def line_with(text, *words):
    return next((line for line in text.replace("\n  ", " ").splitlines() if all(word in line for word in words)), None)


def wait_held(mirror, table):
    def held(status):
        states = {it["name"]: it["state"] for it in status["tables"]}
        return status["state"] == "streaming" and states[table] == "held" \
            and list(states.values()).count("streaming") == len(states) - 1

    wait_until(lambda: mirror.polled() and held(mirror.polled()), what=lambda: f"{table} is held\n{mirror.tail()}")
    assert "unlogged" in mirror.table(f"public.{table}")["last_error"] and not mirror.polled()["in_step"]
    assert line_with(mirror.log_text(), f"public.{table} is held", "SET LOGGED", f"--recopy public.{table}")


@TABLES
@pytest.mark.parametrize("there, settings", [(EMPTY, {}), (EMPTY, {"schema": "expect"}),
                                             (LOADED, {"snapshot": {"enabled": False}})],
                         ids=["copy", "expect", "adopt"])
def test_refused_at_the_first_start(pair, there, settings, table, unlogged):
    pair.execute(SOURCE)
    into = pair.mirror.into
    into.execute(there + f"; ALTER TABLE {unlogged} SET UNLOGGED")
    pair.mirror.configure(**settings)
    checked = run("check", "-c", pair.mirror.config)
    assert checked.returncode == 1 and line_with(checked.stdout, "fail", "unlogged", unlogged), checked.stdout
    assert "SET LOGGED;  -- at the target" in checked.stdout
    pair.mirror.start()
    assert pair.mirror.wait_ended() == 3
    assert line_with(pair.mirror.log_text(), "unlogged", unlogged, "SET LOGGED"), pair.mirror.tail()
    assert pair.value(f"SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{pair.name}'") == 0
    into.execute(f"ALTER TABLE {unlogged} SET LOGGED")
    assert run("check", "-c", pair.mirror.config).returncode == 0
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.execute("INSERT INTO t VALUES (500, 'later'); INSERT INTO p VALUES (500, 'later')")
    assert pair.settle() == 152


def test_a_partitioned_table_that_is_unlogged_has_no_rows_of_its_own(pair):
    """Before 18 one can be made so, and SET LOGGED does nothing."""
    pair.execute(SOURCE)
    pair.mirror.into.execute(EMPTY.replace("CREATE TABLE p (", "CREATE UNLOGGED TABLE p ("))
    pair.mirror.start()
    assert pair.settle() == 150


@TABLES
@pytest.mark.parametrize("how", ["running", "stopped"])
def test_one_that_becomes_unlogged_is_held(pair, how, table, unlogged):
    """Without a single change of it."""
    pair.execute(SOURCE)
    mirror = pair.mirror
    mirror.start()
    mirror.wait_caught_up(pair.cluster)
    if how == "stopped":
        mirror.stop()
    mirror.into.execute(f"ALTER TABLE {unlogged} SET UNLOGGED")
    if how == "stopped":
        mirror.start()
    wait_held(mirror, table)
    pair.execute("INSERT INTO bystander VALUES (1)")
    wait_until(lambda: mirror.into.query("SELECT count(*) FROM bystander") == [("1",)], what="the others go on")
    mirror.into.execute(f"ALTER TABLE {unlogged} SET LOGGED")
    mirror.stop()
    mirror.start("--recopy", f"public.{table}")
    mirror.wait_caught_up(pair.cluster)
    assert pair.settle() == 151


def test_a_crash_of_the_target(pair_on, own_cluster):
    """Before anybody looked: what is lost by it is told."""
    target = own_cluster()
    pair = pair_on(target=target)
    pair.execute(SOURCE)
    mirror = pair.mirror
    mirror.configure(connect={"timeout": "2s", "backoff_min": "100ms", "backoff_max": "300ms"})
    mirror.start()
    mirror.wait_caught_up(pair.cluster)
    mirror.into.execute("ALTER TABLE t SET UNLOGGED")
    target.restart("immediate")
    pair.execute("INSERT INTO bystander VALUES (1)")
    wait_held(mirror, "t")
    mirror.into.execute("ALTER TABLE t SET LOGGED")
    mirror.stop()
    mirror.start("--recopy", "public.t")
    mirror.wait_caught_up(pair.cluster)
    assert pair.settle() == 151
