"""A run that ends by itself: at the source's end as of its start, at a position, or at a time. Invariants: all that had
committed by then is durable in the target and acknowledged at the slot, and nothing that committed after is there."""
import threading
import time

import pytest

from lsn import end_of_record, lsn
from tailrace import run
from waiting import wait_until

START = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 1000) i"

pytestmark = pytest.mark.parametrize("kind", ["duckdb", "postgres"])


@pytest.fixture
def shop(shop_into, kind):
    shop = shop_into(kind)
    shop.execute(START)
    return shop


def ends(shop, *arguments, code=0):
    outcome = run("run", "-c", shop.mirror.config, *arguments)
    assert outcome.returncode == code, outcome.stderr
    return outcome.stderr


def once(shop, **how):
    return ends(shop, "--once", **how)


def until(shop, where, **how):
    return ends(shop, "--until", where, **how)


def here(shop):
    return shop.value("SELECT pg_current_wal_insert_lsn()::text")


def clock(shop):
    """The source's, once nothing that is written after can be of before."""
    now = shop.value("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') || 'Z'")
    wait_until(lambda: shop.value(f"SELECT clock_timestamp() > '{now}'::timestamptz + '1 ms'"))
    return now


def acknowledged(shop):
    return lsn(shop.value("SELECT confirmed_flush_lsn::text FROM pg_replication_slots "
                          f"WHERE slot_name = '{shop.name}'"))


def ids(shop):
    return int(shop.mirror.into.value("(SELECT max(id) FROM public.t)"))


def test_where_tables_are_made_all_the_time(shop):
    """It ends all the same; what was made meanwhile is the next one's."""
    once(shop)
    over = threading.Event()
    made = []

    def make():
        with shop.connect(autocommit=True) as connection:
            while not over.is_set():
                connection.execute(f"CREATE TABLE made{len(made)} (id int PRIMARY KEY);"
                                   f"INSERT INTO made{len(made)} VALUES (1); INSERT INTO t VALUES ({2000 + len(made)})")
                made.append(1)
                over.wait(0.05)

    maker = threading.Thread(target=make)
    maker.start()
    try:
        wait_until(lambda: len(made) > 20, what="some that are new at its start")
        began = time.monotonic()
        text = once(shop)
        took, known = time.monotonic() - began, len(made)
    finally:
        over.set()
        maker.join()
    assert "tailrace: done: at " in text and took < 30, f"{took} s\n{text}"
    assert "public.made20" in text and f"public.made{known - 1}:" not in text, text
    once(shop)
    assert shop.compared() == 1000 + 2 * len(made)


def test_a_copy_and_what_comes_after(shop):
    text = once(shop)
    assert "tailrace: done: at " in text, text
    assert shop.compared() == 1000
    for number, commit in enumerate(("on", "off", "off"), 1):
        shop.execute(f"SET synchronous_commit = {commit};"
                     f"INSERT INTO t VALUES ({1000 + number}, 'after'); UPDATE t SET v = v || '.' WHERE id < 10")
        before = here(shop)
        once(shop)
        assert shop.compared() == 1000 + number
        assert acknowledged(shop) >= end_of_record(lsn(before))
    before = here(shop)
    text = once(shop)
    assert ": done: at " in text and "; no changes in no transactions" in text or "0 changes" in text, text
    assert acknowledged(shop) >= end_of_record(lsn(before)), "an idle source's end is acknowledged too"
    status = run("status", *shop.mirror.named())
    assert status.returncode == 1 and "it reached its end" in status.stdout, status.stdout


def test_writers_do_not_keep_it(shop):
    """It ends where the source was at the start, however much is written."""
    once(shop)
    over = threading.Event()

    def write():
        with shop.connect(autocommit=True) as connection:
            number = 1000
            while not over.is_set():
                number += 1
                connection.execute("INSERT INTO t VALUES (%s, 'busy')", [number])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            before = shop.value("SELECT max(id) FROM t")
            once(shop)
            assert ids(shop) >= before
    finally:
        over.set()
        writer.join()
    once(shop)
    shop.compared()


def test_a_backlog(shop):
    """It is read through functions, which tell the slot seldom."""
    shop.mirror.configure(limits={"backlog": "1B"})
    once(shop)
    for number in range(20):
        shop.execute(f"INSERT INTO t SELECT {2000 + number} * 1000 + i, repeat('x', 200) "
                     "FROM generate_series(1, 500) i")
    before = here(shop)
    text = once(shop)
    assert "reading the backlog" in text, text
    assert acknowledged(shop) >= end_of_record(lsn(before))
    assert shop.compared() == 11000


