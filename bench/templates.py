"""Target databases: a template that is filled once, and a copy of it for each run, warm and without dirty pages."""
import psycopg
from psycopg import sql

DATABASE = "bench_target"
# The bench's own table, empty until the last transaction of a backlog.
FINISH = "finish"
FINISH_TABLE = f"CREATE TABLE {FINISH} (id int PRIMARY KEY)"


class Templates:
    """The database is always called DATABASE, whichever template it is a copy of."""

    def __init__(self, server):
        self.server = server
        self.kept = []

    def close(self):
        for database in (DATABASE, *self.kept):
            self.server.drop_database(database)

    def empty(self):
        self.server.drop_database(DATABASE)
        self.server.create_database(DATABASE)

    def keep(self, template):
        """Makes what is in DATABASE now a template."""
        self.server.execute("VACUUM ANALYZE", DATABASE)
        self.server.execute(f"ALTER DATABASE {DATABASE} RENAME TO {template}")
        self.kept.append(template)

    def copy(self, template):
        self.server.drop_database(DATABASE)
        self.server.execute(f"CREATE DATABASE {DATABASE} TEMPLATE {template}")

    def warm(self):
        """All of it in shared buffers, nothing left to write, as of a server that has been running."""
        with self.server.connect(DATABASE) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_prewarm SCHEMA pg_catalog")
            connection.execute("SELECT pg_prewarm(oid) FROM pg_class WHERE relkind IN ('r', 'i', 't')"
                               " AND relpersistence = 'p'")
            connection.execute("CHECKPOINT")


def contents(server, database):
    """{table: (rows, hash of all rows, indexes)} of the schema public."""
    found = {}
    with server.connect(database) as connection:
        tables = connection.execute("SELECT relname, (SELECT count(*) FROM pg_index"
                                    " WHERE indrelid = c.oid AND indisvalid) FROM pg_class c"
                                    " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        for name, indexes in tables.fetchall():
            query = sql.SQL("SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM {} t")
            found[name] = (*connection.execute(query.format(sql.Identifier(name))).fetchone(), indexes)
    return found


def difference(server, database, expected):
    """What is not as at the source, in words; None if all is."""
    try:
        actual = contents(server, database)
    except psycopg.Error as error:
        return str(error)
    wrong = [f"{name} has {actual.get(name)} instead of {wanted}" for name, wanted in expected.items()
             if actual.get(name) != wanted]
    return f"(rows, hash, indexes): {'; '.join(wrong)}" if wrong else None
