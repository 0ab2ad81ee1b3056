"""The author's kinds of definitions that change: columns, names, types, and what a table is besides."""
from author import kind
from catalog import quoted
from values import DEFAULTS, PLAIN


def columned(author, fits=lambda column: True, number=1, wanted=lambda table: True):
    """(table, columns) of a plain table with that many fit columns outside of its key; one that is wanted, if any."""
    def has_fit(table):
        return table.plain and table.persistence == "p" and sum(map(fits, table.others)) >= number

    table = author.pick(lambda table: has_fit(table) and wanted(table)) or author.pick(has_fit)
    if not table:
        return None, None
    return table, author.chance.sample([column for column in table.others if fits(column)], number)


@kind("definition")
def add_column(author):
    table = author.pick(lambda table: not table.is_partition)
    if not table:
        return None
    name = quoted(author.fresh("c"))
    return [f"ALTER TABLE {table.sql} ADD {name} {author.chance.choice(list(PLAIN))}"]


@kind("definition")
def add_default(author):
    """A column with a default that rows of before then have. Half of them say it only in the catalogs."""
    table = author.pick(lambda table: not table.is_partition)
    if not table:
        return None
    name, sort = quoted(author.fresh("d")), author.chance.choice(list(DEFAULTS))
    value = author.chance.choice(DEFAULTS[sort])
    strict = " NOT NULL" if value != "NULL" and author.chance.random() < 0.3 else ""
    return [f"ALTER TABLE {table.sql} ADD {name} {sort} DEFAULT {value}{strict}"]


@kind("definition")
def drop_column(author):
    table, columns = columned(author)
    return table and [f"ALTER TABLE {table.sql} DROP {columns[0].sql}"]


@kind("definition")
def rename_column(author):
    table, columns = columned(author)
    if not table:
        return None
    return [f"ALTER TABLE {table.sql} RENAME {columns[0].sql} TO {quoted(author.fresh('r'))}"]


@kind("definition")
def readd_column(author):
    """Under its name and type; the rows' old values are gone with it."""
    table, columns = columned(author, lambda column: column.kind in PLAIN,
                              wanted=lambda table: table.updatable and author.is_alone(table))
    if not table:
        return None
    column, chance = columns[0], author.chance
    if chance.random() < 0.7 and table.others[-1].kind in PLAIN:
        # As the last one it comes back into its place, and the columns' names tell nothing.
        column = table.others[-1]
    how = chance.choice(["at once"] * 4 + ["apart", "renamed", "with a row"])
    again = [f"ALTER TABLE {table.sql} DROP {column.sql}", f"ALTER TABLE {table.sql} ADD {column.sql} {column.kind}"]
    if how == "renamed":
        again[0] = f"ALTER TABLE {table.sql} RENAME {column.sql} TO {quoted(author.fresh('was'))}"
    steps = again if how == "apart" else ["; ".join(again)]
    if table.updatable:
        # There is a value to be lost, whatever came before.
        value = chance.choice(PLAIN[column.kind])
        steps.insert(0, f"{author.insertion(table)}; UPDATE {table.sql} SET {column.sql} = CAST({value} AS"
                        f" {column.kind})")
        # A row of afterwards describes the table anew.
        if how == "with a row":
            steps.append(f"UPDATE {table.sql} SET {column.sql} = {author.value(column)}"
                         f" WHERE {author.some_rows(table)}")
    # Read from a backlog, the rows of before come when the catalogs show the column of after.
    return [("stop",), *steps] if chance.random() < 0.3 else steps


@kind("definition")
def trade_column_names(author):
    table, columns = columned(author, number=2)
    if not table:
        return None
    one, other, aside = columns[0].sql, columns[1].sql, quoted(author.fresh("aside"))
    return author.definite([f"ALTER TABLE {table.sql} RENAME {one} TO {aside}",
                            f"ALTER TABLE {table.sql} RENAME {other} TO {one}",
                            f"ALTER TABLE {table.sql} RENAME {aside} TO {other}"])


@kind("definition")
def retype_int(author):
    table, columns = columned(author, lambda column: column.kind == "integer")
    return table and [f"ALTER TABLE {table.sql} ALTER {columns[0].sql} TYPE bigint"]


@kind("definition")
def retype_varchar(author):
    table, columns = columned(author, lambda column: column.kind.startswith("character varying("))
    if not table:
        return None
    return [f"ALTER TABLE {table.sql} ALTER {columns[0].sql} TYPE {author.chance.choice(['varchar(40)', 'text'])}"]


@kind("definition")
def retype_using(author):
    table, columns = columned(author, lambda column: column.kind == "text")
    if not table:
        return None
    column = columns[0].sql
    return [f"ALTER TABLE {table.sql} ALTER {column} TYPE int USING length(coalesce({column}, ''))"]


