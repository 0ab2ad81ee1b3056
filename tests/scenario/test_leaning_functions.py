"""`schema: copy` of what calls functions that name things without a schema, as applications do everywhere. At the
source they lean on the user's search_path, and at the target it is empty. Invariant: the copy goes on, the rows arrive
and follow, what is made computes what it computes at the source, and what is left out is told."""
import pytest

from hostile import HostileDatabase

pytestmark = pytest.mark.postgres

# Each of these would end the copy, or the first change, if it were made as it is.
LEANING = """
CREATE SCHEMA "Odd one"; CREATE TABLE "Odd one".t (id int PRIMARY KEY);
CREATE TYPE "Odd one".mood AS ENUM ('glad', 'sad');
CREATE FUNCTION clean(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(t)';
CREATE FUNCTION "Odd one".mood_of(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
  $$BEGIN RETURN (CASE WHEN t > 'm' THEN 'sad' ELSE 'glad' END)::mood; END$$;
CREATE FUNCTION clean2(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN clean(t); END';
CREATE FUNCTION clean3(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT clean2(t)';
CREATE FUNCTION known(t text) RETURNS boolean LANGUAGE plpgsql STABLE AS
  'BEGIN RETURN EXISTS (SELECT FROM words WHERE word = t); END';
CREATE FUNCTION word_no() RETURNS bigint LANGUAGE plpgsql AS $$BEGIN RETURN nextval('numbers'); END$$;
CREATE TABLE words (word text PRIMARY KEY); INSERT INTO words VALUES ('l1'), ('l2'), ('new');
CREATE SEQUENCE numbers;
CREATE DOMAIN short AS text CHECK (clean2(VALUE) <> 'long');
CREATE TABLE people (id int PRIMARY KEY, last text CHECK (clean2(last) = lower(last)), s short DEFAULT clean3('S'),
  cleaned text GENERATED ALWAYS AS (clean3(last)) STORED, n bigint DEFAULT word_no(),
  mood text GENERATED ALWAYS AS ("Odd one".mood_of(last)) STORED);
CREATE INDEX people_clean ON people (clean2(last)) WHERE clean3(last) <> 'x';
CREATE TABLE empty (id int PRIMARY KEY, last text); CREATE INDEX empty_clean ON empty (clean2(last));
CREATE TABLE parts (k text) PARTITION BY RANGE (clean2(k));
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
CREATE TABLE later (id int PRIMARY KEY, t text);
ALTER TABLE later ADD CONSTRAINT is_known CHECK (known(clean(t))) NOT VALID;
CREATE MATERIALIZED VIEW cleaned AS SELECT clean2(last) FROM people;
INSERT INTO people (id, last) SELECT i, 'L' || i FROM generate_series(1, 20) i; INSERT INTO parts VALUES ('A'), ('b');
INSERT INTO later VALUES (1, 'L1');
"""
CHANGES = """
INSERT INTO people (id, last) VALUES (21, 'New'); UPDATE people SET last = 'Other' WHERE id = 2;
INSERT INTO empty VALUES (1, 'E'); INSERT INTO parts VALUES ('C'); INSERT INTO later VALUES (2, 'NEW');
"""
TABLES = ("words", "people", "empty", "parts", "later")


def leaning_schema(pair):
    """With the path that it leans on."""
    pair.execute('SET search_path = public, "Odd one";' + LEANING)
    pair.execute(f'ALTER DATABASE {pair.name} SET search_path = public, "Odd one"')


def followed(pair, change=CHANGES, tables=TABLES):
    """Copies, follows the changes, and compares whole rows, generated columns too."""
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster, timeout=120)
    pair.execute(change)
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.stop()
    for table in tables:
        same(pair, f"(SELECT string_agg(t::text, ' ' ORDER BY t::text) FROM public.{table} t)")


def same(pair, expression):
    assert pair.mirror.into.value(expression) == pair.value(f"SELECT CAST({expression} AS text)"), expression


