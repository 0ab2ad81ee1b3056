"""The watch of the source's catalogs: it asks only what changed, notices every kind of change, and holds up no rows."""
import re

import pytest
from tailrace import Tailrace, in_background
from waiting import wait_until

TABLES = 200


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_a_look_that_waits_for_a_lock_holds_up_no_rows(shop_into, kind):
    shop = shop_into(kind)
    shop.execute("CREATE TABLE t (id int PRIMARY KEY)")
    with shop.mirror as mirror, shop.connect(autocommit=False) as blocker:
        mirror.wait_streaming()
        shop.execute("INSERT INTO t VALUES (1)")
        mirror.look(shop.cluster)
        blocker.execute("LOCK TABLE pg_catalog.pg_publication IN ACCESS EXCLUSIVE MODE")
        # Where nothing was committed, nothing is asked.
        shop.execute("INSERT INTO t VALUES (2)")
        with in_background(mirror, "refresh") as refresh:
            waiting = ("SELECT application_name FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                       f" AND datname = '{shop.name}'")
            wait_until(lambda: shop.execute(waiting), what="a look that waits")
            assert shop.execute(waiting) == [(f"{mirror.name} catalogs",)]
            shop.execute("INSERT INTO t VALUES (3)")
            mirror.wait_caught_up(shop.cluster, timeout=10)
            assert shop.execute(waiting), "the look did not wait until the row was there"
            assert refresh.poll() is None
            blocker.rollback()
            assert refresh.wait(60) == 0
        # It looks on by itself.
        shop.execute("CREATE TABLE later (id int PRIMARY KEY); INSERT INTO later VALUES (1)")
        mirror.look(shop.cluster)
        shop.settle()


def test_a_look_goes_on_when_its_connection_is_cut(shop):
    shop.execute("CREATE TABLE t (id int PRIMARY KEY)")
    with shop.mirror as mirror:
        mirror.wait_streaming()
        mirror.look(shop.cluster)
        for attempt in range(3):
            assert shop.value("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                              f" WHERE application_name = '{mirror.name} catalogs'") == 1
            shop.execute(f"ALTER TABLE t ADD c{attempt} int DEFAULT {attempt}")
            mirror.look(shop.cluster)
        assert mirror.status()["reconnects"] == 0
        shop.settle()


def test_a_look_over_quiet_tables_asks_nothing_of_them(own_cluster, tmp_path):
    cluster = own_cluster(log_statement="all", log_line_prefix="%a: ", log_min_messages="log")
    cluster.execute("CREATE TABLE busy (id int PRIMARY KEY)")
    for number in range(TABLES):
        cluster.execute(f"CREATE TABLE t{number} (id int PRIMARY KEY, a text, b numeric)")
    numbered = cluster.execute("SELECT oid, relname FROM pg_class WHERE relname ~ '^t[0-9]'")
    oids = {str(oid): name for oid, name in numbered}

    def asked_of(what):
        """Which tables were asked for by their number while that was done."""
        before = len(cluster.log_text())
        what()
        said = cluster.log_text()[before:]
        assert "pg_catalog.pg_class" in said, "no look was made"
        arrays = re.findall(r"\{(\d+(?:,\d+)*)\}", said)
        return {oids[oid] for array in arrays for oid in array.split(",") if oid in oids}

    with Tailrace(cluster.url(), tmp_path, "quiet") as mirror:
        mirror.wait_streaming()
        # What was made a moment ago may be looked at once more.
        for row in range(2):
            cluster.execute(f"INSERT INTO busy VALUES ({row})")
            mirror.look(cluster)

        def commit_and_look():
            cluster.execute("INSERT INTO busy VALUES (10)")
            mirror.look(cluster)

        def alter_and_look():
            cluster.execute("ALTER TABLE t7 RENAME a TO renamed")
            mirror.look(cluster)

        assert asked_of(commit_and_look) == set()
        assert asked_of(alter_and_look) == {"t7"}
        mirror.stop()
        mirror.into.compare(cluster, "postgres")


def test_a_transaction_that_stays_open_makes_no_look_dearer(own_cluster, tmp_path):
    """What was written since it began is newer than it, at every look."""
    cluster = own_cluster(log_statement="all", log_line_prefix="%a: ", log_min_messages="log")
    cluster.execute("CREATE TABLE t (id int PRIMARY KEY, a text); CREATE TABLE busy (id int)")
    oid = cluster.value("SELECT 't'::regclass::oid")
    with Tailrace(cluster.url(), tmp_path, "open") as mirror, cluster.connect(autocommit=False) as idle:
        mirror.wait_streaming()
        idle.execute("SELECT txid_current()")
        cluster.execute("ALTER TABLE t RENAME a TO b")
        mirror.look(cluster)
        cluster.execute("INSERT INTO busy VALUES (1)")
        mirror.look(cluster)
        before = len(cluster.log_text())
        cluster.execute("INSERT INTO busy VALUES (2)")
        mirror.look(cluster)
        assert "{%d}" % oid not in cluster.log_text()[before:]
        cluster.execute("ALTER TABLE t RENAME b TO c")
        mirror.look(cluster)
        idle.rollback()
        mirror.stop()
        mirror.into.compare(cluster, "postgres")


PLAIN = "CREATE TABLE {t} (id int PRIMARY KEY, a int NOT NULL, v varchar(10)); INSERT INTO {t} VALUES (1, 1, 'x')"
PARTED = """CREATE TABLE {t} (id int, d int, v text, PRIMARY KEY (id, d)) PARTITION BY LIST (d);
            CREATE TABLE {t}_1 PARTITION OF {t} FOR VALUES IN (1);
            CREATE TABLE {t}_2 PARTITION OF {t} FOR VALUES IN (2);
            INSERT INTO {t} VALUES (1, 1, 'x'), (2, 2, 'y')"""
# name: the table, then what is done to it; after each there is a look, and nobody writes to it but so.
NOTICED = {
    "column_added": [PLAIN, "ALTER TABLE {t} ADD n int DEFAULT 7"],
    "column_dropped": [PLAIN, "ALTER TABLE {t} DROP a"],
    "column_dropped_and_added": [PLAIN, "ALTER TABLE {t} DROP v, ADD v varchar(10) DEFAULT 'anew'"],
    "column_renamed": [PLAIN, "ALTER TABLE {t} RENAME v TO w"],
    "columns_renamed_in_turn": [PLAIN, "ALTER TABLE {t} RENAME v TO w", "ALTER TABLE {t} RENAME w TO v"],
    "type_widened": [PLAIN, "ALTER TABLE {t} ALTER v TYPE varchar(20)"],
    "type_changed": [PLAIN, "ALTER TABLE {t} ALTER a TYPE text USING 'n' || a"],
    "default_set": [PLAIN, "ALTER TABLE {t} ALTER a SET DEFAULT 5, ALTER a DROP NOT NULL"],
    "identity_full": [PLAIN, "ALTER TABLE {t} REPLICA IDENTITY FULL", "UPDATE {t} SET a = 2"],
    "identity_by_index": [PLAIN, "CREATE UNIQUE INDEX {t}_a ON {t} (a)",
                          "ALTER TABLE {t} REPLICA IDENTITY USING INDEX {t}_a", "UPDATE {t} SET v = 'z'"],
    "key_dropped": [PLAIN, "ALTER TABLE {t} DROP CONSTRAINT {t}_pkey", "ALTER TABLE {t} REPLICA IDENTITY FULL",
                    "UPDATE {t} SET v = 'z'"],
    "renamed": [PLAIN, "ALTER TABLE {t} RENAME TO {t}_now"],
    "renamed_twice": [PLAIN, "ALTER TABLE {t} RENAME TO {t}_now", "ALTER TABLE {t}_now RENAME TO {t}"],
    "schema_changed": [PLAIN, "ALTER TABLE {t} SET SCHEMA other"],
    "unlogged_for_a_while": [PLAIN, "ALTER TABLE {t} SET UNLOGGED; UPDATE {t} SET a = 9;"
                                    "ALTER TABLE {t} SET LOGGED"],
    "rewritten": [PLAIN, "ALTER TABLE {t} ADD r float8 DEFAULT random()"],
    "dropped_and_made_again": [PLAIN, "DROP TABLE {t}; CREATE TABLE {t} (id int PRIMARY KEY, other text);"
                                      "INSERT INTO {t} VALUES (1, 'x')"],
    "partition_truncated": [PARTED, "TRUNCATE {t}_1"],
    "partition_dropped": [PARTED, "DROP TABLE {t}_1"],
    "partition_attached": [PARTED, "CREATE TABLE {t}_3 (LIKE {t} INCLUDING ALL); INSERT INTO {t}_3 VALUES (3, 3, 'z');"
                                   "ALTER TABLE {t} ATTACH PARTITION {t}_3 FOR VALUES IN (3)"],
    "partition_unlogged_for_a_while": [PARTED, "ALTER TABLE {t}_1 SET UNLOGGED; UPDATE {t}_1 SET v = 'late';"
                                               "ALTER TABLE {t}_1 SET LOGGED"],
    "partition_detached_and_back": [PARTED, "ALTER TABLE {t} DETACH PARTITION {t}_1; UPDATE {t}_1 SET v = 'late';"
                                            "ALTER TABLE {t} ATTACH PARTITION {t}_1 FOR VALUES IN (1)"],
    "inherited": [PLAIN, "CREATE TABLE {t}_heir () INHERITS ({t}); INSERT INTO {t}_heir VALUES (2, 2, 'y')",
                  "ALTER TABLE {t}_heir NO INHERIT {t}", "ALTER TABLE {t} ADD n int DEFAULT 7"],
    "made": ["SELECT 1", PLAIN],
    "made_unlogged": ["SELECT 1", "CREATE UNLOGGED TABLE {t} (id int); INSERT INTO {t} VALUES (1)",
                      "ALTER TABLE {t} SET LOGGED"],
}
# Which publication: all tables; a list that tailrace keeps; or schemas that somebody else chose.
PUBLICATIONS = {"all": {}, "list": {"tables": ["public.*", "other.*"]},
                "schemas": {"publication": {"name": "theirs", "create": False}}}
MANY = [("duckdb", "all"), ("duckdb", "list"), ("duckdb", "schemas"), ("postgres", "all"), ("postgres", "list")]


@pytest.mark.parametrize(("kind", "published"), MANY, ids=["-".join(one) for one in MANY])
def test_every_kind_of_change_is_noticed(shop_into, kind, published):
    shop = shop_into(kind)
    shop.execute("CREATE SCHEMA other; CREATE TABLE busy (id serial PRIMARY KEY)")
    cases = dict(NOTICED)
    if published == "list":
        del cases["unlogged_for_a_while"]  # PostgreSQL refuses it of a table that a publication names
    for case, (table, *_) in cases.items():
        shop.execute(table.format(t=case))
    if published == "schemas":
        shop.execute("CREATE PUBLICATION theirs FOR TABLES IN SCHEMA public, other"
                     " WITH (publish_via_partition_root)")
    shop.mirror.configure(**PUBLICATIONS[published])
    with shop.mirror as mirror:
        mirror.wait_caught_up(shop.cluster)
        for case, (_, *statements) in cases.items():
            for statement in statements:
                shop.execute("INSERT INTO busy DEFAULT VALUES")
                mirror.look(shop.cluster)
                shop.execute(statement.format(t=case))
        mirror.look(shop.cluster)
        shop.settle()
