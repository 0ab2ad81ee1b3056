"""Rows that are at the target already (a dump, a snapshot, a load of one's own) and a position as of which they are.
Invariant: everything that was committed after that position arrives, and nothing of before comes again; what cannot be
known is refused before anything is written."""
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster import PgCluster
from conftest import Shop
from duckdb_file import DuckdbFile
from kill_points import killed_at
from tailrace import run
from waiting import wait_until

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'dumped' FROM generate_series(1, 100) i"
CHANGES = "INSERT INTO t VALUES ({0}, 'after'); UPDATE t SET v = 'changed' WHERE id = {1}; DELETE FROM t WHERE id = {2}"


class Started:
    """A source with a publication and a slot that a user made, as the guides of other systems say."""

    def __init__(self, shop):
        self.shop = shop
        shop.execute(TABLE)
        shop.execute(f"CREATE PUBLICATION {shop.name} FOR TABLE t")
        self.make_slot()

    def make_slot(self):
        self.shop.execute(f"SELECT pg_create_logical_replication_slot('{self.shop.name}', 'pgoutput')")

    def change(self, first):
        self.shop.execute(CHANGES.format(1000 + first, first, first + 1))

    def position(self):
        return self.shop.value("SELECT pg_current_wal_insert_lsn()::text")

    def dump(self):
        """What a dump would bring to the target, by its words."""
        rows = self.shop.execute("SELECT id, v FROM t")
        values = ", ".join(f"({key}, '{text}')" for key, text in rows)
        into = self.shop.mirror.into
        if into.kind == "postgres":
            into.execute(f"CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES {values}")
        else:
            with into.opened(writable=True) as file:
                file.query('CREATE SCHEMA "public"')
                file.query('CREATE TABLE "public".t (v VARCHAR, id INTEGER)')
                file.query(f'INSERT INTO "public".t (id, v) VALUES {values}')

    def follow(self, **settings):
        self.shop.mirror.configure(snapshot={"enabled": False}, publication={"name": self.shop.name, "create": False},
                                   **settings)
        self.shop.mirror.start()
        return self.shop.settle()


@pytest.fixture(params=["duckdb", "postgres"])
def shop(request, cluster, clusters, tmp_path):
    """Both targets, whatever --target says."""
    shop = Shop(cluster, tmp_path, clusters.target(cluster.version) if request.param == "postgres" else None)
    yield shop
    shop.close()


@pytest.fixture
def started(shop):
    return Started(shop)


def test_a_dump_and_its_position(started):
    """The slot is older than the dump: what came between is in both."""
    started.change(1)
    started.dump()
    position = started.position()
    started.change(5)
    assert started.follow(start_lsn=position) == 100


def test_a_dump_of_the_slots_position(started):
    started.dump()
    started.change(1)
    started.change(5)
    assert started.follow() == 100
    started.change(9)
    started.shop.mirror.start()
    assert started.shop.settle() == 100, "the next start goes on"


def test_a_stop_and_a_kill_in_between(started):
    started.change(1)
    started.dump()
    position = started.position()
    started.change(5)
    mirror = started.shop.mirror
    mirror.configure(snapshot={"enabled": False}, publication={"name": started.shop.name, "create": False},
                     start_lsn=position)
    mirror.start()
    mirror.wait_streaming()
    mirror.kill()
    started.change(9)
    mirror.start()
    assert started.shop.settle() == 100


def test_a_table_made_later(started):
    """Nothing is copied, so all of its rows come by the stream: those from before it was seen too."""
    shop = started.shop
    shop.execute(f"DROP PUBLICATION {shop.name}; CREATE PUBLICATION {shop.name} FOR ALL TABLES")
    shop.execute(f"SELECT pg_drop_replication_slot('{shop.name}')")
    started.make_slot()
    started.dump()
    assert started.follow() == 100
    shop.execute("CREATE TABLE later (id int PRIMARY KEY); INSERT INTO later SELECT generate_series(1, 50)")
    shop.mirror.start()
    assert shop.settle() == 150


@pytest.mark.parametrize("words, start_lsn", [("the changes between are gone", "0/1"),
                                              ("has written no further than", "FFFF/0")])
