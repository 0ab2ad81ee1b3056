"""Everything is copied anew, in place, by one command: `tailrace run --recopy-all`. Because the slot is gone, lost or
ahead, or of another publication, or by wish. Invariant: ended anywhere, the next start goes on or says that command; no
state of before the gap is ever followed on; and a reader of a file finds each table as it was until it is whole again.
"""
import re
import shlex
import shutil

import pytest

from conftest import Shop
from kill_points import killed_at
from tailrace import run
from waiting import wait_until

BOTH = ["duckdb", "postgres"]
SETUP = """
CREATE TABLE t (id int PRIMARY KEY, v text);
INSERT INTO t SELECT i, 'first ' || i FROM generate_series(1, 1000) i;
CREATE TABLE u (id serial PRIMARY KEY, v text);
INSERT INTO u (v) SELECT 'first ' || i FROM generate_series(1, 500) i;
CREATE TABLE gone (id int PRIMARY KEY);
INSERT INTO gone VALUES (1), (2);"""
# What happens while nobody follows: all kinds of changes, which no stream will bring.
GAP = """
UPDATE t SET v = 'unseen' WHERE id % 3 = 0; DELETE FROM t WHERE id % 7 = 0;
INSERT INTO t SELECT i, 'unseen ' || i FROM generate_series(2000, 2100) i;
ALTER TABLE u ADD COLUMN extra int DEFAULT 7; UPDATE u SET extra = id;
CREATE TABLE later (id int PRIMARY KEY); INSERT INTO later SELECT generate_series(1, 50);
DROP TABLE gone;"""
KEPT = ["public.t", "public.u", "public.later"]


@pytest.fixture
def both(kind, clusters, tmp_path):
    """A source with a target of each kind, whatever --target says."""
    made = Shop(clusters[15], tmp_path, clusters.target(15) if kind == "postgres" else None)
    yield made
    made.close()


def followed(shop, **settings):
    shop.execute(SETUP)
    shop.mirror.configure(**settings)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    return shop


def slot_is_free(shop):
    return shop.value(f"SELECT count(*) = 0 FROM pg_replication_slots WHERE slot_name = '{shop.name}' AND active")


def drop_slot(shop):
    wait_until(lambda: slot_is_free(shop), what="a free slot")
    shop.execute(f"SELECT pg_drop_replication_slot('{shop.name}')")


def refusal(mirror, *arguments):
    """What a start ends with."""
    before = len(mirror.log_text())
    mirror.start(*arguments)
    code = mirror.wait_ended(timeout=60)
    assert code == 3, (code, mirror.tail())
    return mirror.log_text()[before:]


def advised(text):
    """The command that a remedy names, as the shell takes it apart."""
    found = re.search(r"in place: tailrace (run .*--recopy-all)", text)
    assert found, text
    return shlex.split(found.group(1))


def spoil(mirror, sql):
    """At the target."""
    if mirror.into.kind == "postgres":
        mirror.into.execute(sql)
        return
    with mirror.opened(writable=True) as file:
        file.query(sql)


def contents(mirror, table="t"):
    return sorted(mirror.into.query(f"SELECT CAST(id AS varchar(20)), v FROM public.{table}"))


def whole_again(shop, **how):
    """Follows, and every row is the source's. What the source dropped stays as it was, as ever."""
    shop.execute("INSERT INTO t VALUES (9000, 'after')")
    rows = shop.settle(tables=KEPT, **how)
    assert shop.mirror.into.value("(SELECT count(*) FROM public.gone)") == "2"
    return rows


@pytest.mark.parametrize("kind", BOTH)
def test_a_slot_that_was_dropped(both):
    """The remedy is a command that works as it stands."""
    followed(both)
    before = contents(both.mirror)
    both.execute(GAP)
    drop_slot(both)
    text = refusal(both.mirror)
    assert "does not exist any more" in text and contents(both.mirror) == before
    command = advised(text)
    assert command == ["run", "-c", str(both.mirror.config), "--recopy-all"]
    both.mirror.start("--recopy-all")
    whole_again(both)
    both.mirror.start()
    both.execute("UPDATE t SET v = 'and on'")
    both.settle(tables=KEPT)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("server", [13, 17])
