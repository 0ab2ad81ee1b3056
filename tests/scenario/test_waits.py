"""What waits for others' transactions says for whose: in the log, in the status, and by `verify`."""
import json
import subprocess

import psycopg
import pytest

from tailrace import BINARY, run
from waiting import wait_until

TABLES = "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)"


def waiting(mirror):
    status = mirror.polled()
    return status and status["waiting_for"]


def test_open_transaction(shop):
    shop.execute(TABLES)
    with shop.connect(autocommit=False, application_name="payroll") as blocker:
        blocker.execute("INSERT INTO t VALUES (7)")
        pid = blocker.info.backend_pid
        shop.mirror.start()
        text = wait_until(lambda: waiting(shop.mirror), what="a word of what it waits for")
        assert f"pid {pid} (user postgres, payroll, database {shop.name}, open for 00:0" in text, text
        assert "idle in transaction: INSERT)" in text and "VALUES" not in text, text
        assert f"waits    for open transactions at the source: pid {pid}" in shop.mirror.text_status()
        wait_until(lambda: f"waits for open transactions at the source: pid {pid} " in shop.mirror.log_text(),
                   what="a line in the log")
        blocker.commit()
    shop.mirror.wait_caught_up(shop.cluster)
    assert shop.mirror.status()["waiting_for"] == ""
    assert shop.settle() == 2


def test_prepared_transaction_of_another_database(own_cluster, shop_on):
    """Nobody is connected, and it is waited for all the same."""
    cluster = own_cluster(max_prepared_transactions="4")
    shop = shop_on(cluster)
    shop.execute(TABLES)
    with cluster.connect("postgres") as other:
        other.execute("CREATE TABLE elsewhere (id int)")
        other.execute("BEGIN; INSERT INTO elsewhere VALUES (1); PREPARE TRANSACTION 'left behind'")
        shop.mirror.start()
        text = wait_until(lambda: waiting(shop.mirror), what="a word of what it waits for")
        assert "prepared transaction 'left behind' (of postgres, database postgres, for " in text, text
        assert "ROLLBACK PREPARED" in text
        other.execute("ROLLBACK PREPARED 'left behind'")
    shop.mirror.wait_caught_up(cluster)
    assert shop.settle() == 1


def test_without_the_right_to_see_more(shop):
    """Who it is can be seen by everybody; what he does, not."""
    shop.execute(TABLES)
    role = f"{shop.name}_reader"
    shop.execute(f"CREATE ROLE {role} LOGIN REPLICATION; GRANT CREATE ON DATABASE {shop.name} TO {role};"
                 f"GRANT SELECT ON t TO {role}; CREATE PUBLICATION {shop.name} FOR TABLE t")
    try:
        shop.mirror.source = shop.url.replace("postgres@", f"{role}@")
        shop.mirror.configure(publication={"create": False})
        with shop.connect(autocommit=False, application_name="payroll") as blocker:
            blocker.execute("INSERT INTO t VALUES (7) /* secret */")
            shop.mirror.start()
            text = wait_until(lambda: waiting(shop.mirror), what="a word of what it waits for")
            assert f"pid {blocker.info.backend_pid} (user postgres" in text and "pg_read_all_stats" in text, text
            assert "secret" not in text
            blocker.commit()
        shop.mirror.wait_caught_up(shop.cluster)
        shop.mirror.stop()
        shop.mirror.teardown()
    finally:
        shop.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_no_password_is_repeated(shop):
    shop.execute(TABLES)
    with shop.connect(autocommit=False) as blocker:
        blocker.execute(f"CREATE ROLE {shop.name}_secret PASSWORD 'topsecret'")
        shop.mirror.start()
        text = wait_until(lambda: waiting(shop.mirror), what="a word of what it waits for")
        assert f"pid {blocker.info.backend_pid}" in text and "topsecret" not in text, text
        blocker.rollback()
    shop.mirror.wait_caught_up(shop.cluster)
    assert "topsecret" not in shop.mirror.log_text()


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_verify(shop, running):
    shop.execute(TABLES)
    with shop.mirror:
        shop.mirror.wait_caught_up(shop.cluster)
        if not running:
            shop.mirror.stop()
        with shop.connect(autocommit=False) as blocker:
            blocker.execute("SELECT pg_current_xact_id()")
            pid = blocker.info.backend_pid
            with subprocess.Popen([BINARY, "verify", "-c", shop.mirror.config, "--json"], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True) as asking:
                if running:
                    text = wait_until(lambda: (shop.mirror.polled()["verify"] or {}).get("waiting_for"),
                                      what="a word of what it waits for")
                    assert f"pid {pid} " in text, text
                    wait_until(lambda: f"waits for open transactions at the source: pid {pid}"
                               in shop.mirror.log_text(), what="a line in the log")
                else:
                    for line in asking.stderr:
                        if f"waits for open transactions at the source: pid {pid}" in line:
                            break
                blocker.rollback()
                report = json.loads(asking.communicate()[0])
        assert report["equal"], report


def test_init(shop):
    """What `init --create-slot` waits for."""
    shop.execute(TABLES)
    with shop.connect(autocommit=False) as blocker:
        blocker.execute("SELECT pg_current_xact_id()")
        with subprocess.Popen([BINARY, "init", "-c", shop.mirror.config, "--create-slot"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as making:
            assert f"waits for open transactions at the source: pid {blocker.info.backend_pid}" in next(making.stderr)
            blocker.rollback()
            assert "created at" in making.communicate()[0]
    run("teardown", "-c", shop.mirror.config)


def test_a_lost_look_is_no_harm(own_cluster, shop_on):
    """No connection is left for the look: it waits all the same, and ends well."""
    cluster = own_cluster(max_connections="6", superuser_reserved_connections="0", max_wal_senders="5")
    shop = shop_on(cluster)
    shop.execute(TABLES)
    with shop.connect(autocommit=False) as blocker:
        blocker.execute("INSERT INTO t VALUES (2)")
        shop.mirror.configure(snapshot={"readers": 1})
        shop.mirror.start()
        wait_until(lambda: "creating slot" in shop.mirror.log_text(), what="a slot being made")
        others = []
        try:
            while True:
                others.append(psycopg.connect(shop.url))
        except psycopg.OperationalError:
            pass
        wait_until(lambda: blocker.execute("SELECT clock_timestamp() > now() + interval '4 seconds'").fetchone()[0],
                   what="a few looks")
        blocker.commit()
        for other in others:
            other.close()
    shop.mirror.wait_caught_up(cluster)
    assert shop.settle() == 2
