#!/usr/bin/env python3
"""Makes the ground truth of the value codecs: what a real PostgreSQL sends for hostile values, in both forms.

    value_codecs_fixture.py CONNINFO > value_codecs_fixture.inc      the rows that the unit test compiles in
    value_codecs_fixture.py CONNINFO --random 100000 > pairs.tsv     more rows: TAILRACE_CODEC_PAIRS=pairs.tsv

Needs a scratch database (PostgreSQL 15), psycopg 3, and the extensions citext, hstore and ltree.
A row: declared type, typname, kind, builtin, element typname, element kind, element builtin, typmod, dimensions,
DuckDB type, ok or widen, text (escaped), binary in hex ("-" where tailrace reads the type as text only).
"""
import random
import struct
import sys

import psycopg

INF = ["infinity", "-infinity"]
DATES = ["2000-01-01", "1970-01-01", "1999-12-31", "2024-02-29", "1900-03-01", "0001-01-01", "0001-01-01 BC",
         "0005-02-29 BC", "0001-02-29 BC", "4714-11-24 BC", "5874897-12-31", "10000-01-01", "1582-10-15", *INF]
STAMPS = ["2024-01-01 00:00:00", "2024-01-01 00:00:00.5", "1999-12-31 23:59:59.999999", "1970-01-01 00:00:00",
          "1969-12-31 23:59:59.999999", "0001-01-01 00:00:00 BC", "4714-11-24 00:00:00 BC",
          "294247-01-10 04:00:54.775806", "10000-01-01 12:00:00.000001", *INF]
LATE_STAMPS = ["294247-01-10 04:00:54.775807", "294276-12-31 23:59:59.999999"]
INTERVALS = ["0", "1 year 2 mons -3 days 04:05:06.7", "-1 sec", "1 mon", "-1 mon", "-1 year", "1 day", "-1 day",
             "1 year -1 mon", "-1 year 1 mon 1 day 1 sec", "-1 days 00:00:01", "25:00:00", "-25:00:00.000001",
             "178956970 years 7 mons", "-178956970 years -8 mons", "2147483647 days", "-2147483648 days",
             "1000000:00:00", "-1 days -00:00:00.5", "1 year 1 day", "12 mons", "13 mons", "-13 mons 24:00:00",
             "2562047788:00:54.775807", "-2562047788:00:54.775807"]
FLOATS8 = ["0", "1", "-1", "0.1", "1e15", "1e14", "123456789012345", "123456789012345680", "1e20", "1e-4",
           "1e-5", "0.00012345", "5e-324", "2.2250738585072014e-308", "2.225073858507201e-308",
           "1.7976931348623157e308", "9007199254740993", "1e23", "8.5e22", "1e22", "3.141592653589793", "NaN",
           "Infinity", "-Infinity", "999999999999999.9", "999999999999999", "1e100", "-1e-100",
           "9.5367431640625e-07", "4.35", "0.3", "1.1e-5", "123456.789", "100000", "1000000"]
FLOATS4 = ["0", "1", "0.1", "100000", "1e6", "123456", "1234567", "1e20", "1e-4", "1e-5", "1e-45",
           "3.4028235e38", "1.17549435e-38", "16777216", "33554432", "8388609", "67108864", "NaN", "Infinity",
           "-Infinity", "3.1415927", "0.3", "1e10", "9.8e9", "2097152.1", "999999.9", "5e-45"]
NUMERICS = ["0", "0.0", "0.000000000000", "1", "-1", "1.10", "10000", "100000000", "9999", "0.0001", "0.00001",
            "0.00000000000000000001", "12345678901234567890.12345678901234567890", "1e100", "1e-100", "NaN",
            "Infinity", "-Infinity", "-0.5", "99999999999999999999999999999999999999999", "1e1000", "1000.0001",
            "10000.10000", "100010001", "0.10", "5e-1000"]
TEXTS = ["", "a", "exactly12byt", "thirteen chars", "NULL", "null", "with,comma", 'quo"te', "back\\slash", "{brace}",
         " lead", "trail ", "tab\tnew\nline\r\v\f", "äöü€𝄞", "\u00a0nbsp", "[1:2]={}", "x" * 300, "'", "\x01\x7f"]
JSONS = ['{"a": 1,  "b":[true,null]}', "1", '"x"', "null", "[]", '{"a":1,"a":2}', "1e400", '"äö\\u0041"', "[1, 2]",
         "12345678901234567890123.10"]