def test_a_slot_that_the_server_gave_up(kind, server, own_cluster, clusters, tmp_path):
    source = own_cluster(server, max_slot_wal_keep_size="16MB", max_wal_size="32MB", min_wal_size="32MB")
    shop = Shop(source, tmp_path, clusters.target(15) if kind == "postgres" else None)
    try:
        followed(shop)
        shop.execute(GAP)

        def lost():
            shop.execute("CREATE TABLE IF NOT EXISTS noise (v text); TRUNCATE noise")
            shop.execute("INSERT INTO noise SELECT repeat('x', 500) FROM generate_series(1, 40000) i")
            shop.execute("SELECT pg_switch_wal()")
            shop.execute("CHECKPOINT")
            return shop.value("SELECT wal_status FROM pg_replication_slots") == "lost"

        wait_until(lost, timeout=60, what="a lost slot")
        shop.execute("DROP TABLE noise")
        assert advised(refusal(shop.mirror))
        shop.mirror.start("--recopy-all")
        whole_again(shop)
        assert shop.value("SELECT wal_status FROM pg_replication_slots") == "reserved"
    finally:
        shop.close()


@pytest.mark.parametrize("kind", BOTH)
def test_by_wish(both):
    """All is well, but for rows that somebody changed at the target, and what was noted there."""
    followed(both)
    spoil(both.mirror, "DELETE FROM public.t WHERE id < 100")
    ahead = both.value("SELECT pg_current_wal_insert_lsn()::text")
    assert run("skip", "-c", both.mirror.config, "--lsn", ahead).returncode == 0
    both.execute(GAP)
    wait_until(lambda: slot_is_free(both), what="a free slot")
    both.mirror.start("--recopy-all")
    both.mirror.wait_caught_up(both.cluster)
    status = both.mirror.polled()
    assert [note["state"] for note in status["skips"]] == ["unused"], status["skips"]
    assert both.value(f"SELECT count(*) FROM pg_replication_slots WHERE database = '{both.name}'") == 1
    whole_again(both)


@pytest.mark.parametrize("kind", BOTH)
def test_a_slot_that_is_ahead(both):
    followed(both)
    both.execute(GAP)
    wait_until(lambda: slot_is_free(both), what="a free slot")
    both.execute(f"SELECT pg_replication_slot_advance('{both.name}', pg_current_wal_lsn())")
    assert "ahead of what the target has" in refusal(both.mirror)
    both.mirror.start("--recopy-all")
    whole_again(both)


@pytest.mark.parametrize("kind", BOTH)
def test_a_publication_that_was_dropped(both):
    """It is made anew, and with it a slot that can see it."""
    followed(both)
    both.execute(f'DROP PUBLICATION "{both.name}"')
    both.execute(GAP)
    assert advised(refusal(both.mirror))
    both.mirror.start("--recopy-all")
    whole_again(both)


@pytest.mark.parametrize("kind", BOTH)
def test_a_snapshot_that_is_to_be_followed(both):
    both.execute(SETUP)
    both.mirror.start(command="snapshot")
    assert both.mirror.wait_ended() == 0
    both.execute(GAP)
    assert "which follows nothing" in refusal(both.mirror)
    both.mirror.start("--recopy-all")
    whole_again(both)


@pytest.mark.parametrize("kind", BOTH)
def test_a_cluster_that_was_upgraded(both):
    """pg_upgrade makes another cluster, with other WAL and no slots, and the identities of all tables."""
    followed(both)
    drop_slot(both)
    spoil(both.mirror, "UPDATE tailrace.checkpoint SET system_identifier = '7000000000000000001'")
    text = refusal(both.mirror)
    assert "another PostgreSQL cluster" in text and "After a pg_upgrade" in text
    both.execute(GAP)
    both.mirror.start("--recopy-all")
    whole_again(both)


def test_another_cluster(shop, own_cluster, shop_on):
    followed(shop)
    before = contents(shop.mirror)
    other = shop_on(own_cluster(15))
    other.execute("CREATE TABLE before_all (id int)")
    other.execute(SETUP)
    shop.mirror.source = other.url
    shop.mirror.configure()
    assert "whose tables have other identities" in refusal(shop.mirror, "--recopy-all")
    assert contents(shop.mirror) == before
    assert other.execute("SELECT slot_name FROM pg_replication_slots") == []


