"""Sequences of a PostgreSQL target. Invariant: whoever writes there one day gets no number that the source gave away;
and, when asked, exactly the number that the source would have given next."""
import pytest

from tailrace import run
from waiting import wait_until

pytestmark = pytest.mark.postgres

SETUP = """
CREATE TABLE t (id serial PRIMARY KEY, v text); INSERT INTO t (v) SELECT 'v' FROM generate_series(1, 10);
CREATE TABLE "I" (id bigint GENERATED ALWAYS AS IDENTITY (START WITH 100 INCREMENT BY 10) PRIMARY KEY, v text);
INSERT INTO "I" (v) SELECT 'v' FROM generate_series(1, 5);
CREATE SEQUENCE "Down" INCREMENT BY -5 MINVALUE -100000 MAXVALUE -1 START -1;
SELECT nextval('"Down"'), nextval('"Down"'), nextval('"Down"');
CREATE SEQUENCE small AS smallint; SELECT setval('small', 32700);
CREATE SEQUENCE untouched START 42;
CREATE SEQUENCE around MAXVALUE 3000 CYCLE; SELECT setval('around', 2950);
CREATE SCHEMA other; CREATE SEQUENCE other.used; SELECT setval('other.used', 7);
CREATE TABLE u (id int DEFAULT nextval('other.used') PRIMARY KEY)"""
NAMES = ("public.t_id_seq", 'public."I_id_seq"', 'public."Down"', "public.small", "public.untouched", "public.around",
         "other.used")
AHEAD = ["110", "1140", "-511", "32767", "142", "3000", "107"]


def states(execute):
    """{name: (last_value, is_called)}"""
    return {name: execute(f"SELECT last_value::text, is_called FROM {name}")[0] for name in NAMES}


def last_values(execute):
    return [value for value, _ in states(execute).values()]


@pytest.mark.parametrize("source, target", [(13, 18), (15, 15)], ids=lambda version: f"pg{version}")
def test_kept_ahead_and_set_exactly(pair_on, source, target):
    """Up, down, small, never used, going round; a target that is further on is left alone."""
    pair = pair_on(source, target)
    pair.execute(SETUP)
    there = pair.mirror.into.execute
    pair.mirror.configure(sequences={"margin": 100, "interval": "100ms"})
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    wait_until(lambda: last_values(there) == AHEAD, what=lambda: f"{AHEAD}, not {last_values(there)}")
    assert pair.mirror.status()["sequences"] == len(NAMES)

    there("SELECT setval('public.\"I_id_seq\"', 9999)")
    pair.execute("INSERT INTO t (v) SELECT 'w' FROM generate_series(1, 50); INSERT INTO \"I\" (v) VALUES ('w');"
                 "SELECT setval('around', 3000), nextval('around')")
    after = ["160", "9999", "-511", "32767", "142", "101", "107"]
    wait_until(lambda: last_values(there) == after, what=lambda: f"{after}, not {last_values(there)}")

    outcome = run("sync-sequences", "-c", pair.mirror.config)
    assert outcome.returncode == 0, outcome.stderr
    assert f"{len(NAMES)} sequences" in outcome.stdout
    assert states(there) == states(pair.execute)
    # It stays so until a sequence moves at the source again, and then only that one is moved.
    pair.execute("INSERT INTO t (v) VALUES ('x')")
    wait_until(lambda: there("SELECT last_value FROM t_id_seq")[0][0] == 161, what="one sequence to be ahead again")
    assert [name for name, state in states(there).items() if state != states(pair.execute)[name]] == [NAMES[0]]
    assert pair.settle() == 67
    # The very next number is the source's: what a switchover needs.
    assert run("sync-sequences", "-c", pair.mirror.config).returncode == 0
    assert there("SELECT nextval('t_id_seq')") == pair.execute("SELECT nextval('t_id_seq')")


