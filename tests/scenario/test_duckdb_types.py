"""types: what a numeric becomes in a DuckDB file, by the user's choice. Invariants: a value is that very number there, or
its column becomes PostgreSQL's exact text, or its table is held, as chosen; nothing is rounded; other settings are not
silently ignored; `verify` says so too."""
from decimal import Decimal

import pytest

from tailrace import run

START = ("CREATE TABLE t (id int PRIMARY KEY, price numeric, score numeric, fixed numeric(8,2), wide numeric(50,2));"
         "INSERT INTO t VALUES (1, 1.5, 0.1, 7.25, 3), (2, 100, 1e3, 1, 4), (3, -0.250000, 0.10, 2, 5), (4, NULL, NULL, 3)")
TYPES = [{"type": "numeric", "as": "DECIMAL(20,6)"}, {"column": "public.*.score", "as": "DOUBLE"}]


@pytest.fixture
def shop(shop_into):
    shop = shop_into("duckdb")
    shop.execute(START)
    shop.mirror.configure(types=TYPES)
    return shop


def once(shop, *arguments, code=0):
    outcome = run("run", "-c", shop.mirror.config, "--once", *arguments)
    assert outcome.returncode == code, outcome.stderr
    return outcome.stderr


def column_types(shop):
    return dict(shop.mirror.query("SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 't'"))


def numbers(shop, table="t"):
    """What is there is what the source has, as numbers."""
    columns = "id, price, score, fixed, wide" if table == "t" else "*"
    with shop.connect() as connection:
        here = connection.execute(f"SELECT {columns} FROM {table} ORDER BY id").fetchall()
    there = shop.mirror.query(f"SELECT {columns} FROM public.{table} ORDER BY id")

    def number(value):
        return None if value is None else Decimal(str(value))
    assert [[number(value) for value in row] for row in here] == [[number(value) for value in row] for row in there]


@pytest.mark.parametrize("binary", ["on", "off"])
def test_numbers(shop, binary):
    shop.mirror.configure(types=TYPES, binary=binary)
    once(shop)
    assert column_types(shop) == {"id": "INTEGER", "price": "DECIMAL(20,6)", "score": "DOUBLE",
                                  "fixed": "DECIMAL(8,2)", "wide": "DECIMAL(20,6)"}
    numbers(shop)
    shop.execute("INSERT INTO t VALUES (5, 12345678901234.123456, 1e300, 9, 1.50), (6, 0.0000010000, -123.456, 9, 2);"
                 "UPDATE t SET price = 2.50, score = 2.50 WHERE id = 1; DELETE FROM t WHERE id = 2")
    once(shop)
    numbers(shop)
    assert column_types(shop)["price"] == "DECIMAL(20,6)"
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    verified = shop.verified()
    assert "5 rows" in verified, verified
    shop.mirror.stop()
    assert run("config", "check", "-c", shop.mirror.config).stdout.count("misfit: text") == 2


MISFITS = {"too many digits before": ("price", "123456789012345"), "behind the point": ("price", "0.0000001"),
           "NaN": ("price", "'NaN'"), "more than a double shows": ("score", "0.12345678901234567890"),
           "beyond a double": ("score", "'1" + "0" * 310 + "'")}


@pytest.mark.parametrize("when", ["copy", "stream"])
@pytest.mark.parametrize("misfit", MISFITS)
def test_what_does_not_fit_is_text(shop, misfit, when):
    column, value = MISFITS[misfit]
    change = f"INSERT INTO t VALUES (9, 1.50, 2.50, 1, 1); UPDATE t SET {column} = {value} WHERE id = 9"
    if when == "stream":
        once(shop)
    shop.execute(change)
    once(shop)
    assert column_types(shop)[column] == "VARCHAR"
    with shop.connect() as connection:
        here = connection.execute(f"SELECT id::text, {column}::text FROM t ORDER BY id").fetchall()
    there = shop.mirror.query(f"SELECT id::VARCHAR, {column} FROM public.t ORDER BY id")
    assert [tuple(row) for row in here] == [tuple(row) for row in there], "to the letter, the values from before too"
    shop.execute(f"UPDATE t SET {column} = 5.500 WHERE id = 1")
    once(shop)
    assert column_types(shop)[column] == "VARCHAR"
    assert run("verify", "-c", shop.mirror.config).returncode == 0


