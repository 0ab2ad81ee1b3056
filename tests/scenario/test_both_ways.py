"""Two databases that follow each other. Invariant: once both directions are in step both hold the same rows, and no
change went round in a circle."""
import pytest

from targets import PostgresTarget
from tailrace import run
from waiting import wait_until

pytestmark = pytest.mark.postgres

TABLES = """
CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE big (id int PRIMARY KEY, v text);
INSERT INTO t SELECT i, 'copied' FROM generate_series(1, 50) i"""


class Loop:
    """`there` follows a pair's source as ever; `back` follows its target into the source, and copies nothing."""

    def __init__(self, pair, **settings):
        self.pair = pair
        self.there = pair.mirror
        self.there.configure(origin="none", **settings)
        self.back = pair.another(source=pair.mirror.target, into=PostgresTarget(pair.cluster, pair.name, existing=True),
                                 origin="none", snapshot={"enabled": False}, **settings)

    def start(self):
        self.there.start()
        self.there.wait_caught_up(self.pair.cluster)
        self.back.start()
        self.back.wait_streaming()
        return self

    def sides(self):
        return (self.pair.execute, self.pair.mirror.into.execute)

    def rows(self):
        """What each side holds of t and big."""
        return [side("SELECT 't', id, md5(v) FROM t UNION ALL SELECT 'big', id, md5(v) FROM big ORDER BY 1, 2")
                for side in self.sides()]

    def wait_equal(self, count):
        def equal():
            one, two = self.rows()
            return one if one == two and len(one) == count else None

        return wait_until(equal, what=lambda: f"equal sides; {[len(rows) for rows in self.rows()]} rows\n"
                          + self.there.tail() + self.back.tail())


@pytest.mark.parametrize("one, two", [(15, 15), (18, 18), (15, 18)], ids=lambda version: f"pg{version}")
def test_no_change_comes_back(pair_on, one, two):
    """Small transactions, and one so large that it would be sent while in progress. Before 16 the server does not know
    whose changes are whose in time, and the filter is ours."""
    pair = pair_on(one, two)
    for execute, name in zip((pair.execute, pair.mirror.into.execute), (pair.name, pair.mirror.into.database)):
        execute(f'ALTER DATABASE "{name}" SET logical_decoding_work_mem = \'64kB\'')
    pair.execute(TABLES)
    loop = Loop(pair).start()
    here, there = loop.sides()
    # Before any change of data, what the first record of the transaction says is not whose it is.
    here("BEGIN; CREATE TEMP TABLE s (id int); INSERT INTO big SELECT i, repeat(md5(i::text), 5)"
         " FROM generate_series(1, 5000) i; COMMIT")
    loop.wait_equal(5050)
    for step in range(10):
        here(f"INSERT INTO t VALUES ({1000 + step}, 'from one'); UPDATE t SET v = 'one' WHERE id = {step + 1}")
        there(f"INSERT INTO t VALUES ({2000 + step}, 'from two'); UPDATE t SET v = 'two' WHERE id = {step + 21}")
    there("UPDATE big SET v = v || 'x' WHERE id <= 3000")
    there("DELETE FROM t WHERE id BETWEEN 41 AND 50")
    rows = loop.wait_equal(5060)
    assert sum(1 for row in rows if row[0] == "t") == 60
    # Each was told once: what came from the other side is not among what was applied there.
    counts = [(mirror.wait_status(lambda status: status["lag_seconds"] == 0, what="in step")["changes"])
              for mirror in (loop.there, loop.back)]
    assert counts == [5000 + 20, 20 + 3000 + 10]
    for mirror in (loop.there, loop.back):
        outcome = mirror.verify()
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    outcome = run("verify", "-c", loop.back.config, "--repair")
    assert outcome.returncode == 3 and "on their way" in outcome.stderr, "it could undo what is not sent yet"
    here("TRUNCATE t")
    loop.wait_equal(5000)
    loop.there.stop()
    loop.back.stop()
    here("DROP SCHEMA tailrace CASCADE")


def test_the_same_change_goes_round_without_it(pair):
    """What origin: none is for: with `any`, the way back sends an insert home again, where it is refused."""
    pair.execute(TABLES)
    loop = Loop(pair)
    loop.back.configure(origin="any", snapshot={"enabled": False}, conflicts={"policy": "error"})
    loop.start()
    pair.execute("INSERT INTO t VALUES (100, 'one')")
    assert loop.back.wait_ended() > 0
    assert "public.t" in loop.back.log_text()


def test_nothing_is_emptied_in_a_loop(pair):
    """A table that must be copied anew would be emptied first, and that would travel back."""
    pair.execute(TABLES)
    loop = Loop(pair).start()
    pair.mirror.into.execute("INSERT INTO t VALUES (100, 'two')")
    wait_until(lambda: pair.value("SELECT count(*) FROM t WHERE id = 100"), what="the row from the other side")
    pair.execute("ALTER TABLE t ALTER v TYPE varchar(3) USING left(v, 3)")
    assert loop.there.wait_ended(60) == 3
    assert "public.t must be copied anew" in loop.there.log_text()
    assert [len(rows) for rows in loop.rows()] == [51, 51]
    assert loop.back.running()


def test_rows_of_the_target_stay_when_nothing_is_copied(pair):
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'source')")
    pair.mirror.into.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'target')")
    pair.mirror.configure(snapshot={"enabled": False})
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.execute("INSERT INTO t VALUES (2, 'followed')")
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.stop()
    assert pair.mirror.into.query("SELECT * FROM t ORDER BY 1") == [("1", "target"), ("2", "followed")]


def test_what_cannot_be_marked_is_said(pair):
    """A role that may not use origins, though it may all else. And that the rows copied came from elsewhere."""
    cluster = pair.mirror.into.cluster
    role = f"plain_{pair.name}"
    pair.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE SCHEMA tailrace;"
                 "CREATE TABLE tailrace.tables (subscription text, schema_name text, table_name text);"
                 "INSERT INTO tailrace.tables VALUES ('other', 'public', 't')")
    pair.mirror.into.execute(f"CREATE ROLE {role} LOGIN; GRANT SET ON PARAMETER session_replication_role TO {role};"
                             f'GRANT ALL ON DATABASE "{pair.mirror.into.database}" TO {role};'
                             f"GRANT ALL ON SCHEMA public TO {role}")
    try:
        pair.mirror.into.url = pair.mirror.into.url.replace("postgres@", f"{role}@")
        pair.mirror.configure(origin="none")
        pair.mirror.start()
        pair.mirror.wait_caught_up(pair.cluster)
        pair.execute("INSERT INTO t VALUES (1)")
        pair.mirror.wait_caught_up(pair.cluster)
        assert pair.settle() == 1
        warnings = [line for line in pair.mirror.log_text().splitlines() if " warn" in line.lower()]
        assert any("not marked with a replication origin" in line for line in warnings), pair.mirror.tail()
        assert any("origin: none" in line and "t" in line for line in warnings), pair.mirror.tail()
        assert pair.mirror.into.value("(SELECT count(*) FROM pg_replication_origin"
                                      f" WHERE roname = 'tailrace_{pair.name}')") == "0"
    finally:
        pair.mirror.close()
        pair.mirror.into.close()
        cluster.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        cluster.create_database(pair.mirror.into.database)
