"""What `schema: copy` makes at a PostgreSQL target. Invariant: the catalogs of both sides say the same, between servers
of any two versions."""
import subprocess

import pytest

from structure import compare_structure, rich_schema
from tailrace import BINARY
from waiting import wait_until

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("source, target", [(13, 18), (15, 15), (15, 18), (18, 15)],
                         ids=lambda version: f"pg{version}")
def test_everything_is_made_like_the_source(pair_on, source, target):
    """Partitions, inheritance, every kind of constraint and index, functions, triggers, views, policies, comments."""
    pair = pair_on(source, target)
    pair.execute(rich_schema(min(source, target)))
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster, timeout=120)
    pair.mirror.stop()
    into = pair.mirror.into
    compare_structure(pair.cluster, pair.name, into.cluster, into.database)


def test_what_an_older_server_does_not_know_is_refused(pair_on):
    """By name, and nothing of it is left at the target."""
    pair = pair_on(15, 13)
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v int); CREATE UNIQUE INDEX odd ON t (v) NULLS NOT DISTINCT")
    pair.mirror.start()
    assert pair.mirror.wait_ended() > 0
    for word in ("odd", "NULLS NOT DISTINCT", "13"):
        assert word in pair.mirror.log_text(), pair.mirror.log_text()
    assert pair.mirror.into.tables() == set()


def test_killed_while_the_structure_is_made(pair):
    """What was noted to be made after the data is made by whoever comes next."""
    pair.execute("".join(f"CREATE TABLE t{i} (id int PRIMARY KEY, v int, w text); CREATE INDEX ON t{i} (v);"
                         f"CREATE INDEX ON t{i} (w, v);"
                         f"INSERT INTO t{i} SELECT g, g % 7, md5(g::text) FROM generate_series(1, 20000) g;"
                         for i in range(12)) + "ALTER TABLE t1 ADD FOREIGN KEY (id) REFERENCES t2")
    for _ in range(6):
        pair.mirror.start()
        pair.mirror.wait_status(lambda status: any(table["state"] == "copied" for table in status["tables"])
                                or status["state"] == "streaming", what="some progress")
        pair.mirror.kill()
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster, timeout=120)
    into = pair.mirror.into
    assert pair.settle() == 240000
    compare_structure(pair.cluster, pair.name, into.cluster, into.database)


OWNED = """
CREATE SCHEMA s; CREATE TABLE s.t (id serial PRIMARY KEY, v text); CREATE VIEW s.v AS SELECT id FROM s.t;
ALTER SCHEMA s OWNER TO {owner}; ALTER TABLE s.t OWNER TO {owner};
GRANT SELECT, UPDATE (v) ON s.t TO {reader} WITH GRANT OPTION; GRANT USAGE ON SCHEMA s TO {reader};
GRANT SELECT ON s.v TO PUBLIC; INSERT INTO s.t (v) VALUES ('a')"""
OWNERS = """
SELECT n.nspname, c.relname, pg_get_userbyid(c.relowner), c.relacl::text,
  (SELECT string_agg(attacl::text, ' ') FROM pg_attribute WHERE attrelid = c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 's' AND c.relkind IN ('r', 'S', 'v')
UNION ALL SELECT nspname, '', pg_get_userbyid(nspowner), nspacl::text, NULL FROM pg_namespace WHERE nspname = 's'
ORDER BY 1, 2"""


