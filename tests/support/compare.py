"""Comparing a source database with a DuckDB file, row by row, independently of tailrace's own code.

Both sides become the text that PostgreSQL shows; rows are compared as multisets. Nothing may be running that
writes: the invariant is that at the checkpoint's LSN the target equals the source.
"""
import json
import re
import struct
from collections import Counter

import psycopg

from duckdb_file import DuckdbFile, identifier
from postgres_database import SESSION

TABLES = """
SELECT c.oid::text, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND n.nspname <> 'tailrace'
  AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'
  AND CASE WHEN %s THEN NOT c.relispartition ELSE c.relkind = 'r' END
ORDER BY 2, 3"""

COLUMNS = """
SELECT a.attname, t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s::oid AND a.attnum > 0 AND NOT a.attisdropped AND (a.attgenerated = '' OR %s)
ORDER BY a.attnum"""

# DuckDB has no tables without columns.
STANDS_FOR_NONE = "tailrace_no_columns"


class Difference(AssertionError):
    pass


# Both sides' values as one canonical text -----------------------------------------------------------------

def float_text(kind):
    layout = "<f" if kind == "FLOAT" else "<d"

    def canonical(text):
        return struct.pack(layout, float(text)).hex() if text.lower() != "nan" else "nan"
    return canonical


def decimal_text(text):
    """DuckDB leaves out the zero before the point where no digit can be there: DECIMAL(4,4)."""
    return re.sub(r"^(-?)\.", r"\g<1>0.", text)


def era_last(text):
    """DuckDB writes the era after the date, PostgreSQL at the end."""
    return text.replace(" (BC)", "") + " BC" if "(BC)" in text else text


INTERVAL_UNITS = {"year": (12, 0), "mon": (1, 0), "month": (1, 0), "day": (0, 1)}