def test_a_position_that_cannot_be_gone_on_from(started, words, start_lsn):
    started.dump()
    mirror = started.shop.mirror
    mirror.configure(snapshot={"enabled": False}, publication={"name": started.shop.name, "create": False},
                     start_lsn=start_lsn)
    mirror.start()
    assert mirror.wait_ended() == 3
    assert words in mirror.log_text() and "Nothing was written" in mirror.log_text(), mirror.tail()
    assert mirror.into.rows() == 100


def test_a_position_without_a_slot(shop):
    shop.execute(TABLE)
    shop.mirror.configure(snapshot={"enabled": False}, start_lsn="0/1")
    shop.mirror.start()
    assert shop.mirror.wait_ended() == 3
    assert "does not exist, and one that is made now is younger" in shop.mirror.log_text(), shop.mirror.tail()
    assert shop.execute("SELECT 1 FROM pg_publication UNION ALL SELECT 1 FROM pg_replication_slots"
                        " WHERE database = current_database()") == []


def test_a_position_needs_rows(shop):
    shop.mirror.configure(start_lsn="0/1")
    shop.mirror.start()
    assert shop.mirror.wait_ended() == 2 and "needs snapshot" in shop.mirror.log_text()


# From `tailrace snapshot` ----------------------------------------------------------------------------------------


def snapshot(shop):
    outcome = run("snapshot", shop.url, shop.mirror.target, "--name", shop.name)
    assert outcome.returncode == 0, outcome.stderr


def test_a_snapshot_is_gone_on_from(started):
    """Writers need not wait: the file knows which transactions it shows. One was in progress."""
    shop = started.shop
    started.change(1)
    with shop.connect(autocommit=False) as open_one:
        open_one.execute("INSERT INTO t VALUES (500, 'in progress')")
        started.change(5)
        snapshot(shop)
        started.change(9)
        open_one.commit()
    assert started.follow() == 101
    started.change(20)
    shop.mirror.start()
    assert shop.settle() == 101


def test_a_snapshot_that_is_older_than_the_slot(shop):
    shop.execute(TABLE)
    snapshot(shop)
    shop.execute("INSERT INTO t VALUES (500, 'lost to the slot')")
    started = Started.__new__(Started)
    started.shop = shop
    shop.execute(f"CREATE PUBLICATION {shop.name} FOR TABLE t")
    mirror = shop.mirror
    mirror.configure(snapshot={"enabled": False}, publication={"name": shop.name, "create": False})
    mirror.start()
    assert mirror.wait_ended() == 3 and "does not exist" in mirror.log_text(), mirror.tail()
    started.make_slot()
    mirror.start()
    assert mirror.wait_ended() == 3 and "after the snapshot" in mirror.log_text(), mirror.tail()
    mirror.configure(publication={"name": shop.name, "create": False})
    mirror.start()
    assert mirror.wait_ended() == 3 and "follows nothing" in mirror.log_text(), mirror.tail()


# A DuckDB file of one's own --------------------------------------------------------------------------------------


@pytest.mark.parametrize("table, words", [
    ("(id INTEGER)", "lacks the column v"),
    ("(id INTEGER, v VARCHAR, w INTEGER)", "has a column w"),
    ("(id BIGINT, v VARCHAR)", "has the type BIGINT in column id"),
    ("(id INTEGER PRIMARY KEY, v VARCHAR)", "has keys"),
])
def test_a_table_that_does_not_fit(started, table, words):
    mirror = started.shop.mirror
    if mirror.into.kind == "postgres":
        pytest.skip("tables of a PostgreSQL target: test_postgres_target.py")
    with mirror.into.opened(writable=True) as file:
        file.query('CREATE SCHEMA "public"')
        file.query(f'CREATE TABLE "public".t {table}')
    mirror.configure(snapshot={"enabled": False}, publication={"name": started.shop.name, "create": False})
    mirror.start()
    assert mirror.wait_ended() == 3
    assert words in mirror.log_text(), mirror.tail()
    with DuckdbFile(mirror.file) as file:
        assert file.query("SELECT count(*)::VARCHAR FROM duckdb_schemas() WHERE schema_name = 'tailrace'") == [("0",)]