def test_owners_and_privileges(pair):
    """Only when asked for; a role that the target lacks is named before anything is made."""
    servers = (pair.cluster, pair.mirror.into.cluster)
    roles = {"owner": f"owner_{pair.name}", "reader": f"reader_{pair.name}"}
    for server in servers:
        server.execute(f"CREATE ROLE {roles['owner']}; CREATE ROLE {roles['reader']}")
    servers[1].execute(f"ALTER ROLE {roles['reader']} RENAME TO hidden_{pair.name}")
    try:
        pair.execute(OWNED.format(**roles))
        pair.mirror.configure(schema={"mode": "copy", "owners": True, "privileges": True})
        pair.mirror.start()
        assert pair.mirror.wait_ended() == 3
        assert f"the target lacks roles that own what is copied, or have privileges on it: \"{roles['reader']}\"" in \
            pair.mirror.log_text()
        assert pair.mirror.into.tables() == set()
        servers[1].execute(f"ALTER ROLE hidden_{pair.name} RENAME TO {roles['reader']}")
        pair.mirror.start()
        pair.mirror.wait_caught_up(pair.cluster)
        assert pair.settle() == 1
        assert pair.mirror.into.execute(OWNERS) == pair.execute(OWNERS)
        plain = pair.another()
        plain.start()
        plain.wait_streaming()
        plain.stop()
        assert {owner for _, _, owner, *_ in plain.into.execute(OWNERS)} == {"postgres"}
    finally:
        for mirror in pair.mirrors:
            mirror.close()
            mirror.into.execute(f"DROP OWNED BY {roles['owner']}, {roles['reader']} CASCADE")
        pair.execute(f"DROP OWNED BY {roles['owner']}, {roles['reader']} CASCADE")
        for server in servers:
            server.execute(f"DROP ROLE {roles['owner']}, {roles['reader']}")