INETS = ["192.168.0.1", "192.168.0.1/24", "0.0.0.0/0", "255.255.255.255", "::", "::1", "::1/64", "2001:db8::1",
         "::ffff:1.2.3.4", "::1.2.3.4", "1::2:0:0:3", "1:0:0:2::3", "fe80::/10", "1:2:3:4:5:6:7:8", "0:1::", "::/0",
         "1:2:3:4:5:6:7:0", "0:0:1::", "1:0:2:0:3:0:4:0", "::1:2", "::ffff:0:1", "::ffff:0.0.0.0/96", "1::"]
UUIDS = ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
         "7fffffff-ffff-ffff-ffff-ffffffffffff", "80000000-0000-0000-0000-000000000000",
         "12345678-9abc-def0-1234-56789abcdef0"]

# declared type -> (DuckDB type, values that fit, values that widen the column)
CASES = {
    "bool": ("BOOLEAN", ["t", "f"], []),
    "int2": ("SMALLINT", ["0", "-32768", "32767"], []),
    "int4": ("INTEGER", ["0", "-2147483648", "2147483647"], []),
    "int8": ("BIGINT", ["0", "-9223372036854775808", "9223372036854775807"], []),
    "oid": ("UINTEGER", ["0", "4294967295"], []),
    "xid": ("UINTEGER", ["0", "4294967295"], []),
    "cid": ("UINTEGER", ["7", "4294967295"], []),
    "xid8": ("UBIGINT", ["0", "18446744073709551615"], []),
    "float4": ("FLOAT", FLOATS4, ["-0"]),
    "float8": ("DOUBLE", FLOATS8, ["-0"]),
    "numeric": ("VARCHAR", NUMERICS, []),
    "numeric(4,2)": ("DECIMAL(4,2)", ["0", "99.99", "-99.99", "0.05", "-0.01", "10"], ["NaN"]),
    "numeric(1)": ("DECIMAL(1,0)", ["0", "9", "-9"], ["NaN"]),
    "numeric(9,9)": ("DECIMAL(9,9)", ["0", "0.000000001", "-0.999999999"], ["NaN"]),
    "numeric(12,2)": ("DECIMAL(12,2)", ["0", "9999999999.99", "-9999999999.99", "10000", "100000000", "0.1"], ["NaN"]),
    "numeric(18,0)": ("DECIMAL(18,0)", ["999999999999999999", "-999999999999999999", "10000000000000000"], []),
    "numeric(38,0)": ("DECIMAL(38,0)", ["9" * 38, "-" + "9" * 38, "1" + "0" * 37, "1" + "0" * 36, "0"], []),
    "numeric(38,37)": ("DECIMAL(38,37)", ["9." + "9" * 37, "-9." + "9" * 37, "0." + "0" * 36 + "1", "1"], ["NaN"]),
    "numeric(38,38)": ("DECIMAL(38,38)", ["0." + "9" * 38, "-0." + "0" * 37 + "1"], []),
    "numeric(38,19)": ("DECIMAL(38,19)", ["9" * 19 + "." + "9" * 19, "1", "-0." + "0" * 18 + "1"], []),
    "numeric(3,5)": ("DECIMAL(5,5)", ["0.00999", "-0.00001", "0"], ["NaN"]),
    "numeric(3,-2)": ("DECIMAL(5,0)", ["12300", "-99900", "0"], ["NaN"]),
    "numeric(38,-1)": ("VARCHAR", ["12340", "NaN"], []),
    "numeric(39,2)": ("VARCHAR", ["9" * 37 + ".10", "NaN"], []),
    "date": ("DATE", DATES, []),
    "time": ("TIME", ["00:00:00", "24:00:00", "23:59:59.999999", "12:34:56.7", "00:00:00.000001"], []),
    "timetz": ("TIME WITH TIME ZONE", ["00:00:00+00", "24:00:00-15:59:59", "24:00:00+15:59:59", "12:34:56.7+05:30",
                                       "01:02:03-03:00:01", "23:59:59.999999-08", "04:05:06-00:30"], []),
    "timestamp": ("TIMESTAMP", STAMPS, LATE_STAMPS),
    "timestamptz": ("TIMESTAMP WITH TIME ZONE", STAMPS, LATE_STAMPS),
    "timestamp(3)": ("TIMESTAMP", ["2024-01-01 00:00:00.1235"], []),
    "interval": ("INTERVAL", INTERVALS, []),
    "uuid": ("UUID", UUIDS, []),
    "bytea": ("BLOB", ["\\x", "\\x00", "\\x00ff10", "\\x" + "ab" * 12, "\\x" + "cd" * 13, "\\x" + "00" * 300], []),
    "text": ("VARCHAR", TEXTS, []),
    "varchar(20)": ("VARCHAR", ["", "varchar"], []),
    "char(5)": ("VARCHAR", ["", "ab", "abcde", "äö"], []),
    "name": ("VARCHAR", ["", "a_name"], []),
    '"char"': ("VARCHAR", ["", "x", " "], []),
    "json": ("JSON", JSONS, []),
    "jsonb": ("JSON", JSONS[:-3] + JSONS[-2:], []),
    "mood": ("VARCHAR", ["sad", "it's \"ok\"", "very, very happy"], []),
    "citext": ("VARCHAR", ["MiXed"], []),
    "money": ("DECIMAL(19,2)", ["0", "1234.56", "-1234.56", "999", "1000", "-0.01", "1000000", "1000001.05",
                                "92233720368547758.07", "-92233720368547758.08", "100000000000"], []),
    "bit(5)": ("VARCHAR", ["00000", "10101"], []),
    "varbit": ("VARCHAR", ["", "1", "11111111", "010101010101"], []),
    "inet": ("VARCHAR", INETS, []),
    "cidr": ("VARCHAR", ["10.0.0.0/8", "1.2.3.4/32", "::/0", "2001:db8::/32", "::1/128", "0.0.0.0/0"], []),
    "macaddr": ("VARCHAR", ["08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff"], []),
    "macaddr8": ("VARCHAR", ["08:00:2b:01:02:03:04:05"], []),
    "pg_lsn": ("VARCHAR", ["0/0", "FFFFFFFF/FFFFFFFF", "16/B374D848"], []),
    "xml": ("VARCHAR", ["<a>1</a>"], []),
    "point": ("VARCHAR", ["(1,-0.5)"], []),
    "int4range": ("VARCHAR", ["[1,5)", "empty"], []),
    "int4multirange": ("VARCHAR", ["{[1,5),[7,9)}"], []),
    "tsvector": ("VARCHAR", ["'a':1 'b c':2"], []),
    "tsquery": ("VARCHAR", ["a & b"], []),
    "pair": ("VARCHAR", ['(1,"a b")'], []),
    "hstore": ("VARCHAR", ["a=>1"], []),
    "ltree": ("VARCHAR", ["a.b.c"], []),
    "regclass": ("VARCHAR", ["pg_class"], []),
    "int2vector": ("VARCHAR", ["1 2 3"], []),
    "price": ("DECIMAL(10,2)", ["1.50", "0"], []),
    "grid": ("INTEGER[][]", ["{{1,2},{3,4}}", "{}"], ["{1,2}"]),
    "int4[]": ("INTEGER[]", ["{}", "{1,NULL,-3}", "{NULL}", "{" + ",".join(map(str, range(3000))) + "}"],
               ["{{1,2},{3,4}}", "[0:1]={5,6}", "[-1:0][2:3]={{1,2},{3,4}}"]),
    "int4[][]": ("INTEGER[][]", ["{}", "{{1,2,3},{4,NULL,6}}"], ["{1}", "{{{1}}}", "[1:1][2:2]={{1}}"]),
    "int4[][][]": ("INTEGER[][][]", ["{}", "{{{1},{2}},{{3},{NULL}}}"], ["{{1}}"]),
    "numeric[]": ("VARCHAR[]", ["{1.10,NaN,NULL,1e100}"], []),
    "numeric(6,2)[]": ("DECIMAL(6,2)[]", ["{1.10,-5,NULL}"], ["{NaN}"]),
    "float8[]": ("DOUBLE[]", [], ["{1.5,NaN,-Infinity,-0}"]),
    "bool[]": ("BOOLEAN[]", ["{t,f,NULL}"], []),
    "text[][]": ("VARCHAR[][]", ['{{a,"b c"},{NULL,""}}', "{}"], []),
    "bytea[]": ("BLOB[]", ['{"\\\\x00ff","\\\\x",NULL}'], []),
    "date[]": ("DATE[]", ["{2024-01-01,infinity}", '{"0001-01-01 BC"}'], []),
    "timestamptz[]": ("TIMESTAMP WITH TIME ZONE[]", ['{"2024-01-01 00:00:00.5+00",infinity,NULL}'],
                      ['{"294276-12-31 23:59:59+00"}']),
    "interval[]": ("INTERVAL[]", ['{"1 day -00:00:01",00:00:00}'], []),
    "uuid[]": ("UUID[]", ["{" + ",".join(UUIDS) + "}"], []),
    "json[]": ("JSON[]", ['{"{\\"a\\": [1, 2]}",NULL,"\\"x\\""}'], []),
    "jsonb[]": ("JSON[]", ['{"{\\"a\\": [1, 2]}",1}'], []),
    "money[]": ("DECIMAL(19,2)[]", ['{"$1,234.56",$0.00}'], []),
    "inet[]": ("VARCHAR[]", ["{192.168.0.1/24,::1}"], []),
    "mood[]": ("VARCHAR[]", ['{sad,"very, very happy"}'], []),
    "price[]": ("DECIMAL(10,2)[]", ["{1.50,NULL}"], []),
    "pair[]": ("VARCHAR[]", ['{"(1,\\"a b\\")","(,)"}'], []),
    "int4range[]": ("VARCHAR[]", ['{"[1,5)",empty}'], []),
    "varbit[]": ("VARCHAR[]", ["{101,01}"], []),
    "box[]": ("VARCHAR", ["{(1,1),(0,0);(2,2),(1,1)}"], []),
    "citext[]": ("VARCHAR[]", ["{Ab,cD}"], []),
    "hstore[]": ("VARCHAR", ['{"\\"a\\"=>\\"1\\""}'], []),
}
CASES["text[]"] = ("VARCHAR[]", TEXTS, [])  # given as parameters, so that no quoting of ours is involved