@pytest.mark.parametrize("source, target", [(13, 15), (15, 18)], ids=lambda version: f"pg{version}")
def test_it_is_made_with_the_path_that_it_needs(pair_on, source, target):
    """Of every kind; the functions that do not lean, and those with a path of their own, stay as they are. (From 17 on
    the source itself makes no index that leans.)"""
    pair = pair_on(source, target)
    for side in (pair, pair.mirror.into):
        side.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    leaning_schema(pair)
    pair.execute("CREATE FUNCTION plain(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS"
                 " 'BEGIN RETURN lower(t); END';"
                 "CREATE FUNCTION told(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE SET search_path = public AS"
                 " 'BEGIN RETURN clean(t); END'; CREATE FUNCTION unused(t text) RETURNS text LANGUAGE plpgsql AS"
                 " 'BEGIN RETURN clean(t); END'; CREATE INDEX told ON people (told(last), plain(last))")
    followed(pair)
    into = pair.mirror.into
    for index in ("people_clean", "empty_clean", "told"):
        assert into.value(f"to_regclass('public.{index}')") == index, index
    same(pair, "(SELECT string_agg(conname, ' ' ORDER BY conname) FROM pg_constraint WHERE contype = 'c')")
    generated = "(SELECT count(*) FROM pg_attribute WHERE attgenerated <> '' AND attrelid = 'public.people'::regclass)"
    assert into.value(generated) == "2"
    paths = dict(into.query("SELECT proname, proconfig::text FROM pg_proc WHERE pronamespace <> 11"))
    assert paths["plain"] is None and paths["unused"] is None and paths["clean"] is None, paths
    assert paths["told"] == '{search_path=public}' and "pg_temp" in paths["clean2"], paths
    for word in ("clean2(text)", "mood_of", "SET search_path"):
        assert word in pair.mirror.log_text(), word


def test_what_leans_on_something_that_is_not_copied(pair):
    """The rows come, without the column that nothing can compute."""
    pair.execute("CREATE SCHEMA other; CREATE FUNCTION other.double(int) RETURNS int LANGUAGE sql IMMUTABLE AS"
                 " 'SELECT $1 * 2'; CREATE FUNCTION twice(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS"
                 " 'BEGIN RETURN double($1); END'; SET search_path = public, other;"
                 "CREATE TABLE t (id int PRIMARY KEY, d int GENERATED ALWAYS AS (twice(id)) STORED);"
                 "INSERT INTO t VALUES (1)")
    followed(pair, "SET search_path = public, other; INSERT INTO t VALUES (2)", [])
    assert pair.mirror.into.query("SELECT id, d FROM t ORDER BY id") == [("1", None), ("2", None)]
    assert "double is not copied" in pair.mirror.log_text()


def test_what_is_in_two_schemas_is_left_out(pair):
    """Which one is meant depends on the path, so that a guess might compute other values."""
    leaning_schema(pair)
    pair.execute("DROP TABLE parts; CREATE FUNCTION \"Odd one\".clean(t text) RETURNS text LANGUAGE sql IMMUTABLE AS"
                 " 'SELECT upper(t)'")
    followed(pair, CHANGES.replace("INSERT INTO parts VALUES ('C');", ""), ("words", "empty", "later"))
    left_out_and_told(pair, "clean is in more than one schema")


def left_out_and_told(pair, why):
    into = pair.mirror.into
    same(pair, "(SELECT string_agg(t::text, ' ' ORDER BY id) FROM (SELECT id, last, s, n, mood FROM public.people) t)")
    assert into.value("(SELECT count(cleaned) FROM public.people)") == "0"
    for index in ("people_clean", "empty_clean"):
        assert into.value(f"to_regclass('public.{index}')") is None, index
        assert f"index public.{index}" in pair.mirror.log_text()
    for word in (why, "short_check", "people_last_check", "column cleaned", "plain", "SET search_path"):
        assert word in pair.mirror.log_text(), word


def test_a_partition_key_that_cannot_be_told_is_refused(pair):
    """The rows would have nowhere to go. Nothing is made."""
    leaning_schema(pair)
    pair.execute("CREATE FUNCTION \"Odd one\".clean(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper(t)'")
    pair.mirror.start()
    assert pair.mirror.wait_ended() == 3
    for word in ("partition key of table public.parts", "ALTER FUNCTION", "clean2(text)"):
        assert word in pair.mirror.log_text(), pair.mirror.log_text()
    assert pair.mirror.into.tables() == set()


