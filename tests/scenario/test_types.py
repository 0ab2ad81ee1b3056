"""Every built-in type round-trips exactly: the text that PostgreSQL shows equals the text rebuilt from the target,
through copy and stream, in binary and in text. The server's settings for DateStyle and the like are odd ones."""
import pytest

ANY = pytest.param

# Types that travel in binary, too. The values are PostgreSQL literals.
COMMON = {
    "boolean": ["true", "false"],
    "smallint": ["-32768", "0", "32767"],
    "integer": ["-2147483648", "0", "2147483647"],
    "bigint": ["-9223372036854775808", "0", "9223372036854775807"],
    "real": ["0", "-0", "0.1", "3.4028235e38", "1e-45", "NaN", "Infinity", "-Infinity", "16777217"],
    "double precision": ["0", "-0", "0.1", "1.7976931348623157e308", "5e-324", "NaN", "Infinity", "-Infinity",
                         "9007199254740993", "0.30000000000000004"],
    "numeric(5,2)": ["0", "0.01", "-999.99", "999.99", "12.3"],
    "numeric(18,0)": ["999999999999999999", "-1"],
    "numeric(38,10)": ["9999999999999999999999999999.9999999999", "-0.0000000001", "0"],
    "numeric(4,4)": ["0.9999", "-0.0001"],
    "text": ["", " ", "naïve 🐘", "a\\b", "it's", "tab\tand\nnewline", "\\N", "NULL"],
    "varchar(10)": ["", "abc", "abc   "],
    "char(6)": ["", "ab", "abcdef"],
    "name": ["pg_class"],
    "bytea": ["\\x", "\\x00", "\\x0001fe22275c7fff"],
    "uuid": ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
             "123e4567-e89b-12d3-a456-426614174000"],
    "date": ["1970-01-01", "2000-02-29", "0001-01-01", "9999-12-31", "10000-01-01", "0044-03-15 BC", "1582-10-10"],
    "time": ["00:00:00", "23:59:59.999999", "24:00:00", "12:34:56.7"],
    "timestamp": ["1970-01-01 00:00:00", "2024-02-29 23:59:59.999999", "0001-01-01 00:00:00", "1999-12-31 23:59:59.1",
                  "0044-03-15 10:00:00 BC", "20000-01-01 00:00:00", "infinity", "-infinity"],
    "timestamptz": ["1970-01-01 00:00:00+00", "2024-03-31 02:30:00+01", "2024-10-27 02:30:00 Europe/Berlin",
                    "0044-03-15 10:00:00+00 BC", "infinity", "-infinity"],
    "interval": ["0", "1 year 2 mons -3 days 04:05:06.789", "-1 mon +1 day", "-00:00:00.000001", "100 years",
                 "178000000 years"],
    "jsonb": ["{}", "[]", "null", "1.0", '{"a": [1, {"b": null}], "ü": "🐘"}', '"text"'],
    "json": ['{"a":1,  "a":2}', "[1.0, 1e400]", " null "],
}