def test_rows_are_frozen(pair):
    """What one COPY fills needs no vacuum. A table that somebody looks at, or points at, is filled all the same."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 9999);"
                 "CREATE TABLE looked_at (id int PRIMARY KEY); INSERT INTO looked_at SELECT generate_series(1, 9999);"
                 "CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent SELECT generate_series(1, 9999)")
    into = pair.mirror.into
    into.execute("CREATE EXTENSION pg_visibility; CREATE TABLE looked_at (id int PRIMARY KEY);"
                 "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (parent int REFERENCES parent)")
    with into.cluster.connect(into.database) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT FROM looked_at")
        pair.mirror.start()
        pair.mirror.wait_caught_up(pair.cluster)
    frozen = "(SELECT bool_and(all_frozen) FROM pg_visibility_map('{}'))"
    assert [into.value(frozen.format(name)) for name in ("t", "looked_at", "parent")] == ["true", "false", "false"]
    pair.settle()


@pytest.mark.parametrize("command", ["run", "snapshot"])
def test_indexes_are_made_after_the_snapshot(pair, command):
    """It keeps the source from removing dead rows, and an index may take hours."""
    pair.execute("CREATE FUNCTION wait(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS"
                 " 'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN $1; END';"
                 "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 999);"
                 "CREATE INDEX ON t (wait(id))")
    into = pair.mirror.into
    with into.cluster.connect(into.database) as holder, pair.mirror.log.open("w") as log:
        holder.execute("SELECT pg_advisory_lock(42)")
        pair.mirror.process = subprocess.Popen([BINARY, command, "-c", pair.mirror.config], stdout=log, stderr=log)
        wait_until(lambda: into.value("(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42"
                                      " AND NOT granted)") == "1", what=lambda: pair.mirror.tail())
        wait_until(lambda: pair.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                                      " AND backend_xmin IS NOT NULL AND pid <> pg_backend_pid()") == 0)
        holder.execute("SELECT pg_advisory_unlock(42)")
        if command == "run":
            pair.mirror.wait_caught_up(pair.cluster)
            pair.settle()
        else:
            assert pair.mirror.wait_ended() == 0, pair.mirror.tail()
            assert pair.compared() == 999


def test_indexes_are_made_beside_the_last_copies(pair):
    """A reader that has nothing left to copy gives its place to the keys of what is copied."""
    pair.execute("CREATE FUNCTION pass(int) RETURNS boolean LANGUAGE plpgsql AS"
                 " 'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN true; END';"
                 "CREATE TABLE held (id int PRIMARY KEY CHECK (pass(id))); INSERT INTO held VALUES (1), (2);"
                 "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 999)")
    into = pair.mirror.into
    keys = ("(SELECT string_agg(indrelid::regclass::text, ' ') FROM pg_index"
            " WHERE indrelid::regclass::text IN ('t', 'held'))")
    with into.cluster.connect(into.database) as holder:
        holder.execute("SELECT pg_advisory_lock(42)")
        pair.mirror.start()
        wait_until(lambda: into.value(keys) == "t", what=pair.mirror.tail)
        assert into.value("(SELECT count(*) FROM tailrace.tables WHERE copied)") == "1"
        holder.execute("SELECT pg_advisory_unlock(42)")
        pair.mirror.wait_caught_up(pair.cluster)
    assert sorted(into.value(keys).split()) == ["held", "t"]
    pair.settle()


def test_an_index_that_fails_beside_a_copy(pair):
    """It stops the run when all is copied, and the next run makes it without copying again."""
    pair.execute("CREATE FUNCTION strict(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$BEGIN"
                 " IF current_setting('test.fails', true) = 'yes' THEN RAISE 'not here'; END IF; RETURN $1; END$$;"
                 "CREATE FUNCTION pass(int) RETURNS boolean LANGUAGE plpgsql AS"
                 " 'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN true; END';"
                 "CREATE TABLE held (id int PRIMARY KEY CHECK (pass(id))); INSERT INTO held VALUES (1), (2);"
                 "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 999);"
                 "CREATE INDEX strict ON t (strict(id))")
    into = pair.mirror.into
    into.execute(f"ALTER DATABASE {into.database} SET test.fails = 'yes'")
    with into.cluster.connect(into.database) as holder:
        holder.execute("SELECT pg_advisory_lock(42)")
        pair.mirror.start()
        wait_until(lambda: into.value("to_regclass('t_pkey')") is not None, what=pair.mirror.tail)
    assert pair.mirror.wait_ended() != 0
    assert "index strict of public.t: not here" in pair.mirror.tail()
    assert into.value("(SELECT bool_and(copied) FROM tailrace.tables)") == "true"
    files = "(pg_relation_filenode('t'), pg_relation_filenode('held'), pg_relation_filenode('t_pkey'))"
    copied = into.value(files)
    into.execute(f"ALTER DATABASE {into.database} RESET test.fails")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    assert into.value("to_regclass('strict')") is not None and into.value(files) == copied
    pair.settle()


def test_what_the_target_says_of_every_row_is_read(pair):
    """A server that cannot get rid of its notices takes no more rows."""
    pair.execute("CREATE FUNCTION loud(int) RETURNS boolean LANGUAGE plpgsql AS"
                 " $$BEGIN RAISE NOTICE '%', repeat('x', 1000); RETURN true; END$$;"
                 "CREATE TABLE t (id int PRIMARY KEY CHECK (loud(id)), v text)")
    pair.execute("SET client_min_messages = warning;"
                 "INSERT INTO t SELECT i, repeat('v', i % 3000) FROM generate_series(1, 30000) i")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster, timeout=120)
    pair.settle()


def test_written_rows_stay_in_the_shared_buffers(pair):
    """One COPY goes round in 16 MB of them; the making of the key would read what it left from disk."""
    pair.execute("CREATE TABLE t (id int PRIMARY KEY, v text);"
                 "INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 300000) i")
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    into = pair.mirror.into
    wait_until(lambda: into.value("(SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 't')") == "300000")
    into.execute("CREATE EXTENSION pg_visibility")
    pages = into.value("pg_relation_size('t') / 8192")
    read = into.value("(SELECT heap_blks_read FROM pg_statio_user_tables WHERE relname = 't')")
    assert into.value("(SELECT bool_and(all_frozen) FROM pg_visibility_map('t'))") == "true"
    # Before 16, a page counts as read when it is added.
    assert int(read) < int(pages) * (1.1 if into.cluster.version < 16 else 0.1)
    pair.settle()
