"""types: what a numeric or an enum becomes in a DuckDB file, by the user's choice. Invariants: a value is that very
number or label there, or its column becomes PostgreSQL's exact text, or its table is held, as chosen; nothing is
rounded; other settings are not silently ignored; `verify` says so too; the file opens after every kill."""
import signal
from decimal import Decimal

import pytest

from kill_points import killed_at
from tailrace import run

START = ("CREATE TABLE t (id int PRIMARY KEY, price numeric, score numeric, fixed numeric(8,2), wide numeric(50,2));"
         "INSERT INTO t VALUES (1, 1.5, 0.1, 7.25, 3), (2, 100, 1e3, 1, 4), (3, -0.250000, 0.10, 2, 5),"
         " (4, NULL, NULL, 3, NULL)")
TYPES = [{"type": "numeric", "as": "DECIMAL(20,6)"}, {"column": "public.*.score", "as": "DOUBLE"}]
ENUMS = [{"type": "enum", "as": "ENUM"}]


def as_errors(types):
    return [{**rule, "misfit": "error"} for rule in types]


@pytest.fixture
def shop(shop_into):
    shop = shop_into("duckdb")
    shop.mirror.configure(types=TYPES)
    return shop


def once(shop, *arguments, code=0, command="run"):
    more = ["--once"] if command == "run" else []
    outcome = run(command, "-c", shop.mirror.config, *more, *arguments)
    assert outcome.returncode == code, f"{outcome.returncode}\n{outcome.stdout}\n{outcome.stderr}"
    return outcome.stdout + outcome.stderr


def there(shop, sql):
    return [tuple(row) for row in shop.mirror.into.query(sql)]


def column_types(shop, table="t"):
    return dict(there(shop, f"SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = '{table}'"))


def rows(shop, table, columns):
    """Both sides' as text, to the letter."""
    listed = "SELECT " + ", ".join(f"({column})::{{0}}" for column in columns) + f" FROM public.{table}"
    with shop.connect() as connection:
        here = connection.execute(listed.format("text")).fetchall()
    return here, there(shop, listed.format("VARCHAR"))


def in_some_order(side):
    return sorted(side, key=str)


def same_text(shop, table, *columns):
    here, file = rows(shop, table, columns)
    assert in_some_order(here) == in_some_order(file), "to the letter"


def same_numbers(shop, table="t", columns=("id", "price", "score", "fixed", "wide")):
    def number(value):
        return (value is not None, Decimal(value or 0))

    here, file = rows(shop, table, columns)
    assert sorted([number(value) for value in row] for row in here) == \
        sorted([number(value) for value in row] for row in file)


def verifies(shop):
    outcome = run("verify", "-c", shop.mirror.config)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.parametrize("binary", ["on", "off"])
def test_numbers(shop, binary):
    shop.execute(START)
    shop.mirror.configure(types=TYPES, binary=binary)
    once(shop)
    assert column_types(shop) == {"id": "INTEGER", "price": "DECIMAL(20,6)", "score": "DOUBLE",
                                  "fixed": "DECIMAL(8,2)", "wide": "DECIMAL(20,6)"}
    same_numbers(shop)
    shop.execute("INSERT INTO t VALUES (5, 12345678901234.123456, 1e300, 9, 1.50), (6, 0.0000010000, -123.456, 9, 2),"
                 " (7, 0, 'NaN', 1, 0.00), (8, -99999999999999.999999, '-Infinity', 1, 1);"
                 "UPDATE t SET price = 2.50, score = 2.50 WHERE id = 1; DELETE FROM t WHERE id = 2")
    once(shop)
    same_numbers(shop, columns=("id", "price", "fixed", "wide"))
    assert there(shop, "SELECT score::VARCHAR FROM public.t WHERE id IN (7, 8) ORDER BY id") == [("nan",), ("-inf",)]
    assert column_types(shop)["price"] == "DECIMAL(20,6)" and column_types(shop)["score"] == "DOUBLE"
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    assert "7 rows" in shop.verified()
    shop.mirror.stop()
    assert run("config", "check", "-c", shop.mirror.config).stdout.count("misfit: text") == 2