def test_text_stands_in_for_any_type(started):
    """VARCHAR holds PostgreSQL's exact text."""
    mirror = started.shop.mirror
    if mirror.into.kind == "postgres":
        pytest.skip("a DuckDB file's types")
    with mirror.into.opened(writable=True) as file:
        file.query('CREATE SCHEMA "public"')
        file.query('CREATE TABLE "public".t (id VARCHAR, v VARCHAR)')
        file.query("INSERT INTO \"public\".t SELECT i::VARCHAR, 'dumped' FROM range(1, 101) r(i)")
    started.change(1)
    assert started.follow() == 100


# Names in a DuckDB file ------------------------------------------------------------------------------------------


def only_duckdb(shop):
    if shop.mirror.into.kind == "postgres":
        pytest.skip("names in a DuckDB file")


def whole(shop):
    """With a publication of all tables, before the slot, as the guide says."""
    shop.execute(f"CREATE PUBLICATION {shop.name} FOR ALL TABLES WITH (publish_via_partition_root)")
    shop.execute(f"SELECT pg_create_logical_replication_slot('{shop.name}', 'pgoutput')")
    shop.mirror.configure(snapshot={"enabled": False}, publication={"name": shop.name, "create": False})


def test_a_snapshot_whose_names_are_others_in_the_file(shop):
    """The file's database is called after it, so that no schema can be; and DuckDB folds case."""
    only_duckdb(shop)
    database = shop.mirror.file.name.split(".")[0]
    shop.execute(f'CREATE SCHEMA {database}; CREATE TABLE {database}.a (id int PRIMARY KEY);'
                 f'INSERT INTO {database}.a VALUES (1);'
                 'CREATE TABLE orders (id int PRIMARY KEY, v text); INSERT INTO orders VALUES (1, \'lower\');'
                 'CREATE TABLE "Orders" (id int PRIMARY KEY, v text); INSERT INTO "Orders" VALUES (1, \'upper\')')
    whole(shop)
    snapshot(shop)
    shop.execute(f"INSERT INTO {database}.a VALUES (2); INSERT INTO orders VALUES (2, 'lower');"
                 "INSERT INTO \"Orders\" VALUES (2, 'upper'); UPDATE \"Orders\" SET v = 'UPPER' WHERE id = 1")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    with shop.mirror.opened() as file:
        names = dict(file.query("SELECT source_schema || '.' || source_name, target_schema || '.' || target_name"
                                " FROM tailrace.tables"))
    assert len(set(names.values())) == 3 and names[f"{database}.a"] == f"{database}_2.a"
    assert shop.compared(tables=names) == 6


def test_a_snapshot_that_lacks_a_table(shop):
    shop.execute(TABLE + "; CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (1)")
    whole(shop)
    outcome = run("snapshot", shop.url, shop.mirror.target, "--name", shop.name, "-t", "public.t")
    assert outcome.returncode == 0, outcome.stderr
    shop.mirror.start()
    if shop.mirror.into.kind == "duckdb":
        assert shop.mirror.wait_ended() == 3
        assert "the file has no table public.b" in shop.mirror.log_text(), shop.mirror.tail()


def test_a_snapshot_of_a_commit_that_is_not_flushed_yet(own_cluster, shop_on):
    """A crash of the source would take it back: the snapshot is not done before."""
    cluster = own_cluster(15, wal_writer_delay="3s")
    shop = shop_on(cluster)
    shop.execute(TABLE)

    def written():
        shop.execute("SET synchronous_commit = off; UPDATE t SET v = 'seen'")
        position, flushed = cluster.execute("SELECT pg_current_wal_insert_lsn()::text, pg_current_wal_flush_lsn()"
                                            " >= pg_current_wal_insert_lsn()")[0]
        return position if not flushed else None

    position = wait_until(written, what="a commit that is not flushed")
    assert run("snapshot", shop.url, shop.mirror.target, "--name", shop.name).returncode == 0
    assert cluster.value(f"SELECT pg_current_wal_flush_lsn() >= '{position}'::pg_lsn")


