"""Comparing a source database with a PostgreSQL target, row by row, independently of tailrace's own code.

Both sides send the text that PostgreSQL shows under the same settings; rows are compared as multisets. Nothing may be
running that writes: the invariant is that at the checkpoint's LSN the target equals the source.
"""
from collections import Counter

import psycopg

from compare import TABLES, Difference, shorten
from duckdb_file import identifier
from postgres_database import SESSION

COLUMNS = """
SELECT a.attname, a.attgenerated <> '' FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""

KIND = """
SELECT c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')"""


def compare_databases(cluster, database, target_cluster, target_database, tables=None, columns=None, where=None,
                      roots=True, generated=None, extra=None):
    """Fails with the first differences, or returns the number of rows that are equal.

    tables     {source name: target name} or names, qualified; default: all tables of the source
    columns    {source name: [published columns]}
    where      {source name: row filter}
    roots      partitioned tables are compared as their root, else leaf by leaf
    generated  generated columns must be in the target (True), are not looked at (False), or are compared if there
    extra      {source name: [columns that only the target has]}
    """
    total, problems = 0, []
    with psycopg.connect(cluster.url(database)) as source, \
            psycopg.connect(target_cluster.url(target_database)) as target:
        source.execute(SESSION)
        target.execute(SESSION)
        for here, there in table_pairs(source, tables, roots):
            name = ".".join(here)
            pair = TablePair(source, target, here, there, (where or {}).get(name))
            found = pair.compare((columns or {}).get(name), generated, (extra or {}).get(name, []))
            problems += [f"{name}: {problem}" for problem in found]
            total += pair.count
    if problems:
        raise Difference("target and source differ:\n" + "\n".join(problems))
    return total


def table_pairs(source, tables, roots):
    """((schema, name) at the source, (schema, name) at the target) of all that is compared."""
    found = {f"{schema}.{name}": (schema, name) for _, schema, name in source.execute(TABLES, (roots,)).fetchall()}
    if tables is None:
        assert found, "nothing to compare"
        return [(names, names) for names in found.values()]
    targets = tables if isinstance(tables, dict) else {name: name for name in tables}
    missing = set(targets) - set(found)
    assert not missing, f"the source has no {missing}"
    return [(found[name], tuple(targets[name].split(".", 1))) for name in targets]


class TablePair:
    """A table at the source and the one that follows it. `count` is the number of the source's rows."""

    def __init__(self, source, target, here, there, where):
        self.source, self.target = source, target
        self.here, self.there = here, there
        self.where = where
        self.count = 0

    def compare(self, kept, generated, extra):
        """The differences, each a line."""
        there = dict(self.target.execute(COLUMNS, self.there).fetchall())
        if self.target.execute(KIND, self.there).fetchone() is None:
            return ["the target has no such table"]
        listed = [name for name, computed in self.source.execute(COLUMNS, self.here).fetchall()
                  if (kept is None or name in kept) and wanted(name, computed, generated, there)]
        unknown = [name for name, computed in there.items()
                   if name not in listed and name not in extra and not computed]
        missing = [name for name in listed if name not in there]
        if unknown or missing:
            return [f"columns are {list(there)}, expected {listed}"]
        return self._compare_rows(listed)

    def _compare_rows(self, listed):
        rows = Counter()
        for row in lines(self.source, self.here, listed, self.where):
            rows[row] += 1
            self.count += 1
        for row in lines(self.target, self.there, listed, None):
            rows[row] -= 1
            if rows[row] == 0:
                del rows[row]
        return [*described(rows, 1, "missing from the target"), *described(rows, -1, "only in the target")]


def wanted(name, computed, generated, there):
    if not computed or generated:
        return True
    return generated is None and name in there


def described(rows, sign, verb):
    some = {row: number * sign for row, number in rows.items() if number * sign > 0}
    if not some:
        return []
    return [f"{sum(some.values())} rows {verb}, such as",
            *(f"    {shorten(row.decode(errors='replace'))}" for row in sorted(some)[:5])]


def from_clause(connection, names):
    """Children that inherit are tables of their own; partitions are not."""
    qualified = ".".join(identifier(name) for name in names)
    kind = connection.execute(KIND, names).fetchone()
    if kind is None:
        raise Difference(f"{qualified} went while it was looked at")
    return qualified if kind[0] == "p" else f"ONLY {qualified}"


def lines(connection, names, listed, where):
    """Each row as the line that COPY makes of it. Rows without columns are told apart by nothing but their number."""
    columns = ", ".join(identifier(name) for name in listed) or "1"
    condition = f" WHERE {where}" if where else ""
    statement = f"COPY (SELECT {columns} FROM {from_clause(connection, names)}{condition}) TO STDOUT"
    with connection.cursor().copy(statement) as copy:
        for row in copy:
            yield bytes(row)