def interval_parts(text):
    """(months, days, microseconds) of '1 year 2 mons -3 days +04:05:06.7'."""
    months = days = micros = 0
    for number, unit in re.findall(r"([+-]?\d+) (year|mon|month|day)s?", text):
        factor = INTERVAL_UNITS[unit]
        months += int(number) * factor[0]
        days += int(number) * factor[1]
    clock = re.search(r"([+-]?)(\d+):(\d\d):(\d\d)(?:\.(\d+))?", text)
    if clock:
        sign, hours, minutes, seconds, fraction = clock.groups()
        micros = (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * 1_000_000
        micros += int((fraction or "0").ljust(6, "0"))
        micros = -micros if sign == "-" else micros
    return str((months, days, micros))


def timetz_parts(text):
    """(local time, offset in seconds) of '10:00:00.5-05:30:10'."""
    clock, sign, offset = re.fullmatch(r"([\d:.]+)([+-])([\d:]+)", text).groups()
    hours, minutes, seconds = (offset.split(":") + ["0", "0"])[:3]
    total = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    return str((clock, -total if sign == "-" else total))


def blob_hex(text):
    """DuckDB's text of a BLOB as PostgreSQL's hex form."""
    raw = re.sub(r"\\x([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), text)
    return "\\x" + raw.encode("latin-1").hex()


def same(text):
    return text


def canonical_forms(duckdb_type, pg_type):
    """(for PostgreSQL's text, for DuckDB's text) of scalars of a DuckDB type."""
    if duckdb_type in ("FLOAT", "DOUBLE"):
        return float_text(duckdb_type), float_text(duckdb_type)
    if duckdb_type == "INTERVAL":
        return interval_parts, interval_parts
    if duckdb_type == "BOOLEAN":
        return {"t": "true", "f": "false"}.__getitem__, same
    if duckdb_type == "BLOB":
        return same, blob_hex
    if duckdb_type.startswith(("DATE", "TIMESTAMP")):
        return same, era_last
    if duckdb_type == "TIME WITH TIME ZONE":
        return timetz_parts, same
    if duckdb_type.startswith("DECIMAL"):
        from_pg = (lambda text: re.sub(r"[$,]", "", text)) if pg_type.lstrip("_") == "money" else same
        return from_pg, decimal_text
    return same, same


def parse_array(text, delimiter=","):
    """PostgreSQL's array text as nested lists; None for NULL. Without lower bounds, which no list can hold."""
    at = 0

    def element():
        nonlocal at
        if text[at] == "{":
            at += 1
            items = []
            while text[at] != "}":
                items.append(element())
                if text[at] == delimiter:
                    at += 1
            at += 1
            return items
        if text[at] == '"':
            at += 1
            characters = []
            while text[at] != '"':
                at += text[at] == "\\"
                characters.append(text[at])
                at += 1
            at += 1
            return "".join(characters)
        start = at
        while text[at] not in delimiter + "}":
            at += 1
        return None if text[start:at] == "NULL" else text[start:at]

    return element()


def map_nested(value, function):
    if isinstance(value, list):
        return [map_nested(item, function) for item in value]
    return None if value is None else function(value)


class Column:
    def __init__(self, name, pg_type, duckdb_type):
        scalar, brackets, _ = duckdb_type.partition("[")
        from_pg, from_duckdb = canonical_forms(scalar, pg_type)
        if brackets:
            dimensions = duckdb_type.count("[")
            self.sql = f"to_json(CAST({identifier(name)} AS VARCHAR{'[]' * dimensions}))"
            self.from_pg = lambda text: json.dumps(map_nested(parse_array(text), from_pg))
            self.from_duckdb = lambda text: json.dumps(map_nested(json.loads(text), from_duckdb))
        elif duckdb_type == "TIME WITH TIME ZONE":
            # DuckDB's own text of one is wrong for offsets with seconds: 12:00:00-00:00:01 becomes 12:00:00-00:01.
            self.sql = (f"'(''' || CAST({identifier(name)} AS TIME) || ''', '"
                        f" || date_part('timezone', {identifier(name)}) || ')'")
            self.from_pg, self.from_duckdb = from_pg, from_duckdb
        else:
            self.sql, self.from_pg, self.from_duckdb = identifier(name), from_pg, from_duckdb
        self.name = name


# The comparison -------------------------------------------------------------------------------------------

def compare(cluster, database, path, tables=None, columns=None, where=None, roots=True, generated=False):
    """Fails with the first differences, or returns the number of rows that are equal.

    tables     {source name: target name} or names, qualified; default: all tables of the database
    columns    {source name: [published columns]}
    where      {source name: row filter}
    roots      partitioned tables are compared as their root, else leaf by leaf
    generated  generated columns are in the target too
    """
    total = 0
    problems = []
    with psycopg.connect(cluster.url(database)) as source, DuckdbFile(path) as mirror:
        source.execute(SESSION)
        found = source.execute(TABLES, (roots,)).fetchall()
        if tables is not None:
            targets = tables if isinstance(tables, dict) else {name: name for name in tables}
            found = [row for row in found if f"{row[1]}.{row[2]}" in targets]
            missing = set(targets) - {f"{row[1]}.{row[2]}" for row in found}
            assert not missing, f"the source has no {missing}"
        assert found, "nothing to compare"
        for oid, schema, name in found:
            qualified = f"{schema}.{name}"
            target = tuple(targets[qualified].split(".", 1)) if tables is not None else (schema, name)
            kept = (columns or {}).get(qualified)
            published = [row for row in source.execute(COLUMNS, (oid, generated)).fetchall()
                         if kept is None or row[0] in kept]
            problem, count = compare_table(source, mirror, (schema, name), target, published,
                                           (where or {}).get(qualified))
            problems += problem
            total += count
    if problems:
        raise Difference("target and source differ:\n" + "\n".join(problems))
    return total


def compare_table(source, mirror, names, target, published, where):
    label = ".".join(names)
    types = mirror.columns(*target)
    if not published and list(types) == [STANDS_FOR_NONE]:
        types = {}
    elif not types:
        return [f"{label}: the target has no such table"], 0
    expected = [name for name, _ in published]
    if list(types) != expected and sorted(types) != sorted(expected):
        return [f"{label}: columns are {list(types)}, expected {expected}"], 0
    layout = [Column(name, pg_type, types[name]) for name, pg_type in published]
    there = source_rows(source, names, layout, where)
    here = target_rows(mirror, target, layout)
    problems = []
    for rows, verb in ((there - here, "missing from the target"), (here - there, "only in the target")):
        if rows:
            problems.append(f"{label}: {sum(rows.values())} rows {verb}, such as")
            problems += [f"    {shorten(row)}" for row in sorted(rows, key=str)[:5]]
    return problems, sum(there.values())


def source_rows(source, names, layout, where):
    qualified = ".".join(identifier(name) for name in names)
    if not layout:
        return Counter({(): source.execute(f"SELECT count(*) FROM {qualified}").fetchone()[0]})
    listed = ", ".join(identifier(column.name) for column in layout)
    condition = f" WHERE {where}" if where else ""
    rows = Counter()
    forms = [column.from_pg for column in layout]
    with source.cursor().copy(f"COPY (SELECT {listed} FROM {qualified}{condition}) TO STDOUT") as copy:
        for row in copy.rows():
            rows[tuple(None if value is None else form(value) for form, value in zip(forms, row))] += 1
    return rows


def target_rows(mirror, target, layout):
    qualified = ".".join(identifier(name) for name in target)
    if not layout:
        return Counter({(): int(mirror.value(f"SELECT count(*) FROM {qualified}"))})
    listed = ", ".join(f"CAST({column.sql} AS VARCHAR)" for column in layout)
    forms = [column.from_duckdb for column in layout]
    rows = Counter()
    for row in mirror.query(f"SELECT {listed} FROM {qualified}"):
        rows[tuple(None if value is None else form(value) for form, value in zip(forms, row))] += 1
    return rows


def shorten(row, limit=400):
    text = repr(row)
    return text if len(text) <= limit else text[:limit] + f"... ({len(text)} characters)"