@pytest.mark.parametrize("loaded", [True, False], ids=["loaded", "empty"])
def test_a_rotation(started, loaded):
    """The table's name is another one's, which came later: its rows come by the stream, into a table of their own."""
    shop = started.shop
    only_duckdb(shop)
    shop.execute(f"DROP PUBLICATION {shop.name}; SELECT pg_drop_replication_slot('{shop.name}')")
    if not loaded:
        shop.execute("DELETE FROM t")
    whole(shop)
    if loaded:
        started.dump()
    shop.mirror.start()
    shop.execute("UPDATE t SET v = 'before' WHERE id = 9; INSERT INTO t VALUES (2000, 'before')")
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("ALTER TABLE t RENAME TO t_old; CREATE TABLE t (id int PRIMARY KEY, v text);"
                 "INSERT INTO t VALUES (10, 'new'); INSERT INTO t_old VALUES (5000, 'old')")
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.look(shop.cluster)
    shop.settle()


def test_a_strangers_table_has_the_name_of_one_that_comes(started):
    shop = started.shop
    only_duckdb(shop)
    shop.execute(f"DROP PUBLICATION {shop.name}; SELECT pg_drop_replication_slot('{shop.name}')")
    whole(shop)
    started.dump()
    with shop.mirror.opened(writable=True) as file:
        file.query('CREATE SCHEMA mine; CREATE TABLE mine.notes (id INTEGER, v VARCHAR)')
    shop.mirror.start()
    shop.execute("UPDATE t SET v = 'before' WHERE id = 9")
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    with shop.mirror.opened(writable=True) as file:
        file.query('CREATE TABLE "public".notes (id INTEGER, v VARCHAR)')
        file.query("INSERT INTO \"public\".notes VALUES (1, 'mine')")
    shop.mirror.start()
    shop.execute("CREATE TABLE notes (id int PRIMARY KEY, v text); INSERT INTO notes VALUES (1, 'source');"
                 "CREATE SCHEMA mine; CREATE TABLE mine.notes (id int PRIMARY KEY, v text);"
                 "INSERT INTO mine.notes VALUES (1, 'source'); UPDATE notes SET v = 'changed'")
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    with shop.mirror.opened() as file:
        assert file.query('SELECT v FROM "public".notes') == [("mine",)]
        assert file.query('SELECT v FROM "public".notes_2') == [("changed",)]
        assert file.query("SELECT v FROM mine.notes_2") == [("source",)]


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_a_transaction_that_the_source_does_not_show_yet(kind, clusters, tmp_path):
    """It is streamed once its commit is in the log, and waits for a synchronous standby before the catalogs show it."""
    with PgCluster() as cluster:
        shop = Shop(cluster, tmp_path, clusters.target(cluster.version) if kind == "postgres" else None)
        whole(shop)
        shop.execute("CREATE TABLE t (id int PRIMARY KEY)")
        shop.mirror.start()
        shop.execute("INSERT INTO t VALUES (1)")
        shop.mirror.wait_caught_up(cluster)
        cluster.configure(synchronous_standby_names="nobody")
        cluster.reload()
        wait_until(lambda: cluster.value("SHOW synchronous_standby_names") == "nobody", 10)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(shop.execute, "CREATE TABLE later (id int PRIMARY KEY);"
                                                "INSERT INTO later VALUES (1), (2); ALTER TABLE t ADD v int DEFAULT 7;"
                                                "INSERT INTO t VALUES (2)")
            looks = ("SELECT count(*) FROM pg_stat_activity writer, pg_stat_activity mirror WHERE writer.wait_event ="
                     " 'SyncRep' AND mirror.application_name = 'tailrace catalog'"
                     " AND mirror.query_start > writer.query_start")
            wait_until(lambda: cluster.value(looks) > 0, 20, "a look at the catalogs before they show it")
            cluster.configure(synchronous_standby_names="")
            cluster.reload()
            waiting.result(timeout=60)
        shop.mirror.wait_caught_up(cluster)
        assert shop.settle() == 4
        shop.close()


# Altered between the position and the start ------------------------------------------------------------------------