# Each step from the old state to the new: before and after the books, the slot that goes, the one that is made, the
# first copy, the last. `goes_on`: a plain start does; else it refuses and names the command.
STEPS = {
    "duckdb": ["duckdb.begin_anew.before", "duckdb.begin_anew.committed", "session.anew.dropped_slot",
               "session.slot.made", "duckdb.expect_copies.committed", "duckdb.initialize.committed",
               "duckdb.create_table.committed", "duckdb.finish_copy.before", "duckdb.finish_copy.committed",
               "duckdb.finish_copy.committed:3"],
    "postgres": ["postgres.begin_anew.before", "postgres.begin_anew.committed", "session.anew.dropped_slot",
                 "session.slot.made", "postgres.expect_copies.committed", "postgres.copy.finished",
                 "postgres.copy.committed", "postgres.copy.committed:3"],
}


@pytest.mark.parametrize("kind, point", [(kind, point) for kind in BOTH for point in STEPS[kind]])
@pytest.mark.parametrize("again", ["plain", "command"])
def test_killed_between(both, kind, point, again):
    """Dropped by somebody before, as where it was lost: nothing but the books knows of the gap."""
    followed(both)
    both.execute(GAP)
    if "dropped_slot" not in point:
        drop_slot(both)
    before = contents(both.mirror)
    name, _, passage = point.partition(":")
    both.mirror.env = killed_at(name, passage or 1)
    wait_until(lambda: slot_is_free(both), what="a free slot")
    both.mirror.start("--recopy-all")
    both.mirror.process.wait(timeout=120)
    assert both.mirror.process.returncode == -9, (point, both.mirror.tail())
    both.mirror.env = {}
    now = contents(both.mirror)
    if kind == "duckdb":
        assert now == before or "finish_copy.committed" in point, "as it was, until it is whole"
    # Changes meanwhile: applied to rows of before the gap they would go wrong.
    both.execute("UPDATE t SET v = v || '!' WHERE id < 50; DELETE FROM u WHERE id = 3")
    if again == "plain" and point.endswith("begin_anew.before"):
        assert advised(refusal(both.mirror))
        both.mirror.start("--recopy-all")
    else:
        both.mirror.start(*([] if again == "plain" else ["--recopy-all"]))
    whole_again(both)


@pytest.mark.parametrize("kind", BOTH)
def test_what_a_stop_in_the_middle_says(both):
    """It waits for an open transaction, and is stopped: nothing is copied yet, and that is not success."""
    followed(both)
    drop_slot(both)
    with both.connect(autocommit=False) as open_one:
        open_one.execute("CREATE TABLE in_progress (id int)")
        both.mirror.start("--recopy-all")
        both.mirror.wait_status(lambda status: status["waiting_for"], what="a wait for the open transaction")
        assert not both.mirror.polled()["in_step"]
        both.mirror.process.terminate()
        assert both.mirror.wait_ended() == 6, both.mirror.tail()
        assert "0 of 3 tables are copied" in both.mirror.tail()
        stopped = run("status", *both.mirror.named()).stdout
        assert "has      nothing yet" in stopped, stopped
        open_one.rollback()
    both.mirror.start()
    both.mirror.wait_caught_up(both.cluster)
    both.settle()


def test_what_is_not_done(shop, shop_into):
    """Each says why, and nothing is written at either end."""
    followed(shop)
    before = contents(shop.mirror)

    def refuses(*words, **settings):
        shop.mirror.configure(**settings)
        slots = shop.execute("SELECT slot_name, plugin, confirmed_flush_lsn FROM pg_replication_slots ORDER BY 1")
        text = refusal(shop.mirror, "--recopy-all")
        for word in words:
            assert word in text, text
        now = shop.execute("SELECT slot_name, plugin, confirmed_flush_lsn FROM pg_replication_slots ORDER BY 1")
        assert (now, contents(shop.mirror)) == (slots, before)

    wait_until(lambda: slot_is_free(shop), what="a free slot")
    refuses("snapshot.enabled: off", snapshot={"enabled": False})
    refuses(f'follows slot "{shop.name}"', slot={"name": shop.name + "_other"})
    drop_slot(shop)
    refuses("slot.create is off", "init --create-slot", slot={"create": False})
    shop.execute(f"SELECT pg_create_logical_replication_slot('{shop.name}', 'test_decoding')")
    refuses("output plugin test_decoding")
    shop.execute(f"SELECT pg_drop_replication_slot('{shop.name}')")
    shop.cluster.execute(f"SELECT pg_create_logical_replication_slot('{shop.name}', 'pgoutput')")
    refuses("belongs to the database postgres")
    shop.cluster.execute(f"SELECT pg_drop_replication_slot('{shop.name}')")
    shop.mirror.configure()
    shop.mirror.start("--recopy-all")
    shop.settle()