@pytest.mark.parametrize("when", ["copy", "stream"])
def test_what_does_not_fit_is_an_error(shop, when):
    shop.mirror.configure(types=[{**rule, "misfit": "error"} for rule in TYPES])
    shop.execute("CREATE TABLE other (id int PRIMARY KEY)")
    if when == "stream":
        once(shop)
        shop.execute("INSERT INTO other VALUES (1); UPDATE t SET price = 0.0000001 WHERE id = 1")
        text = once(shop, code=3)
        assert "public.t is held" in text and "does not fit DECIMAL(20,6)" in text, text
        assert shop.mirror.query("SELECT id::VARCHAR FROM public.other") == [("1",)], "the others go on"
        assert column_types(shop)["price"] == "DECIMAL(20,6)"
    else:
        shop.execute("UPDATE t SET price = 0.0000001 WHERE id = 1")
        text = once(shop, code=3)
        assert "does not fit DECIMAL(20,6)" in text, text
    shop.execute("UPDATE t SET price = 1 WHERE id = 1")
    once(shop, *(["--recopy", "public.t"] if when == "stream" else []))
    numbers(shop)


def test_other_settings_are_refused(shop):
    once(shop)
    for types, word in (([], "nothing of it"), ([{"column": "public.t.price", "as": "DECIMAL(30,6)"}], "DECIMAL(30,6)")):
        shop.mirror.configure(types=types)
        text = once(shop, code=3)
        assert word in text and "--recopy public.t" in text, text
        numbers(shop)
    once(shop, "--recopy", "public.t")
    assert column_types(shop) == {"id": "INTEGER", "price": "DECIMAL(30,6)", "score": "VARCHAR",
                                  "fixed": "DECIMAL(8,2)", "wide": "VARCHAR"}
    shop.mirror.configure(types=[{"column": "public.t.*", "as": "VARCHAR"}])
    once(shop, "--recopy", "public.t")
    assert set(column_types(shop).values()) == {"VARCHAR"}
    assert run("verify", "-c", shop.mirror.config).returncode == 0


def test_verify_mends_them(shop):
    once(shop)
    with shop.mirror.opened(writable=True) as there:
        there.query("UPDATE public.t SET price = price + 1 WHERE id = 1; DELETE FROM public.t WHERE id = 3")
    outcome = run("verify", "-c", shop.mirror.config)
    assert outcome.returncode == 1 and "2 rows differ" in outcome.stdout, outcome.stdout
    assert run("verify", "-c", shop.mirror.config, "--repair").returncode == 0
    numbers(shop)


def test_a_numeric_key(shop):
    """Rows are found by their number, however it is spelled."""
    shop.execute("CREATE TABLE k (id numeric PRIMARY KEY, v int); INSERT INTO k VALUES (1.50, 1), (2, 2), (3.250, 3)")
    once(shop)
    shop.execute("UPDATE k SET v = 20 WHERE id = 2; DELETE FROM k WHERE id = 1.5; UPDATE k SET id = 4.0 WHERE id = 3.25")
    once(shop)
    numbers(shop, "k")
    with shop.mirror.opened(writable=True) as there:
        there.query("DELETE FROM public.k WHERE v = 20")
    assert run("verify", "-c", shop.mirror.config, "--repair").returncode == 0
    numbers(shop, "k")


def test_columns_that_come_later(shop):
    once(shop)
    shop.execute("ALTER TABLE t ADD late numeric DEFAULT 1.25, ADD score2 numeric; UPDATE t SET score2 = 7 WHERE id = 1")
    once(shop)
    assert column_types(shop)["late"] == column_types(shop)["score2"] == "DECIMAL(20,6)"
    assert run("verify", "-c", shop.mirror.config).returncode == 0


WRONG = [([{"type": "numeric", "as": "DECIMAL(39,1)"}], "at most 38 digits"), ([{"as": "DOUBLE"}], "needs 'as'"),
         ([{"type": "numeric", "as": "FLOAT"}], "must be DECIMAL(p,s)"), ([{"column": "t.price", "as": "DOUBLE"}],
                                                                         "SCHEMA.TABLE.COLUMN"),
         ([{"type": "numeric", "as": "DOUBLE", "misfit": "round"}], "must be one of: text, error")]


@pytest.mark.parametrize("types, words", WRONG, ids=[words for _, words in WRONG])
def test_wrong_settings(shop, types, words):
    shop.mirror.configure(types=types)
    assert words in once(shop, code=2)
