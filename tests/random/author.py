"""Author: writes the steps of a program, one kind at a time, by what is at the source when the step is due.

A step is a tuple of strings that can be run without its author, so that a program can be printed, shortened and run
again: ("sql", kind, text) is one transaction at the source. What a step names may be gone when others were left out;
then the source refuses it, and the program goes on.
"""
import random

from catalog import quoted, read_tables
from values import PLAIN, literal

SETUP = """
CREATE TABLE beat (n int PRIMARY KEY); INSERT INTO beat VALUES (0);
CREATE SCHEMA side; CREATE SCHEMA far;
CREATE TYPE mood AS ENUM ('so', 'la', 'mi');
CREATE TABLE orders (id int PRIMARY KEY, n int, v varchar(12), price numeric(10,2), body text, note text,
  seen timestamptz, tags text[], mood mood);
ALTER TABLE orders ALTER body SET STORAGE EXTERNAL;
CREATE TABLE stock (id bigint PRIMARY KEY, n int, v varchar(12), price numeric(10,2), body text, note text, deep int[]);
CREATE TABLE lots (id int PRIMARY KEY, n int, v varchar(12), price numeric(10,2), body text, note text);
CREATE TABLE side.people (id int PRIMARY KEY, name text, born date, weight float8, doc jsonb, raw bytea, at interval);
CREATE TABLE facts (n int, v text); ALTER TABLE facts REPLICA IDENTITY FULL;
CREATE TABLE parts (id int, region int, v text, n int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
CREATE TABLE parts_rest PARTITION OF parts DEFAULT;
INSERT INTO orders SELECT i, i * 10, 'v' || i, i * 0.37, repeat(md5(i::text), i % 7 * 30), 'note', '2024-01-01',
  '{a,b}', 'la' FROM generate_series(1, 40) i;
INSERT INTO stock SELECT i, -i, 's' || i, i, NULL, 'stock', '{1,2}' FROM generate_series(1, 23) i;
INSERT INTO lots SELECT i, 7, 'l' || i, 0.5, repeat('l', i), 'lot' FROM generate_series(1, 11) i;
INSERT INTO side.people SELECT i, 'p' || i, '1970-01-01', i / 3.0, '{"a": 1}', '\\x00ff', '1 day'
  FROM generate_series(1, 17) i;
INSERT INTO facts SELECT i % 4, 'fact ' || i % 3 FROM generate_series(1, 31) i;
INSERT INTO parts SELECT i, i % 6, 'part', i FROM generate_series(1, 37) i
"""

KINDS = {}  # name: (group, method); groups are rows, wide, definition, guest


def kind(group):
    def register(method):
        KINDS[method.__name__] = (group, method)
        return method
    return register


