"""What is at the source now, as the author of a program needs to know it."""
from dataclasses import dataclass

TABLES = """
SELECT c.oid::int8, n.nspname, c.relname, c.relkind::text, c.relispartition, c.relpersistence::text,
  c.relreplident::text, (SELECT i.inhparent::int8 FROM pg_inherits i WHERE i.inhrelid = c.oid),
  pg_get_expr(c.relpartbound, c.oid),
  ARRAY(SELECT a.attname::text FROM pg_index x JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (x.indkey)
        WHERE x.indrelid = c.oid AND x.indisprimary ORDER BY array_position(x.indkey::int2[], a.attnum))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'tailrace')
ORDER BY n.nspname, c.relname"""

COLUMNS = """
SELECT a.attrelid::int8, a.attname, format_type(a.atttypid, a.atttypmod),
  ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = a.atttypid ORDER BY e.enumsortorder)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%'
  AND n.nspname NOT IN ('information_schema', 'tailrace') ORDER BY a.attrelid, a.attnum"""


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


@dataclass
class Column:
    name: str
    kind: str
    labels: list

    @property
    def sql(self):
        return quoted(self.name)


@dataclass
class Table:
    oid: int
    schema: str
    name: str
    relkind: str
    is_partition: bool
    persistence: str
    identity: str
    parent: int
    bound: str
    key: list
    columns: list

    @property
    def sql(self):
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def qualified(self):
        return f"{self.schema}.{self.name}"

    @property
    def partitioned(self):
        return self.relkind == "p"

    @property
    def plain(self):
        return self.relkind == "r" and not self.is_partition

    @property
    def updatable(self):
        """The source lets rows of a published table be changed only if they can be told apart, or are sent whole."""
        return self.identity in ("f", "i") or self.identity == "d" and bool(self.key)

    @property
    def others(self):
        """The columns that are not of the key."""
        return [column for column in self.columns if column.name not in self.key]


def read_tables(connection):
    columns = {}
    for oid, name, kind, labels in connection.execute(COLUMNS).fetchall():
        columns.setdefault(oid, []).append(Column(name, kind, labels))
    return [Table(oid, schema, name, relkind, is_partition, persistence, identity, parent, bound, key,
                  columns.get(oid, []))
            for oid, schema, name, relkind, is_partition, persistence, identity, parent, bound, key
            in connection.execute(TABLES).fetchall()]
