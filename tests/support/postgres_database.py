"""PostgresDatabase: reads a PostgreSQL database the way DuckdbFile reads a file: every value is text or None.

The session is pinned to one way of writing values, whatever the server's settings are.
"""
import psycopg
from psycopg import pq

SESSION = """
SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET extra_float_digits = 1;
SET bytea_output = 'hex'; SET lc_monetary = 'C'"""

# tailrace's own schema, where it fills tables, and the server's are not anybody's data.
NOT_OWN = "n.nspname <> 'information_schema' AND n.nspname !~ '^(pg_|tailrace$|tailrace_copy_)'"


class PostgresDatabase:
    """One connection; each statement is a transaction of its own. A context manager."""

    def __init__(self, url):
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute(SESSION)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._connection.close()

    def query(self, sql):
        """All rows, each a tuple of str or None; none for a command that has no rows."""
        result = self._connection.pgconn.exec_(sql.encode())
        if result.status not in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
            raise psycopg.DatabaseError(result.error_message.decode(errors="replace"))
        return [tuple(decoded(result.get_value(row, column)) for column in range(result.nfields))
                for row in range(result.ntuples)]

    def value(self, expression):
        return self.query(f"SELECT CAST(({expression}) AS text)")[0][0]

    def tables(self):
        """(schema, table) of all that holds rows and is not tailrace's own."""
        return self.query("SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                          f" WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND {NOT_OWN} ORDER BY 1, 2")

    def columns(self, schema, table):
        """{name: type} in the table's order."""
        return dict(self.query(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a"
            " JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
            f" WHERE n.nspname = {literal(schema)} AND c.relname = {literal(table)} AND a.attnum > 0"
            " AND NOT a.attisdropped ORDER BY a.attnum"))


def decoded(value):
    return None if value is None else value.decode()


def literal(text):
    return "'" + text.replace("'", "''") + "'"