# Each leaves the target's old rows looking as if they fitted.
ALTERED = {
    "column re-added": "ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v text",
    "column re-added with a default": "ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v text DEFAULT 'new'",
    "columns that traded names": "ALTER TABLE t RENAME v TO x; ALTER TABLE t RENAME w TO v;"
                                 "ALTER TABLE t RENAME x TO w",
    "values rewritten": "ALTER TABLE t ALTER v TYPE text USING v || '!'",
    "type changed": "ALTER TABLE t ALTER v TYPE varchar(3) USING left(v, 3)",
    "column dropped": "ALTER TABLE t DROP COLUMN w",
    "column added": "ALTER TABLE t ADD COLUMN x int DEFAULT 7",
    "column renamed": "ALTER TABLE t RENAME v TO x",
    "table renamed": "ALTER TABLE t RENAME TO u",
    "tables that traded names": "CREATE TABLE s (id int PRIMARY KEY, v text, w text);"
                                "INSERT INTO s VALUES (1, 'a', 'b');"
                                "ALTER TABLE t RENAME TO x; ALTER TABLE s RENAME TO t; ALTER TABLE x RENAME TO s",
    "made again": "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v text, w text);"
                  "INSERT INTO t VALUES (1, 'a', 'b')",
    "unlogged for a while": "ALTER TABLE t SET UNLOGGED; UPDATE t SET v = 'unseen'; ALTER TABLE t SET LOGGED",
}