def test_what_is_missing_is_said_once(pair):
    pair.execute(SETUP)
    pair.mirror.configure(sequences={"margin": 100, "interval": "100ms"})
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.mirror.into.execute("DROP SEQUENCE small")
    for number in (1, 2, 3):
        pair.execute("SELECT nextval('small'); INSERT INTO t (v) VALUES ('w')")
        wait_until(lambda: pair.mirror.into.execute("SELECT last_value FROM t_id_seq")[0][0] == 110 + number,
                   what="the others to go on")
    assert pair.mirror.log_text().count("no sequence public.small") == 1, pair.mirror.tail()
    outcome = run("sync-sequences", pair.url, pair.mirror.target, "--name", pair.name)
    assert outcome.returncode == 1
    assert "no sequence public.small" in outcome.stderr
    assert f"{len(NAMES) - 1} sequences" in outcome.stdout


STRANGERS = """
CREATE SEQUENCE small START 5; CREATE TABLE mine (id int); CREATE SEQUENCE "Down" INCREMENT BY -5 OWNED BY mine.id;
CREATE TABLE numbered (id int DEFAULT nextval('"Down"'))"""


def kept(pair, **settings):
    """Runs until the sequences were looked at; what those of the strangers are then."""
    pair.mirror.configure(sequences={"margin": 100, "interval": "100ms"}, **settings)
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    wait_until(lambda: pair.mirror.into.value("(SELECT last_value FROM t_id_seq)") == "110", what="the sequences")
    pair.execute("SELECT nextval('small'), nextval('\"Down\"'), nextval('other.used'), nextval('untouched'),"
                 " nextval('around'); INSERT INTO t (v) VALUES ('w')")
    wait_until(lambda: pair.mirror.into.value("(SELECT last_value FROM t_id_seq)") == "111", what="the sequences")


def test_a_strangers_sequence_is_not_set(pair):
    """Whose a sequence is, the books say, and the tables that use it; the name of one of the source's says nothing."""
    pair.execute(SETUP)
    there = pair.mirror.into
    there.execute(STRANGERS + "; CREATE SCHEMA other; CREATE SEQUENCE other.used")
    kept(pair)
    # Those that tailrace made are its own, and so is what its table takes numbers from.
    assert states(there.execute) | {"public.small": 0, 'public."Down"': 0} == {
        "public.t_id_seq": ("111", True), 'public."I_id_seq"': ("1140", True), 'public."Down"': 0, "public.small": 0,
        "public.untouched": ("142", True), "public.around": ("3000", True), "other.used": ("108", True)}
    assert there.value("(SELECT (last_value, is_called) FROM small)") == "(5,f)"
    assert there.value('(SELECT (last_value, is_called) FROM "Down")') == "(-1,f)"
    # One that takes the name of ours later is a stranger's too.
    there.execute("DROP SEQUENCE untouched; CREATE SEQUENCE untouched START 7")
    pair.execute("SELECT nextval('untouched'), nextval('other.used')")
    wait_until(lambda: there.value("(SELECT last_value FROM other.used)") == "109", what="the sequences")
    outcome = run("sync-sequences", "-c", pair.mirror.config)
    assert outcome.returncode == 1 and "4 sequences" in outcome.stdout, outcome.stdout
    for name in ("public.small", "public.Down", "public.untouched"):
        assert f"the target's sequence {name} is not of tailrace's making" in outcome.stderr, outcome.stderr
        assert pair.mirror.log_text().count(f"sequence {name} is not of tailrace's making") == 1
    assert [there.value(f"(SELECT last_value FROM {name})") for name in ("small", '"Down"', "untouched")] == [
        "5", "-1", "7"]
    # The way to say that it is the mirror's. A running one would set it ahead again at once.
    pair.mirror.stop()
    there.execute("ALTER SEQUENCE small OWNED BY t.id")
    outcome = run("sync-sequences", "-c", pair.mirror.config)
    assert "public.small" not in outcome.stderr and there.value("(SELECT last_value FROM small)") == "32701"