MISFITS = {"digits": ("price", "123456789012345"), "behind": ("price", "0.0000001"), "nan": ("price", "'NaN'"),
           "shown": ("score", "0.12345678901234567890"), "beyond": ("score", "'1" + "0" * 310 + "'"),
           "below": ("score", "'0." + "0" * 400 + "1'")}


@pytest.mark.parametrize("when", ["copy", "stream"])
def test_what_does_not_fit_is_text(shop, when):
    """Of all rows, those from before too, it is then how the source spells it."""
    for table in MISFITS:
        shop.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, price numeric, score numeric);"
                     f"INSERT INTO {table} VALUES (1, 1.5, 0.10), (2, 2.00, 1e3), (3, NULL, NULL)")
    if when == "stream":
        once(shop)
    for table, (column, value) in MISFITS.items():
        shop.execute(f"INSERT INTO {table} VALUES (9, 1.50, 2.50); UPDATE {table} SET {column} = {value} WHERE id = 9")
    once(shop)
    for table, (column, _) in MISFITS.items():
        other = {"price": "score", "score": "price"}[column]
        assert column_types(shop, table)[column] == "VARCHAR" != column_types(shop, table)[other]
        same_text(shop, table, "id", column)
        shop.execute(f"UPDATE {table} SET {column} = 5.500 WHERE id = 1; DELETE FROM {table} WHERE id = 2")
    once(shop)
    for table, (column, _) in MISFITS.items():
        assert column_types(shop, table)[column] == "VARCHAR"
        same_text(shop, table, "id", column)
    verifies(shop)


@pytest.mark.parametrize("when", ["copy", "stream"])
def test_what_does_not_fit_is_an_error(shop, when):
    """It holds that table alone."""
    shop.execute(START + ";CREATE TABLE other (id int PRIMARY KEY)")
    shop.mirror.configure(types=as_errors(TYPES))
    if when == "stream":
        once(shop)
    shop.execute("INSERT INTO other VALUES (1); UPDATE t SET price = 0.0000001 WHERE id = 1")
    text = once(shop, code=3)
    assert "public.t is held" in text and "('0.0000001') of column price does not fit DECIMAL(20,6)" in text, text
    assert there(shop, "SELECT id::VARCHAR FROM public.other") == [("1",)], "the others go on"
    if when == "stream":
        assert column_types(shop)["price"] == "DECIMAL(20,6)"
    shop.execute("UPDATE t SET price = 1 WHERE id = 1")
    once(shop, *(["--recopy", "public.t"] if when == "stream" else []))
    same_numbers(shop)
    verifies(shop)


def test_a_misfit_in_a_transaction_that_changed_other_tables(shop):
    """It is applied once, with the column as text."""
    shop.execute(START + ";CREATE TABLE a (id serial PRIMARY KEY); CREATE TABLE z (id serial PRIMARY KEY)")
    once(shop)
    shop.execute("INSERT INTO a DEFAULT VALUES; DELETE FROM t WHERE id = 2; INSERT INTO z DEFAULT VALUES;"
                 "UPDATE t SET price = 'NaN' WHERE id = 1; INSERT INTO a DEFAULT VALUES")
    once(shop)
    assert there(shop, "SELECT count(*)::VARCHAR FROM public.a") == [("2",)]
    assert there(shop, "SELECT count(*)::VARCHAR FROM public.z") == [("1",)]
    same_text(shop, "t", "id", "price")
    verifies(shop)