# The rest of what PostgreSQL has. Some of it becomes text, exactly.
REST = {
    "numeric": ["0", "0.00", "1e100", "-1e-100", "NaN", "12345678901234567890123456789012345678901234567890.5"],
    "numeric(50,10)": ["1234567890123456789012345678901234567890.0000000001", "NaN"],
    "oid": ["0", "4294967295"],
    "xid": ["4294967295"],
    "\"char\"": ["", "a"],
    "money": ["0", "-12345.67", "92233720368547758.07"],
    "timetz": ["00:00:00+00", "12:34:56.789+05:30", "24:00:00-15:59", "23:59:59.999999+15:59"],
    "xml": ["<a>1</a>", "text"],
    "bit(5)": ["00000", "10101"],
    "bit varying(100)": ["", "1", "110011001100110011001"],
    "inet": ["127.0.0.1", "10.1.2.3/8", "::1", "2001:db8::/32"],
    "cidr": ["10.0.0.0/8", "2001:db8::/32"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "point": ["(1,2)", "(0.1,-1e300)"],
    "line": ["{1,2,3}"],
    "lseg": ["[(1,2),(3,4)]"],
    "box": ["(3,4),(1,2)"],
    "path": ["[(1,2),(3,4)]", "((1,2),(3,4))"],
    "polygon": ["((0,0),(1,1),(1,0))"],
    "circle": ["<(1,2),3.5>"],
    "tsvector": ["'a':1A 'fat':2B,4C 'it''s'", ""],
    "tsquery": ["'fat' & ( 'rat' | !'cat':AB )", ""],
    "pg_lsn": ["0/0", "FFFFFFFF/FFFFFFFF"],
    "txid_snapshot": ["10:20:10,14,15"],
    "int4range": ["empty", "[1,5)", "(,3)", "(,)"],
    "numrange": ["[1.10,2.20]"],
    "tstzrange": ['["2024-01-01 00:00:00+00","2024-01-02 00:00:00+00")', "(,infinity]"],
    "daterange": ["[2024-01-01,2024-02-01)"],
    "regclass": ["pg_class", "12345"],
    "regtype": ["integer"],
    "jsonpath": ['$."a"[*]?(@ > 1)'],
    "int2vector": ["1 2 3"],
    "oidvector": ["1 2"],
    "hstore": ['"a"=>"1", "b"=>NULL, "c d"=>"\\"q\\""', ""],
    "mood": ["happy", "so-so", "très 'sad', \"really\""],
    "pair": ['(1,"a b")', "(,)", '(5,"say ""hi""")'],
    "positive": ["1", "2147483647"],
    "short_text": ["", "abc"],
    "int_list": ["{1,2}", "{}"],
}

ARRAYS = {
    "integer[]": ["{}", "{1,NULL,3}", "{-2147483648,2147483647}"],
    "bigint[]": ["{9223372036854775807,NULL}"],
    "text[]": ["{}", '{a,"b,c","d\\"e","f\\\\g",NULL,"NULL",""," "}', "{🐘}"],
    "varchar(5)[]": ["{abc}"],
    "numeric(10,2)[]": ["{1.50,NULL,-99999999.99}"],
    "numeric[]": ["{1.50,1e50}"],
    "boolean[]": ["{t,f,NULL}"],
    "double precision[]": ["{0.1,NaN,-0,Infinity}"],
    "real[]": ["{0.1,NaN}"],
    "uuid[]": ["{123e4567-e89b-12d3-a456-426614174000}"],
    "date[]": ["{2024-01-01,NULL}"],
    "timestamp[]": ['{"2024-01-01 10:00:00.5",infinity}'],
    "timestamptz[]": ['{"2024-01-01 10:00:00+00",NULL}'],
    "time[]": ["{10:00:00}"],
    "interval[]": ['{"1 day 02:03:04"}'],
    "bytea[]": ['{"\\\\x00ff",NULL,"\\\\x"}'],
    "jsonb[]": ['{"{\\"a\\": 1}",NULL}'],
    "json[]": ['{"[1,  2]"}'],
    "mood[]": ["{happy,so-so}"],
    "inet[]": ["{10.0.0.1,::1}"],
    "pair[]": ['{"(1,a)",NULL}'],
    "int4range[]": ['{"[1,5)",empty}'],
    "box[]": ["{(3,4),(1,2);(1,1),(0,0)}"],
    "positive[]": ["{1,2}"],
    "money[]": ["{$1.00}"],
    "char(3)[]": ["{a,abc}"],
}

# A column's DuckDB type is fixed before its values are seen; these do not fit, and must not be altered.
SURPRISING = {
    "numeric(5,2)": ["1.25", "NaN"],
    "numeric(10,3)": ["1.250", "NaN", "0.001"],
    "integer[]": ["{1,2}", "{{1,2},{3,NULL}}", "[5:6]={1,2}", "[0:0][3:3]={{7}}"],
    "text[]": ["{{a,b},{c,d}}", "{x}"],
    "numeric(5,2)[]": ["{1.00,NaN}"],
    "date": ["2024-01-01", "5874897-12-31", "infinity", "-infinity", "4714-11-24 BC"],
    "timestamp": ["2024-01-01 00:00:00", "294276-12-31 23:59:59.999999", "4714-11-24 00:00:00 BC"],
    "timestamptz": ["294276-12-31 23:59:59.999999+00", "4714-11-24 00:00:00+00 BC"],
    "date[]": ["{infinity,2024-01-01}"],
    "timetz": ["00:00:00+15:59:59", "12:00:00-00:00:01"],
}

PRELUDE = """
CREATE EXTENSION hstore; CREATE TYPE mood AS ENUM ('happy', 'so-so', 'très ''sad'', "really"');
CREATE TYPE pair AS (a int, b text); CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE DOMAIN short_text AS varchar(3) NOT NULL; CREATE DOMAIN int_list AS int[]
"""


def quoted(value):
    return "'" + value.replace("'", "''") + "'"


def round_trip(shop, types, binary):
    """One table per type: each value once through the copy, once as an insert, once as an update."""
    shop.execute(PRELUDE)
    tables = {type_name: f"t{number}" for number, type_name in enumerate(types)}
    for type_name, table in tables.items():
        rows = ", ".join(f"({i}, {quoted(value)})" for i, value in enumerate(types[type_name]))
        empty = quoted(types[type_name][0]) if type_name == "short_text" else "NULL"
        shop.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, v {type_name}, note text);"
                     f"COMMENT ON TABLE {table} IS {quoted(type_name)};"
                     f"INSERT INTO {table} (id, v) VALUES {rows}, (1000, {empty}), (1001, {empty})")
    shop.mirror.configure(binary=binary)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    for type_name, table in tables.items():
        for number, value in enumerate(types[type_name]):
            shop.execute(f"INSERT INTO {table} (id, v) VALUES ({100 + number}, {quoted(value)})")
            shop.execute(f"UPDATE {table} SET v = {quoted(value)} WHERE id = 1000")
        shop.execute(f"UPDATE {table} SET note = 'touched' WHERE id < 100")
        shop.execute(f"DELETE FROM {table} WHERE id = 100")
    shop.mirror.wait_caught_up(shop.cluster)
    shop.verified()
    shop.settle()


