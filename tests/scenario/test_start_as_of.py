"""Rows that are at the target already (a dump, a snapshot, a load of one's own) and a position as of which they are.
Invariant: everything that was committed after that position arrives, and nothing of before comes again; what cannot be
known is refused before anything is written."""
import pytest

from conftest import Shop
from duckdb_file import DuckdbFile
from tailrace import run

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
        return self.shop.value("SELECT pg_current_wal_lsn()::text")

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