@pytest.fixture
def wide(shop):
    """A table of three columns with a slot under FOR ALL TABLES, loaded into the target as it is at the slot."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY, v text, w text); INSERT INTO t SELECT i, 'v' || i, 'w' || i"
                 " FROM generate_series(1, 50) i")
    started = Started.__new__(Started)
    started.shop = shop
    shop.execute(f"CREATE PUBLICATION {shop.name} FOR ALL TABLES")
    started.make_slot()
    with shop.mirror.into.opened(writable=True) as into:
        if shop.mirror.into.kind == "duckdb":
            into.query('CREATE SCHEMA "public"')
        text = "text" if shop.mirror.into.kind == "postgres" else "VARCHAR"
        into.query(f'CREATE TABLE "public".t (id int{" PRIMARY KEY" if text == "text" else ""}, v {text}, w {text})')
        into.query("INSERT INTO \"public\".t SELECT i, 'v' || i, 'w' || i FROM generate_series(1, 50) r(i)")
    return started


def equal_or_told(started, how):
    """Never another content under the name, in step: refused with a remedy, or held, or the same rows."""
    shop = started.shop
    mirror = shop.mirror
    mirror.configure(snapshot={"enabled": False}, publication={"name": shop.name, "create": False})
    mirror.start()
    wait_until(lambda: not mirror.running() or (mirror.status() or {}).get("state") == "streaming", what="its answer")
    if not mirror.running():
        assert mirror.wait_ended() == 3, mirror.tail()
        return "refused"
    states = {}

    def held():
        states.update({table["name"]: table["state"] for table in (mirror.status() or {}).get("tables", [])})
        return "held" in states.values()

    if how == "held":
        wait_until(held, what=lambda: f"a table that is held; {states}\n{mirror.tail()}")
        status = mirror.status()
        assert any("snapshot: {enabled: on}" in line for line in mirror.log_text().splitlines() if "is held" in line)
        mirror.stop()
        return "held" if status["in_step"] is False else status
    return shop.settle() and "equal"


EXPECTED = {"made again": "held"}


@pytest.mark.parametrize("what", ALTERED)
def test_a_table_altered_since_the_slot(wide, what):
    """And rows of the old definition come by the stream, before those of the new one."""
    shop = wide.shop
    shop.execute("INSERT INTO t VALUES (100, 'before', 'w')")
    shop.execute(ALTERED[what])
    how = EXPECTED.get(what, "refused")
    assert equal_or_told(wide, how) == how
    if how == "refused":
        before = shop.mirror.into.rows()
        assert before == 50, "nothing was written"


@pytest.mark.parametrize("change, words", [
    ("TRUNCATE p1", "truncated or rewritten"),
    ("DELETE FROM p1; ALTER TABLE p DETACH PARTITION p1; ALTER TABLE p ATTACH PARTITION p1 FOR VALUES IN (1)",
     "came with rows"),
    ("CREATE TABLE p2 (k int, v text, PRIMARY KEY (k, v)); INSERT INTO p2 VALUES (2, 'unseen');"
     "ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2)", "came with rows")])
def test_a_partition_between_slot_and_start(shop, change, words):
    shop.execute("CREATE TABLE p (k int, v text, PRIMARY KEY (k, v)) PARTITION BY LIST (k);"
                 "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);"
                 "INSERT INTO p SELECT 1, i::text FROM generate_series(1, 50) i")
    shop.execute(f"CREATE PUBLICATION {shop.name} FOR TABLE p WITH (publish_via_partition_root)")
    started = Started.__new__(Started)
    started.shop = shop
    started.make_slot()
    with shop.mirror.into.opened(writable=True) as into:
        if shop.mirror.into.kind == "duckdb":
            into.query('CREATE SCHEMA "public"')
            into.query('CREATE TABLE "public".p (k INTEGER, v VARCHAR)')
        else:
            into.query("CREATE TABLE p (k int, v text, PRIMARY KEY (k, v))")
        into.query("INSERT INTO \"public\".p SELECT 1, i::varchar FROM generate_series(1, 50) r(i)")
    shop.execute(change)
    assert equal_or_told(started, "refused") == "refused"
    assert words in shop.mirror.log_text(), shop.mirror.tail()


def test_what_is_harmless_between_slot_and_start(wide):
    """Rights, indexes, statistics, and a new table, whose rows all come by the stream. A DuckDB file must have it."""
    shop = wide.shop
    if shop.mirror.into.kind == "duckdb":
        with shop.mirror.into.opened(writable=True) as into:
            into.query('CREATE TABLE "public".later (id INTEGER)')
    shop.execute("GRANT SELECT ON t TO PUBLIC; CREATE INDEX ON t (v); ANALYZE t; INSERT INTO t VALUES (60, 'v', 'w');"
                 "CREATE TABLE later (id int PRIMARY KEY)")
    shop.execute("INSERT INTO later SELECT generate_series(1, 20)")
    assert equal_or_told(wide, "equal") == "equal"
    assert shop.compared() == 71


def test_a_table_that_was_not_published_all_the_time(wide):
    """It joins a publication that is followed already: what was written before is never sent."""
    shop = wide.shop
    shop.execute(f"DROP PUBLICATION {shop.name}; CREATE PUBLICATION {shop.name} FOR TABLE t;"
                 f"SELECT pg_drop_replication_slot('{shop.name}')")
    wide.make_slot()
    assert wide.follow() == 50
    shop.execute("CREATE TABLE later (id int PRIMARY KEY)")
    shop.execute("INSERT INTO later VALUES (1)")
    shop.execute(f"ALTER PUBLICATION {shop.name} ADD TABLE later")
    assert equal_or_told(wide, "held") == "held"
    shop.mirror.configure(publication={"name": shop.name, "create": False})
    shop.mirror.start()
    assert shop.settle() == 51, "the remedy"


def test_a_start_that_ends_between_taking_and_holding(wide):
    """The table was made again under its name. What the first start did not get to say, the next does."""
    wide.shop.execute(ALTERED["made again"])
    mirror = wide.shop.mirror
    mirror.env = killed_at(f"{mirror.into.kind}.adopt.committed")
    mirror.configure(snapshot={"enabled": False}, publication={"name": wide.shop.name, "create": False})
    mirror.start()
    assert mirror.wait_ended() == -9
    mirror.env = {}
    assert equal_or_told(wide, "held") == "held"


def test_a_table_joins_between_slot_and_start(started):
    """What is written between the snapshot and the joining is never sent."""
    shop = started.shop
    shop.execute("CREATE TABLE other (id int PRIMARY KEY)")
    shop.execute(f"SELECT pg_drop_replication_slot('{shop.name}')")
    started.make_slot()
    snapshot(shop)
    shop.execute("INSERT INTO other VALUES (1)")
    shop.execute(f"ALTER PUBLICATION {shop.name} ADD TABLE other")
    assert equal_or_told(started, "refused") == "refused"
    assert "public.other" in shop.mirror.log_text() and "is not sent" in shop.mirror.log_text(), shop.mirror.tail()


def test_altered_since_the_snapshot(started):
    shop = started.shop
    snapshot(shop)
    shop.execute("ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v text")
    assert equal_or_told(started, "refused") == "refused"
    assert "since the snapshot" in shop.mirror.log_text(), shop.mirror.tail()