def test_a_target_made_by_hand_is_set_by_name(pair):
    """`schema: expect`: also what no table uses, for its user made it to be set; never what another table owns."""
    pair.execute(SETUP)
    there = pair.mirror.into
    there.execute(SETUP + '; TRUNCATE t, "I"; DROP SEQUENCE "Down", small;' + STRANGERS)
    kept(pair, schema="expect")
    assert there.value("(SELECT last_value FROM small)") == "32801"
    assert there.value('(SELECT (last_value, is_called) FROM "Down")') == "(-1,f)"
    outcome = run("sync-sequences", "-c", pair.mirror.config)
    assert outcome.returncode == 1 and "6 sequences" in outcome.stdout and "public.Down" in outcome.stderr
    assert there.value("(SELECT last_value FROM small)") == "32701"


def test_a_held_sequence_holds_nothing_up(pair):
    """Somebody's lock on a sequence is waited for by nobody: rows flow, and the value comes later."""
    pair.execute(SETUP)
    pair.mirror.configure(sequences={"margin": 100, "interval": "100ms"})
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    with pair.connect(autocommit=False) as holder:
        holder.execute("DROP SEQUENCE small")
        pair.execute("INSERT INTO t (v) VALUES ('flows')")
        wait_until(lambda: pair.mirror.into.value("(SELECT count(*) FROM t)") == "11", what="the row")
        # However often it is stopped while it waits for that lock, it leaves in good order.
        for _ in range(3):
            pair.mirror.stop()
            pair.mirror.start()
            pair.mirror.wait_streaming()
        holder.rollback()
    wait_until(lambda: pair.mirror.into.value("(SELECT last_value FROM t_id_seq)") == "111", what="the sequence")
    assert pair.mirror.status()["reconnects"] == 0
    pair.settle()
    assert "terminate called" not in pair.mirror.log_text()


def test_a_restart_is_not_for_good(pair):
    """TRUNCATE ... RESTART IDENTITY sets the target's sequence back after the source's newer value was seen: it comes
    late, or by a replay."""
    pair.execute(SETUP)
    pair.mirror.configure(sequences={"margin": 100, "interval": "100ms"}, on_error="quarantine")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    there = pair.mirror.into.execute
    wait_until(lambda: last_values(there) == AHEAD, what=lambda: f"{AHEAD}, not {last_values(there)}")
    again = "TRUNCATE t RESTART IDENTITY; INSERT INTO t (v) SELECT 'w' FROM generate_series(1, 5)"
    after = ["105", *AHEAD[1:]]
    there("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
          " $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$;"
          "CREATE TRIGGER slow AFTER INSERT ON t FOR EACH ROW WHEN (NEW.v = 'slow') EXECUTE FUNCTION slow();"
          "ALTER TABLE t ENABLE ALWAYS TRIGGER slow; ALTER TABLE t ADD CONSTRAINT good CHECK (v <> 'bad')")
    pair.execute("INSERT INTO t (v) VALUES ('slow')")
    sleeping = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    wait_until(lambda: there(sleeping), what="an apply that is under way")
    pair.execute(again)
    pair.mirror.wait_caught_up(pair.cluster)
    wait_until(lambda: last_values(there) == after, timeout=10, what=lambda: f"{after}, not {last_values(there)}")

    pair.execute("INSERT INTO t (v) VALUES ('bad')")
    pair.mirror.wait_caught_up(pair.cluster)
    pair.execute(again)
    pair.mirror.wait_caught_up(pair.cluster)
    there("ALTER TABLE t DROP CONSTRAINT good")
    assert run("replay", "-c", pair.mirror.config).returncode == 0
    wait_until(lambda: last_values(there) == after, timeout=10, what=lambda: f"{after}, not {last_values(there)}")
    assert pair.settle() == 10


def test_a_snapshot_sets_them(pair):
    pair.execute(SETUP)
    outcome = run("snapshot", "-c", pair.mirror.config)
    assert outcome.returncode == 0, outcome.stderr
    assert pair.compared() == 15
    assert states(pair.mirror.into.execute) == states(pair.execute)


def test_a_file_has_none(tmp_path):
    outcome = run("sync-sequences", "postgres://nobody@nowhere/x", f"duckdb:{tmp_path}/x.duckdb")
    assert outcome.returncode == 2
    assert "PostgreSQL" in outcome.stderr