def test_what_is_prepared_is_not_waited_for(own_cluster, shop_on, kind, shop_into, clusters, tmp_path):
    del shop_into, clusters, tmp_path
    if kind == "postgres":
        pytest.skip("the source's side alone")
    shop = shop_on(own_cluster(15, max_prepared_transactions="10"))
    shop.execute(START)
    once(shop)
    with shop.connect(autocommit=True) as connection:
        connection.execute("BEGIN")
        connection.execute("INSERT INTO t VALUES (2000, 'prepared')")
        connection.execute("PREPARE TRANSACTION 'pending'")
        connection.execute("INSERT INTO t VALUES (2001, 'after it')")
        once(shop)
        assert shop.compared() == 1001
        connection.execute("COMMIT PREPARED 'pending'")
    once(shop)
    assert shop.compared() == 1002


def test_a_table_that_comes_later(shop):
    """Its copy is newer than the end: all of the target is of one position nevertheless."""
    once(shop)
    shop.execute("INSERT INTO t VALUES (1001, 'before'); CREATE TABLE late (id int PRIMARY KEY);"
                 "INSERT INTO late SELECT generate_series(1, 100)")
    once(shop)
    assert shop.compared() == 1101


def test_until_a_position(shop):
    once(shop)
    shop.execute("INSERT INTO t VALUES (1001, 'wanted')")
    where = here(shop)
    shop.execute("INSERT INTO t VALUES (1002, 'not wanted')")
    until(shop, where)
    assert ids(shop) == 1001
    assert acknowledged(shop) <= end_of_record(lsn(where))
    until(shop, where)
    assert ids(shop) == 1001, "the same again changes nothing"
    once(shop)
    assert shop.compared() == 1002
    text = until(shop, where, code=3)
    assert f"beyond --until {where}" in text, text
    assert ids(shop) == 1002


def test_until_a_position_to_come(shop):
    once(shop)
    where = shop.value("SELECT (pg_current_wal_insert_lsn() + 200000)::text")
    shop.mirror.start("--until", where)
    shop.execute("INSERT INTO t VALUES (1001, 'before it')")
    shop.mirror.wait_applied(here(shop))
    assert shop.mirror.running()
    shop.execute("INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(2001, 5000) i;"
                 "INSERT INTO t VALUES (6000, 'after it')")
    assert shop.mirror.wait_ended() == 0, shop.mirror.tail()
    # The large transaction commits beyond it.
    assert ids(shop) == 1001
    once(shop)
    assert shop.compared() == 4002


def test_until_a_time(shop):
    once(shop)
    shop.execute("INSERT INTO t VALUES (1001, 'wanted')")
    when = clock(shop)
    shop.execute("INSERT INTO t VALUES (1002, 'not wanted')")
    until(shop, when)
    assert ids(shop) == 1001
    until(shop, when)
    assert ids(shop) == 1001
    once(shop)
    assert shop.compared() == 1002
    text = until(shop, when, code=3)
    assert f"later than --until {when}" in text, text


@pytest.mark.parametrize("form", ["lsn", "time"])
def test_a_large_transaction_beyond_the_end(shop, form):
    """It arrives, and may be applied, while it is in progress; it is not committed there."""
    shop.execute(f"ALTER DATABASE {shop.name} SET logical_decoding_work_mem = '64kB'")
    once(shop)
    shop.execute("INSERT INTO t VALUES (1001, 'last')")
    where = clock(shop) if form == "time" else here(shop)
    shop.execute("INSERT INTO t SELECT i, repeat('ab', 200) FROM generate_series(2001, 9000) i")
    shop.execute("INSERT INTO t VALUES (9001, 'later')")
    until(shop, where)
    assert ids(shop) == 1001
    until(shop, where)
    assert ids(shop) == 1001
    once(shop)
    assert shop.compared() == 8002


def test_until_a_time_to_come_on_an_idle_source(shop):
    once(shop)
    seconds = 3
    when = shop.value(f"SELECT to_char((clock_timestamp() + '{seconds} s') AT TIME ZONE 'UTC',"
                      "'YYYY-MM-DD\"T\"HH24:MI:SS.US') || '+00:00'")
    shop.execute("INSERT INTO t VALUES (1001, 'in time')")
    began = time.monotonic()
    shop.mirror.start("--until", when)
    assert shop.mirror.wait_ended() == 0, shop.mirror.tail()
    assert time.monotonic() - began > seconds - 1, "it waited for that time"
    assert shop.compared() == 1001