def test_a_kill_before_the_copy_as_text(shop):
    """It stays text, though the copy finds nothing any more that does not fit."""
    shop.execute(START)
    once(shop)
    shop.execute("UPDATE t SET price = 'NaN' WHERE id = 1; UPDATE t SET score = 1.00 WHERE id = 2")
    outcome = run("run", "-c", shop.mirror.config, "--once", env=killed_at("duckdb.copy_as_text.committed"))
    assert outcome.returncode == -signal.SIGKILL, outcome.stderr
    assert there(shop, "SELECT copied::VARCHAR FROM tailrace.tables") == [("false",)]
    shop.execute("UPDATE t SET price = 1.50 WHERE id = 1")
    once(shop)
    assert column_types(shop)["price"] == "VARCHAR" and column_types(shop)["score"] == "DOUBLE"
    same_text(shop, "t", "id", "price")
    verifies(shop)


def test_other_settings_are_refused(shop):
    """All tables that differ are named, with one command; `check` says the same."""
    shop.execute(START + ";CREATE TABLE u (id int PRIMARY KEY, score numeric); INSERT INTO u VALUES (1, 1.50)")
    once(shop)
    for types, words in (([], "public.t.price (then DECIMAL(20,6), now nothing of it)"),
                         ([{"column": "public.*.*", "as": "DECIMAL(30,6)"}],
                          "public.u.score (then DOUBLE, now DECIMAL(30,6))")):
        shop.mirror.configure(types=types)
        for command in ("run", "check"):
            text = once(shop, command=command, code=3 if command == "run" else 1)
            assert words in text and "--recopy public.t --recopy public.u" in text, text
        same_numbers(shop)
    shop.mirror.configure()
    assert "--recopy public.u'" in once(shop, "--recopy", "public.t", code=3), "the other one is as before"
    once(shop, "--recopy", "public.t", "--recopy", "public.u")
    assert column_types(shop)["price"] == column_types(shop, "u")["score"] == "VARCHAR"
    same_text(shop, "u", "id", "score")
    assert "other types than" not in once(shop, command="check")
    shop.mirror.configure(types=[{"column": "public.*.*", "as": "VARCHAR"}])
    once(shop, "--recopy-all")
    assert set(column_types(shop).values()) == {"VARCHAR"}
    verifies(shop)


def test_what_makes_no_difference_is_not_refused(shop):
    """Neither another misfit, which counts from then on, nor a rule for nothing that is there, nor that a column was
    renamed at the source, so that its rule does not name it any more."""
    shop.execute(START + ";CREATE TABLE words (id int PRIMARY KEY, word text)")
    once(shop)
    shop.mirror.configure(types=as_errors(TYPES) + [{"column": "public.words.*", "as": "DOUBLE"},
                                                    {"column": "*.*.word", "as": "VARCHAR"}])
    once(shop)
    shop.execute("ALTER TABLE t RENAME score TO points; INSERT INTO t VALUES (5, 1, 2.50)")
    once(shop)
    assert column_types(shop)["points"] == "DOUBLE"
    once(shop)
    shop.execute("UPDATE t SET points = 0.12345678901234567890 WHERE id = 5")
    assert "does not fit DOUBLE" in once(shop, code=3)


def test_settings_of_a_snapshot(shop):
    """Its file is gone on from with the same ones only."""
    shop.execute(START)
    once(shop, "--create-slot", command="init")
    once(shop, command="snapshot")
    assert column_types(shop)["price"] == "DECIMAL(20,6)"
    same_numbers(shop)
    shop.execute("UPDATE t SET price = 7.50 WHERE id = 1")
    for types in ([], TYPES):
        shop.mirror.configure(types=types, snapshot={"enabled": False})
        text = once(shop, code=0 if types else 3)
        assert types or "public.t.price (then DECIMAL(20,6), now nothing of it)" in text, text
    same_numbers(shop)


def test_a_snapshot_with_a_misfit(shop):
    shop.execute(START + ";UPDATE t SET price = 'NaN' WHERE id = 1")
    shop.mirror.configure(types=as_errors(TYPES))
    text = once(shop, command="snapshot", code=3)
    assert "('NaN') of column price does not fit DECIMAL(20,6)" in text, text
    shop.mirror.configure(types=TYPES)
    once(shop, command="snapshot")
    same_text(shop, "t", "id", "price")