@pytest.mark.parametrize("binary", ["auto", "off"])
@pytest.mark.parametrize("types", [ANY(COMMON, id="common"), ANY(REST, id="rest"), ANY(ARRAYS, id="arrays"),
                                   ANY(SURPRISING, id="surprising")])
def test_round_trip(shop, types, binary):
    round_trip(shop, types, binary)


@pytest.mark.parametrize("version", [13, 18], ids=lambda version: f"pg{version}")
def test_round_trip_on(shop_on, version):
    round_trip(shop_on(version), COMMON, "auto")


NEWER = {
    14: {"numeric": ["Infinity", "-Infinity", "1"], "numeric(10,2)": ["1"],
         "int4multirange": ["{}", "{[1,5),[7,9)}"], "xid8": ["18446744073709551615"], "pg_snapshot": ["10:20:10"]},
    15: {"numeric(3,-2)": ["12300", "0"], "numeric(2,4)": ["0.0012"]},
    17: {"interval": ["infinity", "-infinity", "1 day"], "interval[]": ["{infinity}"]},
}


@pytest.mark.parametrize("version", NEWER, ids=lambda version: f"pg{version}")
def test_types_of_newer_servers(shop_on, version):
    round_trip(shop_on(version), NEWER[version], "auto")


RANDOM_ROWS = """
INSERT INTO r SELECT i, (random() - 0.5) * 10 ^ (random() * 17), ((random() - 0.5) * 10 ^ (random() * 60 - 30))::float8,
  ((random() - 0.5) * 10 ^ (random() * 20 - 10))::real, (random() * 1e18)::bigint - 500000000000000000,
  timestamptz '2000-01-01' + (random() - 0.5) * interval '3000 years',
  date '2000-01-01' + ((random() - 0.5) * 2e6)::int,
  make_interval(months => ((random() - 0.5) * 5000)::int, days => ((random() - 0.5) * 5000)::int,
                secs => (random() - 0.5) * 1e6),
  decode(repeat(md5(random()::text), (random() * 3)::int), 'hex'), gen_random_uuid(),
  (SELECT string_agg(chr(1 + (random() * 50000)::int), '') FROM generate_series(1, 1 + i %% 9)),
  ARRAY(SELECT NULLIF((random() * 10)::int, 3) FROM generate_series(1, i %% 5)),
  jsonb_build_object('k', random(), 'l', ARRAY[i, NULL]), time '00:00' + random() * interval '24 hours', random() < 0.5
FROM generate_series(%d, %d) i
"""


@pytest.mark.parametrize("binary", ["auto", "off"])
def test_random_values(shop, binary):
    """Thousands of values nobody thought of. The server draws them from a seed."""
    shop.execute("""CREATE TABLE r (id int PRIMARY KEY, n numeric(38,15), d float8, f real, b bigint, ts timestamptz,
        dt date, iv interval, raw bytea, u uuid, t text, l int[], j jsonb, tm time, flag bool)""")
    shop.execute("SELECT setseed(0.25);" + RANDOM_ROWS % (1, 4000))
    shop.mirror.configure(binary=binary)
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    shop.execute("SELECT setseed(0.5);" + RANDOM_ROWS % (4001, 8000))
    shop.execute("UPDATE r SET d = d / 3, n = -n, ts = ts + iv, f = f * 7 WHERE id % 2 = 0")
    assert shop.settle() == 8000