@pytest.mark.parametrize("form", ["LSN", "TIME"])
def test_a_first_copy_of_the_past(shop, form):
    """There is none: refused before anything is made."""
    where = here(shop) if form == "LSN" else clock(shop)
    shop.execute("INSERT INTO t VALUES (1001, 'after')")
    text = until(shop, where, code=3)
    assert "a copy is as of now" in text, text
    assert shop.value("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") == 0
    assert shop.mirror.into.tables() == set()


def test_a_held_table(shop, kind):
    if kind == "duckdb":
        pytest.skip("a view of somebody's is in the way of PostgreSQL alone")
    shop.execute("CREATE TABLE held (id int PRIMARY KEY, n int)")
    once(shop)
    shop.mirror.into.execute("CREATE VIEW looks_at_n AS SELECT n FROM held")
    shop.execute("ALTER TABLE held DROP n; INSERT INTO held VALUES (1); INSERT INTO t VALUES (1001, 'arrives')")
    for _ in range(2):
        text = once(shop, code=3)
        assert "not in step: held: public.held" in text, text
        assert ids(shop) == 1001
    shop.mirror.into.execute("DROP VIEW looks_at_n")
    ends(shop, "--once", "--recopy", "public.held")
    shop.compared()


def test_changes_in_quarantine(shop, kind):
    if kind == "duckdb":
        pytest.skip("a file takes every change")
    shop.mirror.configure(on_error="quarantine")
    once(shop)
    shop.mirror.into.execute("ALTER TABLE t ADD CONSTRAINT low CHECK (id < 5000)")
    shop.execute("INSERT INTO t VALUES (6000, 'refused')")
    for _ in range(2):
        text = once(shop, code=3)
        assert "1 change in quarantine" in text, text
    shop.mirror.into.execute("ALTER TABLE t DROP CONSTRAINT low")
    assert run("replay", "-c", shop.mirror.config).returncode == 0
    once(shop)
    shop.compared()


def test_a_source_that_is_away(shop, kind, own_cluster, shop_on):
    if kind == "postgres":
        pytest.skip("the source's side alone")
    cluster = own_cluster(15)
    shop = shop_on(cluster)
    shop.execute(START)
    once(shop)
    cluster.stop()
    text = once(shop, code=5)
    assert "trying again in" in text, text
    cluster.start()
    once(shop)
    shop.compared()


@pytest.mark.parametrize("arguments", [["--once", "--until", "0/1"], ["--until", "yesterday"], ["--until", "0/0"],
                                       ["--until", "2026-11-30T22:10:00"]], ids=" ".join)
def test_wrong_usage(shop, arguments):
    text = ends(shop, *arguments, code=2)
    assert "--until" in text, text


def test_a_lost_connection_between_a_copy_and_what_belongs_to_it(shop):
    """The target is at the end already, and a table is copied anew: its rows are of a transaction that the others get
    by the stream."""
    shop.execute("CREATE TABLE u (id int PRIMARY KEY, v text)")
    shop.mirror.configure(limits={"backlog": "0"})
    once(shop)
    with shop.connect(autocommit=False) as other:
        other.execute("SELECT txid_current()")  # the copy's slot waits for it
        for _ in range(3):
            once(shop)
        shop.mirror.start("--once", "--recopy", "public.t")
        wait_until(lambda: "waits for open transactions" in shop.mirror.log_text(), what=shop.mirror.tail)
        other.execute("INSERT INTO u SELECT i, repeat('x', 300) FROM generate_series(1, 150000) i;"
                      "INSERT INTO t VALUES (5000, 'with u')")
        other.commit()
    wait_until(lambda: "public.t: 1001 rows copied" in shop.mirror.log_text(), what=shop.mirror.tail, poll=0.005)
    wait_until(lambda: shop.mirror.log_text().count("streaming from") >= 2 or not shop.mirror.running(),
               what=shop.mirror.tail, poll=0.002)
    shop.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender'"
                 f" AND application_name = '{shop.name}'")
    assert shop.mirror.wait_ended(60) == 0, shop.mirror.tail()
    assert shop.compared() == 151001