def test_verify_mends_them(shop):
    shop.execute(START)
    once(shop)
    with shop.mirror.opened(writable=True) as file:
        file.query("UPDATE public.t SET price = price + 1 WHERE id = 1; DELETE FROM public.t WHERE id = 3")
    outcome = run("verify", "-c", shop.mirror.config)
    assert outcome.returncode == 1 and "2 rows differ" in outcome.stdout, outcome.stdout
    assert run("verify", "-c", shop.mirror.config, "--repair").returncode == 0
    same_numbers(shop)


def test_a_numeric_key(shop):
    """Rows are found by their number, however it is spelled."""
    shop.mirror.configure(types=[{"column": "public.k.id", "as": "DECIMAL(20,6)"},
                                 {"column": "public.f.id", "as": "DOUBLE"}])
    big = "repeat(md5(id::text), 400)"
    for table in ("k", "f"):
        shop.execute(f"CREATE TABLE {table} (id numeric PRIMARY KEY, v int, big text);"
                     f"ALTER TABLE {table} ALTER big SET STORAGE EXTERNAL;"
                     f"INSERT INTO {table} SELECT id, v, {big}"
                     " FROM (VALUES (1.50, 1), (2, 2), (3.250, 3), (7, 7)) r(id, v)")
    once(shop)
    for table in ("k", "f"):
        shop.execute(f"UPDATE {table} SET v = 20 WHERE id = 2; DELETE FROM {table} WHERE id = 1.5;"
                     f"UPDATE {table} SET id = 4.0 WHERE id = 3.25; UPDATE {table} SET id = 7.00 WHERE id = 7;"
                     f"DELETE FROM {table} WHERE id = 4; INSERT INTO {table} VALUES (4.00, 4, 'x')")
    once(shop)
    for table in ("k", "f"):
        assert column_types(shop, table)["id"] != "VARCHAR"
        same_numbers(shop, table, ("id", "v", "length(big)"))
        with shop.mirror.opened(writable=True) as file:
            file.query(f"DELETE FROM public.{table} WHERE v = 20")
    assert run("verify", "-c", shop.mirror.config, "--repair").returncode == 0
    for table in ("k", "f"):
        same_numbers(shop, table, ("id", "v", "length(big)"))


def test_rows_that_differ_in_spelling_alone(shop):
    """Of rows that are one number here, exactly as many go as went there."""
    shop.execute("CREATE TABLE w (price numeric, score numeric, i interval); ALTER TABLE w REPLICA IDENTITY FULL;"
                 "INSERT INTO w VALUES (1.0, 2, '1 mon'), (1.00, 2.0, '1 mon'), (1.000, 2, '1 mon'), (1, 2, '30 days'),"
                 " (NULL, 2.0, NULL), (NULL, 2.00, NULL), (5, 'NaN', NULL)")
    once(shop)

    def same():
        once(shop)
        same_numbers(shop, "w", ("price", "coalesce(nullif(score, 'NaN'), -1)", "extract(day FROM i)"))
        verifies(shop)
    same()
    shop.execute("DELETE FROM w WHERE price::text IN ('1.0', '1.00')")
    same()
    shop.execute("DELETE FROM w WHERE price IS NULL; INSERT INTO w VALUES (NULL, 2, NULL)")
    same()
    shop.execute("INSERT INTO w VALUES (1.0, 2, '1 mon'), (1.00, 2, '1 mon'), (1.00, 2, '1 mon')")
    same()
    shop.execute("UPDATE w SET price = price + 0.000 WHERE price::text = '1.00'; DELETE FROM w WHERE price = 5")
    same()