@kind("definition")
def enum_label(author):
    labels = next((column.labels for table in author.tables for column in table.columns if column.kind == "mood"), None)
    if not labels:
        return None
    place = f" {author.chance.choice(['BEFORE', 'AFTER'])} '{author.chance.choice(labels)}'"
    name = author.fresh("label")
    table = next(table for table in author.tables if any(column.kind == "mood" for column in table.columns))
    column = next(column for column in table.columns if column.kind == "mood").sql
    steps = [f"ALTER TYPE mood ADD VALUE '{name}'{author.chance.choice(['', place])}"]
    if table.key:
        steps.append(f"INSERT INTO {table.sql} ({quoted(table.key[0])}, {column})"
                     f" SELECT coalesce(max({quoted(table.key[0])}), 0) + 1, '{name}' FROM {table.sql}")
    return steps


@kind("definition")
def new_type(author):
    table = author.keyed()
    if not table:
        return None
    name, column = quoted(author.fresh("type")), quoted(author.fresh("c"))
    made, value = author.chance.choice([(f"CREATE TYPE {name} AS ENUM ('x', 'y')", "'x'"),
                                        (f"CREATE DOMAIN {name} AS int CHECK (VALUE > 0)", "5"),
                                        (f"CREATE TYPE {name} AS (a int, b text)", "'(1,\"b,c\")'")])
    return [made, f"ALTER TABLE {table.sql} ADD {column} {name}",
            f"UPDATE {table.sql} SET {column} = {value} WHERE {author.some_rows(table)}"]


@kind("definition")
def trade_table_names(author):
    return rotated(author, author.pick(lambda table: table.plain and table.schema == "public", 2))


@kind("definition")
def rotate_table_names(author):
    return rotated(author, author.pick(lambda table: table.plain and table.schema == "public", 3))


def rotated(author, tables):
    if not tables:
        return None
    aside = quoted(author.fresh("aside"))
    names = [quoted(table.name) for table in tables]
    moves = [(names[0], aside), *zip(names[1:], names[:-1]), (aside, names[-1])]
    steps = author.definite([f"ALTER TABLE public.{old} RENAME TO {new}" for old, new in moves])
    if author.chance.random() < 0.5:
        steps.insert(author.chance.randint(0, len(steps)), author.insertion(author.chance.choice(tables)))
    return steps


@kind("definition")
def rename_table(author):
    table = author.pick(lambda table: table.plain)
    return table and [f"ALTER TABLE {table.sql} RENAME TO {quoted(author.fresh('named'))}"]


@kind("definition")
def recreate_table(author):
    """Another table under the name of one."""
    table = author.pick(lambda table: table.plain)
    if not table:
        return None
    column = quoted(author.fresh("c"))
    made = f"CREATE TABLE {table.sql} (id int PRIMARY KEY, n int, {column} text, price numeric(10,2))"
    rows = f"INSERT INTO {table.sql} (id, n) SELECT i, i FROM generate_series(1, {author.chance.randint(1, 9)}) i"
    return author.definite([f"DROP TABLE {table.sql}", made, rows])


@kind("definition")
def replace_table(author):
    """One that was filled beside it takes a table's name."""
    table = author.keyed()
    if not table:
        return None
    beside, before = author.fresh("staging"), author.fresh("before")
    place = quoted(table.schema)
    kept = author.chance.random() < 0.5
    copied = (f"CREATE TABLE {place}.{beside} (LIKE {table.sql} INCLUDING ALL);"
              f" INSERT INTO {place}.{beside} SELECT * FROM {table.sql} WHERE {author.some_rows(table)}")
    traded = (f"ALTER TABLE {table.sql} RENAME TO {before};"
              f" ALTER TABLE {place}.{beside} RENAME TO {quoted(table.name)}")
    return [*author.definite([copied, traded]), *([] if kept else [f"DROP TABLE {place}.{before}"])]


@kind("definition")
def move_table(author):
    table = author.pick(lambda table: table.plain)
    if not table:
        return None
    schema = author.chance.choice([name for name in ("public", "side", "far") if name != table.schema])
    return [f"ALTER TABLE {table.sql} SET SCHEMA {schema}"]


@kind("definition")
def rename_schema(author):
    """There and back again is a kind of its own: then `side` is there for others."""
    table = author.pick(lambda table: table.plain and table.schema not in ("public", "far"))
    if not table:
        return None
    new = author.fresh("room")
    return [f"ALTER SCHEMA {quoted(table.schema)} RENAME TO {new}"]


@kind("definition")
def vacuum_full(author):
    table = author.pick(lambda table: not table.is_partition)
    return table and [f"VACUUM FULL {table.sql}"]


@kind("definition")
def replica_identity(author):
    table = author.keyed()
    if not table:
        return None
    steps = [f"ALTER TABLE {table.sql} REPLICA IDENTITY {'DEFAULT' if table.identity == 'f' else 'FULL'}",
             f"DELETE FROM {table.sql} WHERE {author.some_rows(table)}"]
    return steps if not table.others else [*steps, author.changed(table)]


@kind("definition")
def unlogged_for_a_while(author):
    table = author.keyed()
    if not table:
        return None
    steps = [f"ALTER TABLE {table.sql} SET UNLOGGED", author.insertion(table),
             f"DELETE FROM {table.sql} WHERE {author.some_rows(table)}", f"ALTER TABLE {table.sql} SET LOGGED"]
    return author.definite(steps)