# Read as text only.
TEXT_ONLY = {"xml", "point", "int4range", "int4multirange", "tsvector", "tsquery", "pair", "hstore", "ltree",
             "regclass", "int2vector", "pair[]", "int4range[]", "box[]", "hstore[]"}


def escape(raw: bytes) -> str:
    text = raw.decode()
    for plain, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\v", "\\v"), ("\f", "\\f")):
        text = text.replace(plain, escaped)
    return text


def prepare(connection):
    connection.execute("""
        SET datestyle = 'ISO, MDY'; SET intervalstyle = postgres; SET extra_float_digits = 3;
        SET bytea_output = hex; SET timezone = 'UTC'; SET client_encoding = 'UTF8'; SET lc_monetary = 'C';
        CREATE EXTENSION IF NOT EXISTS citext; CREATE EXTENSION IF NOT EXISTS hstore;
        CREATE EXTENSION IF NOT EXISTS ltree;
        CREATE TYPE mood AS ENUM ('sad', 'it''s "ok"', 'very, very happy');
        CREATE TYPE pair AS (a int, b text);
        CREATE DOMAIN price AS numeric(10,2);
        CREATE DOMAIN grid AS int[][];""")


def describe(connection, declared):
    """The fields of a row that tell the type."""
    return connection.execute("""
        SELECT t.typname, t.typtype::text, (t.typnamespace = 'pg_catalog'::regnamespace)::int,
               coalesce(e.typname, ''), coalesce(e.typtype::text, ''),
               coalesce((e.typnamespace = 'pg_catalog'::regnamespace)::int, 0), a.atttypmod, a.attndims
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
        WHERE a.attrelid = 'codec_probe'::regclass AND a.attname = 'v'""").fetchone()


