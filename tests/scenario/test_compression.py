"""What wide values are compressed with at a PostgreSQL target. Invariant: whoever chose there, server, database, column
or URL, is followed; and no value is refused because of what tailrace chose."""
import pytest

from test_postgres_target import follow

pytestmark = pytest.mark.postgres

# Many rows go set-wise, by COPY and by a stage; few as statements. Both the source's new rows and its changed ones.
MANY = "INSERT INTO t SELECT i, repeat('new ' || i, 1000) FROM generate_series(101, 200) i"
FEW = "INSERT INTO t SELECT i, repeat('few ' || i, 1000) FROM generate_series(201, 205) i"
CHANGED = "UPDATE t SET v = repeat('changed ' || id, 1000) WHERE id <= 50"


def compressions(pair, where="true"):
    return pair.mirror.into.value(f"(SELECT array_agg(DISTINCT pg_column_compression(v)) FROM t WHERE {where})")


def start(pair, **changes):
    """A table of 100 rows is copied."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v text);"
                 "INSERT INTO t SELECT i, repeat('old ' || i, 1000) FROM generate_series(1, 100) i")
    pair.mirror.configure(**changes)
    follow(pair)


def change(pair):
    for sql in (MANY, FEW, CHANGED):
        pair.execute(sql)
    pair.mirror.wait_caught_up(pair.cluster)
    pair.settle()


def test_nobody_chose(pair):
    """What is applied takes lz4. What is copied gets its indexes later, so it stays with the server's."""
    start(pair)
    change(pair)
    assert compressions(pair, "id BETWEEN 51 AND 100") == "{pglz}"
    assert compressions(pair, "id NOT BETWEEN 51 AND 100") == "{lz4}"


def test_it_is_switched_off(pair):
    start(pair, apply={"toast_compression": "server"})
    change(pair)
    assert compressions(pair) == "{pglz}"


def test_the_database_chose(pair):
    pair.mirror.into.execute(f"ALTER DATABASE {pair.mirror.into.database} SET default_toast_compression = 'pglz'")
    start(pair)
    change(pair)
    assert compressions(pair) == "{pglz}"


def test_the_url_chose(pair):
    """For the copy as well, as docs/postgres-target.md shows."""
    start(pair, target=pair.mirror.into.url + "?options=-c%20default_toast_compression%3Dlz4")
    change(pair)
    assert compressions(pair) == "{lz4}"


def test_a_column_has_its_own(pair):
    pair.mirror.into.execute("CREATE TABLE t (id int PRIMARY KEY, v text COMPRESSION pglz)")
    start(pair)
    change(pair)
    assert compressions(pair) == "{pglz}"


# Short matches, which pglz writes down shorter than lz4 does: only so a value fits into an index.
VERBOSE = "(SELECT string_agg(substr(md5((random() * 40)::int::text), 1, 5), '') FROM generate_series(1, 1100 + 0 * i))"


@pytest.mark.parametrize("rows", (5, 100), ids=("few", "many"))
def test_a_value_that_only_the_servers_fits_into_an_index(pair, rows):
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE INDEX ON t (v)")
    follow(pair)
    into = pair.mirror.into
    pair.execute(f"INSERT INTO t SELECT i, {VERBOSE} FROM generate_series(1, {rows}) i")
    with into.cluster.connect(into.database) as by_hand, pytest.raises(Exception, match="index row size"):
        by_hand.execute("SET default_toast_compression = lz4")
        by_hand.execute("CREATE TABLE by_hand (v text); CREATE INDEX ON by_hand (v)")
        by_hand.execute(f"INSERT INTO by_hand SELECT {VERBOSE} FROM generate_series(1, 5) i")
    pair.execute("UPDATE t SET v = v || 'a'")
    pair.mirror.wait_caught_up(pair.cluster)
    assert pair.settle() == rows
    assert compressions(pair) == "{pglz}"