# Partitions -------------------------------------------------------------------------------------------------

def root(author):
    return author.pick(lambda table: table.partitioned and not table.is_partition)


def leaf(author, of):
    return author.pick(lambda table: table.parent == of.oid and table.bound != "DEFAULT")


@kind("definition")
def partition_create(author):
    """One for values that no other has yet; what the default holds of them is in the way, and goes."""
    table = root(author)
    region = author.chance.randint(7, 60)
    return table and [f"CREATE TABLE {author.fresh('parts')} PARTITION OF {table.sql} FOR VALUES IN ({region})",
                      f"INSERT INTO {table.sql} (id, region, v) SELECT coalesce(max(id), 0) + 1, {region}, 'new leaf'"
                      f" FROM {table.sql}"]


@kind("definition")
def partition_attach(author):
    """With rows."""
    table = root(author)
    if not table:
        return None
    name, region = author.fresh("brought"), author.chance.randint(7, 60)
    return author.definite([
        f"CREATE TABLE {name} (LIKE {table.sql} INCLUDING ALL)",
        f"INSERT INTO {name} (id, region, v) SELECT 5000 + {region} * 100 + i, {region}, 'brought'"
        " FROM generate_series(1, 4) i",
        f"ALTER TABLE {table.sql} ATTACH PARTITION {name} FOR VALUES IN ({region})"])


@kind("definition")
def partition_detach(author):
    table = root(author)
    part = table and leaf(author, table)
    return part and [f"ALTER TABLE {table.sql} DETACH PARTITION {part.sql}"]


@kind("definition")
def partition_truncate(author):
    table = root(author)
    part = table and leaf(author, table)
    return part and [f"TRUNCATE {part.sql}"]


@kind("definition")
def partition_drop(author):
    table = root(author)
    part = table and leaf(author, table)
    return part and [f"DROP TABLE {part.sql}"]


@kind("definition")
def split_default(author):
    """Rows move into a table that is then attached, in one transaction."""
    table = root(author)
    rest = table and author.pick(lambda part: part.parent == table.oid and part.bound == "DEFAULT")
    if not rest:
        return None
    name, region = author.fresh("split"), author.chance.choice([3, 4, 5])
    steps = [f"CREATE TABLE {name} (LIKE {table.sql} INCLUDING ALL);"
             f" INSERT INTO {name} SELECT * FROM {rest.sql} WHERE region = {region};"
             f" DELETE FROM {rest.sql} WHERE region = {region};"
             f" ALTER TABLE {table.sql} ATTACH PARTITION {name} FOR VALUES IN ({region})"]
    if author.chance.random() < 0.6:
        steps.append(f"UPDATE {table.sql} SET n = 1 WHERE id % 2 = 0")
    return steps


# A stranger at the target --------------------------------------------------------------------------------------

@kind("guest")
def guest_table(author):
    name = author.fresh("guest")
    return [("guest", "guest_table", name)]


@kind("guest")
def guest_view(author):
    name = author.fresh("guest")
    return [("guest", "guest_view", name)]


@kind("guest")
def guest_index(author):
    """On a column, the definition of which then changes."""
    table, columns = columned(author, lambda column: column.kind in ("integer", "text"))
    if not table or table.name in author.guests:
        return None
    column, name = columns[0], quoted(author.fresh("r"))
    return [("guest_index", "guest_index", author.fresh("index"), table.sql, column.sql),
            f"ALTER TABLE {table.sql} RENAME {column.sql} TO {name}",
            f"INSERT INTO {table.sql} ({name}) SELECT {name} FROM {table.sql} LIMIT 0"]


@kind("guest")
def name_of_a_guest(author):
    """The source comes to use a name that is a stranger's at the target."""
    taken = {table.name for table in author.tables}
    free = sorted(name for name in author.guests if name not in taken)
    table = author.pick(lambda table: table.plain and table.name not in author.guests)
    if not free or not table:
        return None
    name = author.chance.choice(free)
    if author.chance.random() < 0.5:
        renamed = f"ALTER TABLE {table.sql} RENAME TO {quoted(name)}"
        moved = f"ALTER TABLE {quoted(table.schema)}.{quoted(name)} SET SCHEMA public"
        return [renamed] if table.schema == "public" else [renamed, moved]
    return [f"CREATE TABLE public.{quoted(name)} (id int PRIMARY KEY, v text)",
            f"INSERT INTO public.{quoted(name)} SELECT i, 'mine' FROM generate_series(1, 5) i"]


@kind("guest")
def guest_leaves(author):
    """What a stranger had under a name that the source uses goes; the table can then be copied under its name."""
    taken = [table for table in author.tables if table.name in author.guests and table.schema == "public"]
    if not taken:
        return None
    table = author.chance.choice(taken)
    return [("guest_gone", "guest_leaves", table.name), ("recopy", "recopy", table.qualified)]
