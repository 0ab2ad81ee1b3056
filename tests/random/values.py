"""Types of columns, and values of them as SQL literals: plain ones, odd defaults, and those that a DuckDB column of the
type cannot hold."""

# type as format_type() shows it: literals that are cast to it
PLAIN = {
    "integer": ["0", "1", "-7", "2147483647", "42"],
    "bigint": ["0", "-1", "9007199254740993", "77"],
    "text": ["''", "'plain'",
             "'it''s \"quoted\", {braced}; NULL'", "E'tab\\tline\\nend\\\\'", "'naïve 漢字 🌊'", "'NULL'"],
    "character varying(12)": ["'short'", "'twelve chars'", "''"],
    "numeric(10,2)": ["0", "12.34", "-99999999.99", "0.01"],
    "numeric": ["0.1000", "123456789012345678901234567890.123456789012345678901234567890", "'NaN'", "-1e-20"],
    "date": ["'2024-02-29'", "'0044-03-15 BC'", "'infinity'", "'1970-01-01'"],
    "timestamp with time zone": ["'2024-06-30 23:59:59.999999+02'", "'-infinity'", "'0001-01-01 00:00:00+00 BC'"],
    "timestamp without time zone": ["'2024-06-30 23:59:59.5'", "'infinity'"],
    "interval": ["'1 mon -3 days 04:05:06.7'", "'-00:00:00.000001'"],
    "boolean": ["true", "false"],
    "double precision": ["1.5", "'NaN'", "'-Infinity'", "0.1"],
    "jsonb": ["""'{"a": [1, null, "x;y"]}'""", "'null'", "'[]'"],
    "uuid": ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'00000000-0000-0000-0000-000000000000'"],
    "bytea": [r"'\x00ff5c27'", r"'\x'"],
    "box": ["'((1,1),(0,0))'", "'((3,4),(-1,0.5))'"],
    "box[]": ["'{((1,1),(0,0));((2,2),(1,1))}'", "'{}'"],
    "text[]": ["""'{a,NULL,"NULL","x,y","q\\"q"}'""", "'{}'", "'{{a,b},{c,d}}'"],
    "integer[]": ["'{1,NULL,3}'", "'{}'"],
}
# Values that turn the column of a DuckDB file into text.
WIDE = {
    "numeric(10,2)": ["'NaN'"],
    "timestamp with time zone": ["'294276-12-31 23:59:59.999999+00'"],
    "timestamp without time zone": ["'294276-12-31 23:59:59.999999'"],
    "double precision": ["'-0'"],
    "integer[]": ["'[5:6]={1,2}'", "'{{1,2},{3,4}}'"],
    "text[]": ["'[0:1]={x,y}'"],
}
# Of a column that is added: what the row has that was there before.
DEFAULTS = {
    "box": ["'((1,1),(0,0))'"],
    "box[]": ["'{((1,1),(0,0));((2,2),(1,1))}'"],
    "numeric(10,2)": ["'NaN'", "0.10"],
    "text": ["'a;b,{c} \"NULL\"'", "'NULL'", "''", "NULL"],
    "text[]": ["""'{a,NULL,"NULL","x,y"}'""", "'[0:1]={x,y}'"],
    "jsonb": ["""'{"k": [1, "a;b"]}'"""],
    "bytea": [r"'\x00ff'"],
    "double precision": ["'-0'", "'NaN'"],
    "timestamp with time zone": ["'infinity'", "'294276-12-31 23:59:59.999999+00'"],
    "integer": ["7"],
    "integer[]": ["'{1,NULL}'", "'{{1},{2}}'"],
    "boolean": ["true"],
    "date": ["'0044-03-15 BC'"],
}


def literal(chance, kind, labels=(), wide=0.0):
    """A value of a type, or NULL. `labels` are those of an enum, which `kind` then is."""
    if chance.random() < 0.12:
        return "NULL"
    if labels:
        text = "'" + chance.choice(labels).replace("'", "''") + "'"
    elif kind in WIDE and chance.random() < wide:
        text = chance.choice(WIDE[kind])
    elif kind in PLAIN:
        text = chance.choice(PLAIN[kind])
    elif kind.startswith("character varying"):
        text = chance.choice(["'v'", "''", "'letters'"])
    else:
        return "NULL"
    return f"CAST({text} AS {kind})"