@pytest.mark.parametrize("where", ["source", "target"])
def test_a_schema_in_which_others_make_things(pair, where):
    """A function that a superuser's tailrace calls must not find what they put there: left out, as it was before."""
    leaning_schema(pair)
    pair.execute("DROP TABLE parts")
    open_schema = "GRANT CREATE ON SCHEMA public TO PUBLIC"
    (pair if where == "source" else pair.mirror.into).execute(open_schema)
    followed(pair, CHANGES.replace("INSERT INTO parts VALUES ('C');", ""), ("words", "empty", "later"))
    left_out_and_told(pair, "others may make things in the schema public")


# What somebody with fewer rights has, in a schema where only a superuser may make things: each would take the place of
# what the function means, or is what it means.
THEIRS = {
    "nothing": ("SELECT", ""),
    "the schema": ("ALTER SCHEMA other OWNER TO {role}", "others may make things in the schema other"),
    "a function": ("CREATE FUNCTION other.noise() RETURNS int LANGUAGE sql AS 'SELECT 1';"
                   "ALTER FUNCTION other.noise() OWNER TO {role}", "others may make things in the schema other"),
    "an operator": ("CREATE OPERATOR other.### (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl);"
                    "ALTER OPERATOR other.### (int, int) OWNER TO {role}",
                    "others may make things in the schema other"),
    "the type": ("ALTER TYPE other.mood OWNER TO {role}", "mood belongs to somebody with fewer rights"),
}


@pytest.mark.parametrize("what", THEIRS)
def test_what_is_of_somebody_with_fewer_rights(pair, what):
    theirs, why = THEIRS[what]
    role = f"few_rights_in_{pair.name}"
    pair.execute(f"CREATE ROLE {role}; CREATE SCHEMA other; CREATE TYPE other.mood AS ENUM ('glad');"
                 "CREATE FUNCTION other.clean(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(t)';"
                 "CREATE FUNCTION other.clean2(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS"
                 " $$BEGIN RETURN clean(t) || 'glad'::mood; END$$; SET search_path = other;"
                 "CREATE TABLE other.people (id int PRIMARY KEY, last text,"
                 " cleaned text GENERATED ALWAYS AS (other.clean2(last)) STORED);"
                 "INSERT INTO other.people VALUES (1, 'One');" + theirs.format(role=role))
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.stop()
    made = not why
    into = pair.mirror.into
    assert into.query("SELECT last, cleaned FROM other.people") == [("One", "oneglad" if made else None)]
    assert into.value("(SELECT proconfig IS NOT NULL FROM pg_proc WHERE proname = 'clean2')") == str(made).lower()
    assert why in pair.mirror.log_text(), pair.mirror.tail()
    pair.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def test_trusted_source(pair):
    """`trust_source: on`: whoever may make things at the source is trusted with it."""
    leaning_schema(pair)
    pair.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    pair.mirror.configure(schema={"mode": "copy", "trust_source": True})
    followed(pair)


@pytest.mark.parametrize("trusted", [False, True], ids=["", "trusted"])
def test_functions_of_an_ordinary_owner(pair, trusted):
    """What must not run with the target's rights gets no path either; with trust_source it gets one, and runs."""
    source = HostileDatabase(pair.cluster, pair.name, traps=False)
    pair.execute(f"GRANT CREATE, USAGE ON SCHEMA public TO {source.owner}")
    pair.execute(f"SET ROLE {source.owner}; SET search_path = public;"
                 "CREATE FUNCTION clean(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(t)';"
                 "CREATE FUNCTION clean2(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS"
                 " 'BEGIN RETURN clean(t); END'; CREATE TABLE people ("
                 "id int PRIMARY KEY, last text CHECK (clean2(last) <> ''),"
                 " cleaned text GENERATED ALWAYS AS (clean2(last)) STORED);"
                 "INSERT INTO people SELECT i, 'L' || i FROM generate_series(1, 5) i")
    pair.mirror.configure(schema={"mode": "copy", "trust_source": trusted})
    followed(pair, "INSERT INTO public.people VALUES (6, 'New')", ["people"] if trusted else [])
    into = pair.mirror.into
    assert into.value("(SELECT count(last) FROM public.people)") == "6"
    assert into.value("(SELECT count(cleaned) FROM public.people)") == ("6" if trusted else "0")
    assert into.value("(SELECT proconfig IS NOT NULL FROM pg_proc WHERE proname = 'clean2')") == str(trusted).lower()
    # What must not run at all is told so, and not that a path would help.
    assert ("SET search_path" in pair.mirror.log_text()) == trusted, pair.mirror.tail()