def test_columns_that_come_later(shop):
    shop.execute(START)
    once(shop)
    shop.execute("ALTER TABLE t ADD late numeric DEFAULT 1.25, ADD score2 numeric, ADD odd numeric DEFAULT 'NaN';"
                 "UPDATE t SET score2 = 7 WHERE id = 1")
    once(shop)
    assert column_types(shop)["late"] == column_types(shop)["score2"] == "DECIMAL(20,6)"
    assert column_types(shop)["odd"] == "VARCHAR"
    same_text(shop, "t", "id", "odd")
    verifies(shop)


def test_a_default_that_does_not_fit_is_an_error(shop):
    shop.mirror.configure(types=as_errors(TYPES))
    shop.execute(START)
    once(shop)
    shop.execute("ALTER TABLE t ADD odd numeric DEFAULT 'NaN'; DELETE FROM t WHERE id = 1")
    text = once(shop, code=3)
    assert "public.t is held" in text and "('NaN') of column odd does not fit DECIMAL(20,6)" in text, text
    assert there(shop, "SELECT count(*)::VARCHAR FROM public.t") == [("4",)], "as it was"


def test_a_column_of_another_precision(shop):
    """What the file holds is not turned into a double, which would round some of it."""
    shop.mirror.configure(types=[{"type": "numeric", "as": "DOUBLE"}])
    shop.execute("CREATE TABLE t (id int PRIMARY KEY, n numeric(30,2));"
                 "INSERT INTO t VALUES (1, 1234567890123456789.25), (2, 2.50)")
    once(shop)
    assert column_types(shop)["n"] == "DECIMAL(30,2)"
    shop.execute("ALTER TABLE t ALTER n TYPE numeric; INSERT INTO t VALUES (3, 3)")
    once(shop)
    assert column_types(shop)["n"] == "VARCHAR"
    same_text(shop, "t", "id", "n")
    verifies(shop)


MOODS = ["sad", "it''s ok", 'say "hi"', "a,b", "", "é", "Sad"]
ENUM_START = (f"CREATE TYPE mood AS ENUM ({', '.join(f'{chr(39)}{mood}{chr(39)}' for mood in MOODS)});"
              "CREATE TYPE nothing AS ENUM (); CREATE DOMAIN feeling AS mood;"
              "CREATE SCHEMA o; CREATE TYPE o.mood AS ENUM ('x');"
              "CREATE TABLE t (id int PRIMARY KEY, m mood, f feeling, l mood[], n nothing, o o.mood, w text);"
              "INSERT INTO t (id, m, f, l, o) SELECT i, e, e, ARRAY[e, NULL], 'x'"
              " FROM unnest(enum_range(NULL::mood)) WITH ORDINALITY u(e, i);"
              "INSERT INTO t VALUES (100)")
MOOD_TYPE = "ENUM(" + ", ".join(f"'{mood}'" for mood in MOODS) + ")"


@pytest.mark.parametrize("binary", ["on", "off"])
def test_enums(shop, binary):
    shop.execute(ENUM_START)
    shop.mirror.configure(types=ENUMS, binary=binary)
    once(shop)
    assert column_types(shop) == {"id": "INTEGER", "m": MOOD_TYPE, "f": MOOD_TYPE, "l": "VARCHAR[]", "n": "VARCHAR",
                                  "o": "ENUM('x')", "w": "VARCHAR"}
    shop.execute("INSERT INTO t VALUES (101, 'Sad', '', '{sad}', NULL, 'x');"
                 "UPDATE t SET m = 'é', f = NULL WHERE id = 1; DELETE FROM t WHERE id = 3")
    once(shop)
    same_text(shop, "t", "id", "m", "f", "o")
    in_order = "SELECT t.id::{} FROM public.t WHERE m IS NOT NULL ORDER BY m, t.id"
    with shop.connect() as connection:
        assert connection.execute(in_order.format("text")).fetchall() == there(shop, in_order.format("VARCHAR"))
    verifies(shop)
    with shop.mirror.opened(writable=True) as file:
        file.query("UPDATE public.t SET m = 'sad' WHERE id = 101")
    assert run("verify", "-c", shop.mirror.config, "--repair").returncode == 0
    same_text(shop, "t", "id", "m")