@pytest.mark.duckdb("a second file of the same mirror")
def test_a_slot_that_somebody_reads(shop):
    """Another process follows it, of a copy of the file: that goes on undisturbed."""
    followed(shop)
    other = shop.another(name=shop.name)
    shutil.copy(shop.mirror.file, other.file)
    other.start()
    other.wait_caught_up(shop.cluster)
    before = contents(shop.mirror)
    assert "is reading replication slot" in refusal(shop.mirror, "--recopy-all")
    assert contents(shop.mirror) == before and other.running()
    shop.execute("INSERT INTO t VALUES (9001, 'still')")
    shop.settle(other)


@pytest.mark.postgres
def test_tables_that_were_held(pair):
    """They are settled as by --recopy of each."""
    followed(pair)
    pair.mirror.into.execute("CREATE VIEW looks_at_v AS SELECT v FROM t")
    pair.mirror.start()
    pair.execute("ALTER TABLE t DROP v; UPDATE t SET id = id + 5000 WHERE id = 1")
    pair.mirror.wait_status(lambda status: "held" in [table["state"] for table in status["tables"]], what="held")
    pair.mirror.stop()
    drop_slot(pair)
    pair.mirror.start("--recopy-all")
    status = pair.mirror.wait_status(lambda status: status["state"] == "streaming", what="the others follow")
    assert [table["name"] for table in status["tables"] if table["state"] == "held"] == ["t"], "the cause is there"
    assert not status["in_step"]
    pair.mirror.stop()
    pair.mirror.into.execute("DROP VIEW looks_at_v")
    pair.mirror.start("--recopy-all")
    pair.mirror.wait_status(lambda status: status["in_step"], what="in step")
    pair.settle()


def quarantined(status):
    return sum(table["quarantined"] for table in status["tables"])


@pytest.mark.postgres
def test_what_is_in_quarantine(pair):
    """It goes with what it was of: the copy has it."""
    followed(pair, on_error="quarantine")
    pair.mirror.into.execute("ALTER TABLE t ADD CHECK (id < 8000)")
    pair.mirror.start()
    pair.execute("INSERT INTO t VALUES (8001, 'refused')")
    pair.mirror.wait_status(lambda status: quarantined(status) == 1, what="a change in quarantine")
    pair.mirror.stop()
    drop_slot(pair)
    pair.execute("DELETE FROM t WHERE id = 8001")
    pair.mirror.start("--recopy-all")
    pair.mirror.wait_status(lambda status: status["in_step"] and not quarantined(status), what="in step")
    pair.settle()


@pytest.mark.duckdb("strangers in a file")
def test_tables_of_the_users_own(shop):
    """In the same file, beside the mirror's."""
    followed(shop)
    with shop.mirror.opened(writable=True) as file:
        file.query("CREATE TABLE mine (a INTEGER)")
        file.query("INSERT INTO mine VALUES (1), (2)")
    drop_slot(shop)
    shop.execute(GAP)
    shop.mirror.start("--recopy-all")
    whole_again(shop)
    assert shop.mirror.into.value("(SELECT count(*) FROM mine)") == "2"


@pytest.mark.postgres
def test_a_table_of_the_users_own_in_the_way(pair):
    """Under the name of one that the source got meanwhile: that one is held, and the user's stays as it is."""
    followed(pair)
    pair.mirror.into.execute("CREATE TABLE later (mine text); INSERT INTO later VALUES ('mine')")
    drop_slot(pair)
    pair.execute(GAP)
    pair.mirror.start("--recopy-all")
    status = pair.mirror.wait_status(lambda status: status["state"] == "streaming", what="the others follow")
    assert [table["name"] for table in status["tables"] if table["state"] == "held"] == ["later"]
    assert pair.mirror.into.query("SELECT mine FROM later") == [("mine",)]
    pair.mirror.stop()
    pair.compared(tables=["public.t", "public.u"])


@pytest.mark.parametrize("kind", BOTH)
def test_a_first_start_and_a_file_that_is_gone(both, kind):
    """There is nothing to be copied anew: it is a first start like any other."""
    both.execute(SETUP)
    both.mirror.start("--recopy-all")
    both.mirror.wait_caught_up(both.cluster)
    both.mirror.stop()
    if kind == "duckdb":
        both.mirror.file.unlink()
        both.mirror.start()
        both.mirror.wait_caught_up(both.cluster)
    else:
        both.mirror.start()
    both.settle()
