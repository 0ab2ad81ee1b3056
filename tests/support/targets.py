"""Where a mirror goes: a DuckDB file or a PostgreSQL database. Tests ask both in the same words, and get text."""
from pathlib import Path

from compare import compare
from compare_postgres import compare_databases
from duckdb_file import DuckdbFile, identifier
from postgres_database import PostgresDatabase


class Target:
    """What both have in common; `opened` is theirs."""

    def tables(self):
        """{'schema.table'} of all that is there and not tailrace's own."""
        if not self.exists():
            return set()
        with self.opened() as database:
            return {".".join(name) for name in database.tables() if name[0] != "main"}

    def rows(self):
        """How many rows all tables have together; 0 if there is no target yet."""
        if not self.exists():
            return 0
        with self.opened() as database:
            return sum(int(database.value(f"(SELECT count(*) FROM {identifier(schema)}.{identifier(table)})"))
                       for schema, table in database.tables())

    def query(self, sql):
        with self.opened() as database:
            return database.query(sql)

    def value(self, expression):
        with self.opened() as database:
            return database.value(expression)


class DuckdbTarget(Target):
    """A file, which only one process at a time can have open: end the mirror first."""

    kind = "duckdb"

    def __init__(self, file):
        self.file = Path(file)
        self.url = f"duckdb:{self.file}"
        self.label = self.file.name

    def opened(self, writable=False):
        return DuckdbFile(self.file, writable=writable)

    def exists(self):
        return self.file.exists()

    def holds(self, word):
        """True if the word is anywhere in it, tailrace's own bookkeeping included."""
        return word.encode() in self.file.read_bytes()

    def named(self, _):
        """The arguments that name the mirror to `tailrace status`."""
        return [self.url]

    def only(self, table):
        """A FROM that leaves out the rows of tables that inherit."""
        return table

    def use_password(self, password):
        """Nothing: a file has none."""

    def compare(self, cluster, database, **how):
        return compare(cluster, database, self.file, **how)

    def close(self, names=()):
        """Nothing: the test's directory goes."""


class PostgresTarget(Target):
    """A database of its own, made empty, dropped at the end; or, with `existing`, somebody else's."""

    kind = "postgres"

    def __init__(self, cluster, database, existing=False):
        self.cluster = cluster
        self.existing = existing
        self.database = database
        self.label = database
        self.url = cluster.url(database)
        if not existing:
            cluster.create_database(database)

    def opened(self, writable=False):
        del writable  # it always is
        return PostgresDatabase(self.cluster.url(self.database))

    def exists(self):
        """True if anything is there, tailrace's own bookkeeping included."""
        with self.opened() as database:
            return bool(database.tables()) or database.value("to_regnamespace('tailrace')") is not None

    def holds(self, word):
        with self.opened() as database:
            names = database.query("SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n"
                                   " ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND (n.nspname = 'tailrace'"
                                   " OR n.nspname NOT LIKE 'pg\\_%') AND n.nspname <> 'information_schema'")
            rows = [database.query(f"SELECT t::text FROM {identifier(schema)}.{identifier(table)} t")
                    for schema, table in names]
        return word in str(rows)

    def named(self, config):
        # Several mirrors may share a database, so that its URL does not name one.
        return ["-c", config]

    def only(self, table):
        return f"ONLY {table}"

    def execute(self, sql):
        return self.cluster.execute(sql, self.database)

    def use_password(self, password):
        self.url = self.cluster.url(self.database, password=password)

    def compare(self, cluster, database, **how):
        return compare_databases(cluster, database, self.cluster, self.database, **how)

    def terminate(self):
        """Ends every connection of others to it; returns how many there were."""
        return self.cluster.value("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                                  " WHERE datname = current_database() AND pid <> pg_backend_pid()", self.database)

    def close(self, names=()):
        """`names`: of the mirrors that went into it. Their origins are the server's, not the database's."""
        if self.cluster.process is not None:
            if not self.existing:
                self.cluster.drop_database(self.database)
            for name in names:
                self.cluster.execute("SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin"
                                     f" WHERE roname ~ '^tailrace_{name}(/.*)?$'")