def fetch(connection, query, parameters, binary):
    cursor = psycopg.Cursor(connection)
    cursor.execute(query, parameters, binary=binary)
    result = cursor.pgresult
    return [result.get_value(row, 0) for row in range(result.ntuples)]


def emit(connection, declared, sql, values, outcome):
    if not values:
        return
    connection.execute("DROP TABLE IF EXISTS codec_probe")
    connection.execute(f"CREATE TEMP TABLE codec_probe (n serial, v {declared})")
    with connection.cursor() as cursor:
        if declared == "text[]":
            cursor.executemany("INSERT INTO codec_probe(v) VALUES (%s)", [([each, None, each],) for each in values])
        else:
            insert = f"INSERT INTO codec_probe(v) VALUES (cast(%s::text AS {declared}))"
            cursor.executemany(insert, [(each,) for each in values])
    fields = "\t".join(str(each) for each in describe(connection, declared))
    query = "SELECT v FROM codec_probe ORDER BY n"
    texts = fetch(connection, query, None, False)
    binaries = [None] * len(texts) if declared in TEXT_ONLY else fetch(connection, query, None, True)
    for text, binary in zip(texts, binaries):
        hexed = "-" if binary is None else "=" + binary.hex()
        print(declared, fields, sql, outcome, escape(text), hexed, sep="\t")