def test_types_by_name(shop):
    shop.execute(ENUM_START + ";CREATE DOMAIN cents AS numeric; CREATE DOMAIN o.cents AS numeric;"
                 "ALTER TABLE t ADD c cents, ADD oc o.cents, ADD num numeric; UPDATE t SET c = 1.5, oc = 2.25")
    shop.mirror.configure(types=[{"type": "o.mood", "as": "ENUM"}, {"column": "public.t.f", "as": "ENUM"},
                                 {"column": "public.t.w", "as": "ENUM"}, {"type": "pg_catalog.numeric", "as": "DOUBLE"},
                                 {"type": "cents", "as": "DECIMAL(9,2)"}, {"type": "o.cents", "as": "DECIMAL(10,2)"}])
    once(shop)
    assert column_types(shop)["c"] == "DECIMAL(9,2)" and column_types(shop)["oc"] == "DECIMAL(10,2)"
    assert column_types(shop)["num"] == "DOUBLE"
    assert column_types(shop)["m"] == column_types(shop)["w"] == "VARCHAR"
    assert column_types(shop)["f"] == MOOD_TYPE and column_types(shop)["o"] == "ENUM('x')"
    shop.mirror.configure(types=[{"type": "mood", "as": "ENUM"}, {"column": "public.t.o", "as": "VARCHAR"}])
    once(shop, "--recopy", "public.t")
    assert column_types(shop)["m"] == MOOD_TYPE and column_types(shop)["o"] == "VARCHAR"


def test_a_label_that_comes_later_is_text(shop):
    """In place; a copy takes the list as it is then."""
    shop.execute(ENUM_START)
    shop.mirror.configure(types=ENUMS)
    once(shop)
    shop.execute("ALTER TYPE mood ADD VALUE 'new' BEFORE 'sad'")
    shop.execute("INSERT INTO t VALUES (102, 'new', 'sad')")
    text = once(shop)
    assert "'new') does not fit ENUM" in text and "copied anew" not in text, text
    assert column_types(shop)["m"] == "VARCHAR" and column_types(shop)["f"] == MOOD_TYPE
    same_text(shop, "t", "id", "m", "f")
    once(shop, "--recopy", "public.t")
    assert column_types(shop)["m"] == column_types(shop)["f"] == MOOD_TYPE.replace("('sad'", "('new', 'sad'")
    shop.execute("ALTER TYPE mood RENAME VALUE 'new' TO 'newer'; UPDATE t SET f = 'newer' WHERE id = 1")
    once(shop)
    assert column_types(shop)["f"] == "VARCHAR"
    text = once(shop, "--repair", command="verify", code=3)
    assert "a column was widened. Try again" in text, text
    once(shop, "--repair", command="verify")
    same_text(shop, "t", "id", "m", "f")
    once(shop, "--recopy", "public.t")
    assert column_types(shop)["m"] == MOOD_TYPE.replace("('sad'", "('newer', 'sad'")
    same_text(shop, "t", "id", "m", "f")


def test_a_label_that_comes_later_is_an_error(shop):
    shop.execute(ENUM_START)
    shop.mirror.configure(types=as_errors(ENUMS))
    once(shop)
    shop.execute("ALTER TYPE mood ADD VALUE 'new'")
    shop.execute("UPDATE t SET m = 'new' WHERE id = 1")
    text = once(shop, code=3)
    assert "public.t is held" in text and "('new') of column m does not fit ENUM" in text, text
    once(shop, "--recopy", "public.t")
    assert column_types(shop)["m"] == MOOD_TYPE.replace(")", ", 'new')")
    same_text(shop, "t", "id", "m")