class Author:
    """connection  to the source, in autocommit
    guests         {name: "table" or "view"}: what a stranger has at the target, in public
    """

    def __init__(self, connection, guests):
        self.connection = connection
        self.guests = guests
        self.chance = None
        self.tables = []
        self.alone = set()  # tables that no step named since they were compared

    def settled(self):
        """All tables were compared."""
        self.alone = {(table.oid, table.qualified) for table in read_tables(self.connection)}

    def touch(self, steps):
        """They may name some of the tables."""
        texts = " ".join(map(str, steps))
        self.alone -= {(table.oid, table.qualified) for table in self.tables
                       if table.sql in texts or table.qualified in texts}

    def is_alone(self, table):
        """What is at the target is what was compared: no other step is a reason to copy it anew."""
        return (table.oid, table.qualified) in self.alone

    def write(self, name, seed):
        """The steps of one kind; none if nothing here is fit for it."""
        self.chance = random.Random(seed)
        self.tables = [table for table in read_tables(self.connection) if table.name != "beat"]
        steps = KINDS[name][1](self)
        steps = [step if isinstance(step, tuple) else ("sql", name, step) for step in steps or []]
        self.touch(steps)
        return steps

    # Choosing ------------------------------------------------------------------------------------------

    def pick(self, fits, number=None):
        """A table that fits, or `number` different ones; None if there are not as many."""
        found = [table for table in self.tables if fits(table)]
        if len(found) < (number or 1):
            return None
        return self.chance.sample(found, number) if number else self.chance.choice(found)

    def keyed(self, number=None):
        return self.pick(lambda table: table.plain and table.persistence == "p" and table.key, number)

    def changing(self):
        """One whose rows can be updated, with a column to update."""
        return self.pick(lambda table: not table.is_partition and table.persistence == "p" and table.updatable
                         and table.others)

    def fresh(self, stem):
        """A name that nothing has. (The source's own numbers would do, but must not depend on what was refused.)"""
        return f"{stem}_{self.chance.randrange(100000)}"

    def definite(self, transactions):
        """Some statements, in one transaction or each in its own."""
        return ["; ".join(transactions)] if self.chance.random() < 0.5 else transactions

    # Rows ----------------------------------------------------------------------------------------------

    def value(self, column, wide=0.0):
        return literal(self.chance, column.kind, column.labels, wide)

    def insertion(self, table, wide=0.0, count=None):
        """Its key goes on from the highest there is, so that it fits whatever was left out before."""
        if not table.columns:
            return f"INSERT INTO {table.sql} DEFAULT VALUES"
        count = count or self.chance.randint(1, 4)
        names, bases, rows = [], [], [[] for _ in range(count)]
        for column in table.columns:
            names.append(column.sql)
            serial = column.name in table.key and column.kind in ("integer", "bigint") and column.name != "region"
            bases.append(f"(SELECT coalesce(max({column.sql}), 0) FROM {table.sql}) + " if serial else "")
            for at, row in enumerate(rows):
                row.append(str(at + 1) if serial else str(self.chance.randint(0, 6)) if column.name == "region"
                           else self.value(column, wide))
        selected = ", ".join(f"{base}CAST(r.c{at} AS {column.kind})" if column.name in table.key else f"r.c{at}"
                             for at, (base, column) in enumerate(zip(bases, table.columns)))
        listed = ", ".join("(" + ", ".join(row) + ")" for row in rows)
        header = ", ".join(f"c{at}" for at in range(len(names)))
        return (f"INSERT INTO {table.sql} ({', '.join(names)}) SELECT {selected}"
                f" FROM (VALUES {listed}) AS r({header})")

    def some_rows(self, table):
        """A condition that holds for some of its rows."""
        if table.key:
            column = quoted(table.key[0])
            return f"{column} % {self.chance.randint(2, 5)} = {self.chance.randint(0, 2)}"
        return f"ctid = (SELECT min(ctid) FROM {table.sql})"

    def changed(self, table, wide=0.0):
        columns = self.chance.sample(table.others, self.chance.randint(1, min(2, len(table.others))))
        set_to = ", ".join(f"{column.sql} = {self.value(column, wide)}" for column in columns
                           if column.name != "region")
        return f"UPDATE {table.sql} SET {set_to} WHERE {self.some_rows(table)}"

    @kind("rows")
    def insert(self):
        table = self.pick(lambda table: not table.is_partition)
        return table and [self.insertion(table)]

    @kind("rows")
    def update(self):
        table = self.changing()
        return table and [self.changed(table)]

    @kind("rows")
    def delete(self):
        table = self.changing()
        return table and [f"DELETE FROM {table.sql} WHERE {self.some_rows(table)}"]

    @kind("rows")
    def truncate(self):
        table = self.keyed()
        return table and [f"TRUNCATE {table.sql}; {self.insertion(table)}"]

    @kind("rows")
    def bulk(self):
        """More rows than are written one by one."""
        table = self.keyed()
        if not table:
            return None
        key = quoted(table.key[0])
        return [f"INSERT INTO {table.sql} ({key}) SELECT (SELECT coalesce(max({key}), 0) FROM {table.sql}) + i"
                f" FROM generate_series(1, {self.chance.randint(200, 1500)}) i",
                f"DELETE FROM {table.sql} WHERE {key} % 7 > 0 AND {key} > 60"]

    @kind("rows")
    def copied_in(self):
        """COPY, of what a program prints: data inside the protocol would make another kind of step."""
        table = self.keyed()
        first = self.chance.randint(10**6, 2 * 10**6)
        return table and [f"COPY {table.sql} ({quoted(table.key[0])}) FROM PROGRAM 'seq {first} {first + 9}'"]

    @kind("rows")
    def toast(self):
        """A wide value, and updates that leave it alone."""
        table = self.pick(lambda table: table.plain and table.updatable and table.key
                          and any(column.kind == "text" for column in table.others) and len(table.others) > 1)
        if not table:
            return None
        body = self.chance.choice([column for column in table.others if column.kind == "text"])
        other = self.chance.choice([column for column in table.others if column.name != body.name])
        key = quoted(table.key[0])
        wide = f"UPDATE {table.sql} SET {body.sql} = repeat(md5({key}::text), 100) WHERE {self.some_rows(table)}"
        beside = f"UPDATE {table.sql} SET {other.sql} = {self.value(other)} WHERE {self.some_rows(table)}"
        return self.definite([f"ALTER TABLE {table.sql} ALTER {body.sql} SET STORAGE EXTERNAL", wide, beside])

    @kind("rows")
    def key_change(self):
        table = self.keyed()
        key = table and quoted(table.key[0])
        return table and [f"UPDATE {table.sql} SET {key} = {key} + (SELECT max({key}) FROM {table.sql})"
                          f" WHERE {self.some_rows(table)}"]

    @kind("rows")
    def savepoint(self):
        table = self.keyed()
        if not table or not table.others:
            return None
        return [f"BEGIN; {self.insertion(table)}; SAVEPOINT a; {self.changed(table)}; SAVEPOINT b;"
                f" DELETE FROM {table.sql}; ROLLBACK TO b; {self.insertion(table)}; ROLLBACK TO a;"
                f" {self.insertion(table)}; COMMIT"]

    @kind("rows")
    def rollback(self):
        table = self.keyed()
        return table and [f"BEGIN; {self.insertion(table)}; DELETE FROM {table.sql} WHERE {self.some_rows(table)};"
                          " ROLLBACK"]

    @kind("rows")
    def across_tables(self):
        tables = self.keyed(3)
        if not tables:
            return None
        texts = []
        for table in tables:
            texts += [self.insertion(table), f"DELETE FROM {table.sql} WHERE {self.some_rows(table)}"]
            texts += [self.changed(table)] if table.others else []
        self.chance.shuffle(texts)
        return ["; ".join(texts)]

    @kind("rows")
    def duplicates(self):
        table = self.pick(lambda table: table.plain and not table.key and table.identity == "f" and table.columns)
        if not table:
            return None
        one = self.chance.choice(table.columns)
        return [f"INSERT INTO {table.sql} SELECT * FROM {table.sql} LIMIT 3;"
                f" UPDATE {table.sql} SET {one.sql} = {self.value(one)} WHERE {self.some_rows(table)};"
                f" DELETE FROM {table.sql} WHERE {self.some_rows(table)}"]

    @kind("wide")
    def widened(self):
        """Values that a column of a DuckDB file cannot hold."""
        from values import WIDE
        table = self.pick(lambda table: table.plain and table.persistence == "p"
                          and any(column.kind in WIDE for column in table.columns))
        if not table:
            return None
        column = self.chance.choice([column for column in table.columns if column.kind in WIDE])
        value = f"CAST({self.chance.choice(WIDE[column.kind])} AS {column.kind})"
        if table.key and table.updatable and self.chance.random() < 0.6:
            return [f"UPDATE {table.sql} SET {column.sql} = {value} WHERE {self.some_rows(table)}"]
        return [self.insertion(table, wide=1.0)]

    # Definitions are in the modules that are imported for their registrations. -------------------------

    @kind("definition")
    def create_table(self):
        name = quoted(self.fresh("new"))
        columns = [f"c{at} {self.chance.choice(list(PLAIN))}" for at in range(self.chance.randint(1, 4))]
        schema = self.chance.choice(["public", "side"])
        made = f"CREATE TABLE {schema}.{name} (id int PRIMARY KEY, {', '.join(columns)})"
        filled = f"INSERT INTO {schema}.{name} (id) SELECT i FROM generate_series(1, {self.chance.randint(1, 9)}) i"
        return self.definite([made, filled]) if self.chance.random() < 0.7 else [made]

    @kind("definition")
    def table_without_key(self):
        name = quoted(self.fresh("keyless"))
        made = [f"CREATE TABLE {name} (a int, b text)"]
        if self.chance.random() < 0.7:
            made.append(f"ALTER TABLE {name} REPLICA IDENTITY FULL")
        rows = f"INSERT INTO {name} SELECT i % 3, 'b' || i % 2 FROM generate_series(1, {self.chance.randint(5, 12)}) i"
        return self.definite(["; ".join(made), rows])

    @kind("definition")
    def table_without_columns(self):
        name = quoted(self.fresh("bare"))
        row = f"INSERT INTO {name} DEFAULT VALUES"
        return [f"CREATE TABLE {name} ()", f"{row}; {row}; {row}", row]

    @kind("definition")
    def drop_table(self):
        table = self.pick(lambda table: table.plain and table.name.split("_")[0] in ("new", "keyless", "bare"))
        return table and [f"DROP TABLE {table.sql}"]