def random_values(count):
    """declared type -> (DuckDB type, values)"""
    draw = random.Random(20240229)

    def number(digits, scale):
        value = draw.randrange(10 ** draw.randint(1, digits)) * draw.choice([1, -1, 1, 10 ** draw.randint(0, 3)])
        value %= 10 ** digits
        sign = draw.choice(["", "-"])
        text = str(value).rjust(scale + 1, "0")
        return sign + (text[:-scale] + "." + text[-scale:] if scale else text)

    def double():
        while True:
            text = any_double()
            value = float(text)
            if value == 0 or abs(value) >= 5e-324 and abs(value) != float("inf"):
                return text if value else "0"  # the server refuses what underflows

    def any_double():
        kind = draw.randrange(6)
        if kind == 0:
            return repr(struct.unpack("d", draw.randbytes(8))[0]).replace("inf", "Infinity").replace("nan", "NaN")
        if kind == 1:
            return repr(2.0 ** draw.randint(-1074, 1023))
        if kind == 2:
            return f"{draw.randint(1, 9)}e{draw.randint(-323, 308)}"
        if kind == 3:
            return f"{draw.randrange(10 ** draw.randint(1, 17))}e{draw.randint(-30, 30)}"
        if kind == 4:
            return str(draw.randrange(2 ** draw.randint(1, 63)))
        return str(draw.randrange(10 ** draw.randint(1, 12)) / 10 ** draw.randint(0, 8))

    def single():
        while True:
            value = struct.unpack("f", draw.randbytes(4))[0]
            if draw.randrange(3) == 0:
                value = 2.0 ** draw.randint(-149, 127)
            elif draw.randrange(3) == 0:
                value = float(draw.randrange(2 ** draw.randint(1, 40)))
            if value == value and abs(value) != float("inf"):
                return repr(value)

    def interval():
        return (f"{draw.choice([0, draw.randint(-3000, 3000)])} mons {draw.choice([0, draw.randint(-40, 40)])} days "
                f"{draw.choice([0, draw.randint(-10 ** 12, 10 ** 12), draw.randint(-90, 90) * 10 ** 6])} microseconds")

    def inet():
        if draw.randrange(2):
            return ".".join(str(draw.randrange(256)) for _ in range(4)) + f"/{draw.randint(0, 32)}"
        words = [draw.choice([0, 0, draw.randrange(65536), 0xFFFF]) for _ in range(8)]
        return ":".join(f"{each:x}" for each in words) + f"/{draw.randint(0, 128)}"

    def text():
        return "".join(draw.choice('abc "\\{},NUL\tä€') for _ in range(draw.randrange(20)))
    makers = {
        "float8": ("DOUBLE", double), "float4": ("FLOAT", single), "interval": ("INTERVAL", interval),
        "inet": ("VARCHAR", inet), "text[]": ("VARCHAR[]", text),
        "numeric(38,19)": ("DECIMAL(38,19)", lambda: number(38, 19)),
        "numeric(12,2)": ("DECIMAL(12,2)", lambda: number(12, 2)),
        "numeric(38,3)": ("DECIMAL(38,3)", lambda: number(38, 3)),
        "numeric": ("VARCHAR", lambda: number(draw.randint(20, 60), draw.randint(0, 19))),
        "date": ("DATE", lambda: f"J{draw.randrange(draw.choice([5 * 10 ** 6, 2147483494]))}"),
        "money": ("DECIMAL(19,2)", lambda: number(16, 2)),
    }
    for declared, (sql, make) in makers.items():
        yield declared, sql, [make() for _ in range(count)]
    stamp = [f"{draw.randint(1, 9999):04}-{draw.randint(1, 12):02}-{draw.randint(1, 28):02} {draw.randrange(24):02}:"
             f"{draw.randrange(60):02}:{draw.randrange(60):02}.{draw.randrange(10 ** draw.randint(0, 6))}"
             f"{draw.choice(['', ' BC'])}" for _ in range(count)]
    stamp = [each for each in stamp if not (each.endswith("BC") and each[:4] > "4700")]
    yield "timestamp", "TIMESTAMP", stamp
    yield "timestamptz", "TIMESTAMP WITH TIME ZONE", stamp


def main():
    with psycopg.connect(sys.argv[1], prepare_threshold=None) as connection:
        prepare(connection)
        if len(sys.argv) == 4 and sys.argv[2] == "--random":
            for declared, sql, values in random_values(int(sys.argv[3])):
                emit(connection, declared, sql, values, "ok")
        else:
            print('// Made by value_codecs_fixture.py from PostgreSQL 15; do not edit.\nR"FIXTURE(', end="")
            for declared, (sql, good, wide) in CASES.items():
                emit(connection, declared, sql, good, "ok")
                emit(connection, declared, sql, wide, "widen")
            print(')FIXTURE"')
        connection.rollback()


main()