def test_an_enum_of_a_column_that_comes_later(shop):
    """With the labels of then, though the type was known before."""
    shop.execute(ENUM_START)
    shop.mirror.configure(types=ENUMS)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("ALTER TABLE t ADD early mood; INSERT INTO t VALUES (102, 'sad')")
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("ALTER TYPE mood ADD VALUE 'new'")
    shop.execute("ALTER TABLE t ADD late mood DEFAULT 'new'; INSERT INTO t VALUES (103, 'sad')")
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.kill()
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.mirror.stop()
    assert column_types(shop)["early"] == MOOD_TYPE
    assert column_types(shop)["late"] == MOOD_TYPE.replace(")", ", 'new')")
    same_text(shop, "t", "id", "early", "late", "m")


@pytest.mark.parametrize("point", ["duckdb.widen.before", "duckdb.widen.committed"])
def test_a_kill_while_an_enum_becomes_text(shop, point):
    shop.execute(ENUM_START)
    shop.mirror.configure(types=ENUMS)
    once(shop)
    shop.execute("ALTER TYPE mood ADD VALUE 'new'")
    shop.execute("DELETE FROM t WHERE id = 2; UPDATE t SET m = 'new', f = 'new' WHERE id = 1")
    outcome = run("run", "-c", shop.mirror.config, "--once", env=killed_at(point))
    assert outcome.returncode == -signal.SIGKILL, outcome.stderr
    assert column_types(shop)["m"] == ("VARCHAR" if point.endswith("committed") else MOOD_TYPE)
    once(shop)
    assert column_types(shop)["m"] == column_types(shop)["f"] == "VARCHAR"
    same_text(shop, "t", "id", "m", "f")
    verifies(shop)


@pytest.mark.parametrize("count", [255, 256, 300])
def test_an_enum_of_many_labels(shop, count):
    labels = ", ".join(f"'label {i}'" for i in range(count))
    shop.execute(f"CREATE TYPE many AS ENUM ({labels}); CREATE TABLE t (id int PRIMARY KEY, m many);"
                 "INSERT INTO t SELECT i, e FROM unnest(enum_range(NULL::many)) WITH ORDINALITY u(e, i)")
    shop.mirror.configure(types=ENUMS)
    once(shop)
    shop.execute("UPDATE t SET id = id + 1000")
    once(shop)
    assert column_types(shop)["m"].startswith("ENUM(")
    same_text(shop, "t", "id", "m")


def test_an_enum_in_a_key(shop):
    shop.execute("CREATE TYPE e AS ENUM ('a', 'b', 'c'); CREATE TABLE t (id e PRIMARY KEY, v int); INSERT INTO t VALUES"
                 " ('a', 1), ('b', 2), ('c', 3); CREATE TABLE w (id e, v int); ALTER TABLE w REPLICA IDENTITY FULL;"
                 "INSERT INTO w VALUES ('a', 1), ('a', 1), (NULL, 2)")
    shop.mirror.configure(types=ENUMS)
    once(shop)
    shop.execute("UPDATE t SET v = 4 WHERE id = 'b'; DELETE FROM t WHERE id = 'a'; DELETE FROM w WHERE ctid = '(0,1)';"
                 "DELETE FROM w WHERE id IS NULL")
    once(shop)
    same_text(shop, "t", "id", "v")
    same_text(shop, "w", "id", "v")
    verifies(shop)


WRONG = [([{"type": "numeric", "as": "DECIMAL(39,1)"}], "at most 38 digits"), ([{"as": "DOUBLE"}], "needs 'as'"),
         ([{"type": "numeric", "as": "FLOAT"}], "must be DECIMAL(p,s)"),
         ([{"column": "t.price", "as": "DOUBLE"}], "SCHEMA.TABLE.COLUMN"),
         ([{"type": "numeric", "as": "DOUBLE", "misfit": "round"}], "must be one of: text, error"),
         ({"type": "numeric"}, "must be a list")]


def test_wrong_settings(shop):
    for types, words in WRONG:
        shop.mirror.configure(types=types)
        outcome = run("config", "check", "-c", shop.mirror.config)
        assert outcome.returncode == 2 and words in outcome.stderr + outcome.stdout, outcome.stderr
