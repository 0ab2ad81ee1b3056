// The writer and the renderer against what a real PostgreSQL sends, through a real DuckDB.

#include <duckdb.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <random>
#include <sstream>

#include "pg/codec/digits.h"
#include "pg/codec/float_codec.h"
#include "pg/codec/numeric_codec.h"
#include "target/duckdb/value_renderer.h"
#include "target/duckdb/value_writer.h"
#include "target/duckdb/vector_layout.h"

namespace tailrace::target::duckdb {
namespace {

constexpr std::string_view fixture =
#include "target/duckdb/value_codecs_fixture.inc"
    ;

std::vector<std::string> split(std::string_view line, char separator) {
  std::vector<std::string> out(1);
  for (char c : line) {
    if (c == separator) {
      out.emplace_back();
    } else {
      out.back().push_back(c);
    }
  }
  return out;
}

std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out.push_back(text[i]);
      continue;
    }
    switch (text[++i]) {
      case 't': out.push_back('\t'); break;
      case 'n': out.push_back('\n'); break;
      case 'r': out.push_back('\r'); break;
      case 'v': out.push_back('\v'); break;
      case 'f': out.push_back('\f'); break;
      default: out.push_back(text[i]);
    }
  }
  return out;
}

std::string from_hex(std::string_view hex) {
  std::string out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    out.push_back(static_cast<char>(pg::codec::hex_value(hex[i]) << 4 | pg::codec::hex_value(hex[i + 1])));
  return out;
}

// A row of the fixture, see value_codecs_fixture.py.
struct Pair {
  std::string declared;
  schema::Type type;
  std::int32_t typmod = -1;
  int dimensions = 0;
  std::string sql;
  bool fits = true;
  std::string text;
  bool has_binary = false;
  std::string binary;
};

// The types that the fixture's script creates.
std::shared_ptr<schema::Type> make_type(std::string name, char kind, bool builtin) {
  auto out = std::make_shared<schema::Type>();
  out->name = std::move(name);
  out->kind = kind;
  out->builtin = builtin;
  return out;
}

void complete_domain(schema::Type& type) {
  if (type.name == "price") {
    type.base = make_type("numeric", 'b', true);
    type.base_typmod = (10 << 16 | 2) + 4;
  } else if (type.name == "grid") {
    auto base = make_type("_int4", 'b', true);
    base->element = make_type("int4", 'b', true);
    type.base = base;
    type.base_dimensions = 2;
  }
}

Pair parse_pair(std::string_view line) {
  auto fields = split(line, '\t');
  EXPECT_EQ(fields.size(), 13U) << line;
  Pair out;
  out.declared = fields[0];
  out.type = *make_type(fields[1], fields[2][0], fields[3] == "1");
  complete_domain(out.type);
  if (!fields[4].empty()) {
    auto element = make_type(fields[4], fields[5][0], fields[6] == "1");
    complete_domain(*element);
    out.type.element = element;
  }
  out.typmod = std::stoi(fields[7]);
  out.dimensions = std::stoi(fields[8]);
  out.sql = fields[9];
  out.fits = fields[10] == "ok";
  out.text = unescape(fields[11]);
  out.has_binary = fields[12].starts_with('=');
  if (out.has_binary) out.binary = from_hex(std::string_view(fields[12]).substr(1));
  return out;
}

std::vector<Pair> read_pairs(std::istream& in) {
  std::vector<Pair> out;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) out.push_back(parse_pair(line));
  }
  return out;
}

const std::vector<Pair>& fixture_pairs() {
  static const std::vector<Pair> pairs = [] {
    std::istringstream in{std::string(fixture)};
    return read_pairs(in);
  }();
  return pairs;
}

// One column of values in a data chunk, written and rendered.
class Column {
 public:
  explicit Column(const ColumnType& type) : writer_(type), renderer_(type) {
    logical_ = make_logical_type(type);
    chunk_ = duckdb_create_data_chunk(&logical_, 1);
    writer_.bind(vector());
  }
  ~Column() {
    duckdb_destroy_data_chunk(&chunk_);
    duckdb_destroy_logical_type(&logical_);
  }
  Column(const Column&) = delete;
  Column& operator=(const Column&) = delete;

  duckdb_vector vector() const { return duckdb_data_chunk_get_vector(chunk_, 0); }
  duckdb_data_chunk chunk() const { return chunk_; }
  ValueWriter& writer() { return writer_; }
  void reset() {
    duckdb_data_chunk_reset(chunk_);
    writer_.bind(vector());
  }
  std::string render(idx_t row) {
    renderer_.bind(vector());
    std::string out;
    return renderer_.append_text(row, out) ? out : "<NULL>";
  }

 private:
  duckdb_logical_type logical_ = nullptr;
  duckdb_data_chunk chunk_ = nullptr;
  ValueWriter writer_;
  ValueRenderer renderer_;
};

void check_pairs(const std::vector<Pair>& pairs) {
  std::map<std::string, std::pair<std::unique_ptr<Column>, std::unique_ptr<Column>>> columns;
  for (const Pair& pair : pairs) {
    SCOPED_TRACE(pair.declared + ": " + pair.text.substr(0, 200));
    ColumnType type = map_column(pair.type, pair.typmod, pair.dimensions);
    ASSERT_EQ(type.sql, pair.sql);
    ASSERT_EQ(type.binary_readable, pair.has_binary);
    auto& [column, wide] = columns[pair.declared];
    if (!column) {
      column = std::make_unique<Column>(type);
      wide = std::make_unique<Column>(widen_to_text(type));
    }
    column->reset();
    wide->reset();
    auto expected = pair.fits ? WriteResult::ok : WriteResult::does_not_fit;
    ASSERT_EQ(column->writer().write({ValueKind::text, pair.text}, 0), expected);
    if (pair.fits) {
      ASSERT_EQ(column->render(0), pair.text);
    }
    ASSERT_EQ(wide->writer().write({ValueKind::text, pair.text}, 0), WriteResult::ok);
    ASSERT_EQ(wide->render(0), pair.text);
    if (!pair.has_binary) continue;
    ASSERT_EQ(column->writer().write({ValueKind::binary, pair.binary}, 1), expected);
    if (pair.fits) {
      ASSERT_EQ(column->render(1), pair.text);
    }
    ASSERT_EQ(wide->writer().write({ValueKind::binary, pair.binary}, 1), WriteResult::ok);
    ASSERT_EQ(wide->render(1), pair.text);
  }
}

TEST(ValueCodecs, TextAndBinaryComeBackAsPostgresShowsThem) {
  ASSERT_GT(fixture_pairs().size(), 400U);
  check_pairs(fixture_pairs());
}

// More pairs than a repository should hold: value_codecs_fixture.py --random makes them.
TEST(ValueCodecs, PairsOfAFileComeBackAsPostgresShowsThem) {
  const char* path = std::getenv("TAILRACE_CODEC_PAIRS");
  if (path == nullptr) GTEST_SKIP() << "TAILRACE_CODEC_PAIRS names no file";
  std::ifstream in(path);
  ASSERT_TRUE(in) << path;
  auto pairs = read_pairs(in);
  ASSERT_FALSE(pairs.empty());
  check_pairs(pairs);
}

class Database {
 public:
  explicit Database(const char* path = nullptr) {
    EXPECT_EQ(duckdb_open(path, &database_), DuckDBSuccess);
    EXPECT_EQ(duckdb_connect(database_, &connection_), DuckDBSuccess);
  }
  ~Database() {
    duckdb_disconnect(&connection_);
    duckdb_close(&database_);
  }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  duckdb_connection connection() const { return connection_; }
  void run(const std::string& sql) {
    duckdb_result result;
    EXPECT_EQ(duckdb_query(connection_, sql.c_str(), &result), DuckDBSuccess) << duckdb_result_error(&result);
    duckdb_destroy_result(&result);
  }
  /// The first column's rows as the renderer shows them.
  std::vector<std::string> rendered(const std::string& sql, const ColumnType& type) {
    std::vector<std::string> out;
    duckdb_result result;
    EXPECT_EQ(duckdb_query(connection_, sql.c_str(), &result), DuckDBSuccess) << duckdb_result_error(&result);
    ValueRenderer renderer(type);
    while (duckdb_data_chunk chunk = duckdb_fetch_chunk(result)) {
      renderer.bind(duckdb_data_chunk_get_vector(chunk, 0));
      for (idx_t row = 0; row < duckdb_data_chunk_get_size(chunk); ++row) {
        std::string text;
        out.push_back(renderer.append_text(row, text) ? text : "<NULL>");
      }
      duckdb_destroy_data_chunk(&chunk);
    }
    duckdb_destroy_result(&result);
    return out;
  }

 private:
  duckdb_database database_ = nullptr;
  duckdb_connection connection_ = nullptr;
};

// Every fixture value through the appender into a table of the mapped type, through a checkpoint with its
// compression, and back.
TEST(ValueCodecs, EveryFixtureValueSurvivesATable) {
  std::map<std::string, std::vector<const Pair*>> by_type;
  for (const Pair& pair : fixture_pairs()) {
    if (pair.fits) by_type[pair.declared].push_back(&pair);
  }
  std::string path = testing::TempDir() + fmt::format("value_codecs_{}.duckdb", ::getpid());
  auto database = std::make_unique<Database>(path.c_str());
  for (const auto& [declared, pairs] : by_type) {
    SCOPED_TRACE(declared);
    ColumnType type = map_column(pairs[0]->type, pairs[0]->typmod, pairs[0]->dimensions);
    database->run(fmt::format("CREATE OR REPLACE TABLE t (v {})", type.sql));
    Column column(type);
    std::vector<std::string> expected;
    for (const Pair* pair : pairs) {
      ASSERT_EQ(column.writer().write({ValueKind::text, pair->text}, expected.size()), WriteResult::ok);
      expected.push_back(pair->text);
      ASSERT_EQ(column.writer().write({}, expected.size()), WriteResult::ok);
      expected.emplace_back("<NULL>");
    }
    duckdb_data_chunk_set_size(column.chunk(), expected.size());
    duckdb_appender appender = nullptr;
    ASSERT_EQ(duckdb_appender_create(database->connection(), nullptr, "t", &appender), DuckDBSuccess);
    ASSERT_EQ(duckdb_append_data_chunk(appender, column.chunk()), DuckDBSuccess)
        << duckdb_appender_error(appender);
    ASSERT_EQ(duckdb_appender_destroy(&appender), DuckDBSuccess);
    database->run("CHECKPOINT");
    database.reset();  // so that the rows are read from the file
    database = std::make_unique<Database>(path.c_str());
    ASSERT_EQ(database->rendered("SELECT v FROM t", type), expected);
    // DuckDB itself reads the column as what it claims to be.
    ASSERT_EQ(database->rendered("SELECT typeof(v) FROM t LIMIT 1", widen_to_text(type))[0], type.sql);
  }
  database.reset();
  std::remove(path.c_str());
}

ColumnType builtin(std::string name, std::int32_t typmod = -1) {
  return map_column(*make_type(std::move(name), 'b', true), typmod, 0);
}

ColumnType array_of(std::string name, int dimensions) {
  auto type = make_type("_" + name, 'b', true);
  type->element = make_type(std::move(name), 'b', true);
  return map_column(*type, -1, dimensions);
}

// What PostgreSQL and DuckDB write alike, DuckDB must understand as the same value.
TEST(ValueCodecs, DuckDbMeansTheSame) {
  struct Case {
    std::string name;
    std::string text;
    std::string literal;
  };
  const Case cases[] = {
      {"timetz", "12:34:56.7+05:30", "TIMETZ '12:34:56.7+05:30'"},
      {"timetz", "00:00:00-15:59:59", "TIMETZ '00:00:00-15:59:59'"},
      {"uuid", "12345678-9abc-def0-1234-56789abcdef0", "UUID '12345678-9abc-def0-1234-56789abcdef0'"},
      {"uuid", "ffffffff-ffff-ffff-ffff-ffffffffffff", "UUID 'ffffffff-ffff-ffff-ffff-ffffffffffff'"},
      {"date", "infinity", "DATE 'infinity'"},
      {"date", "-infinity", "DATE '-infinity'"},
      {"date", "0001-02-03 BC", "DATE '0001-02-03 (BC)'"},
      {"date", "5874897-12-31", "DATE '5874897-12-31'"},
      {"timestamp", "infinity", "TIMESTAMP 'infinity'"},
      {"timestamp", "-infinity", "TIMESTAMP '-infinity'"},
      {"timestamp", "2024-02-29 12:34:56.789", "TIMESTAMP '2024-02-29 12:34:56.789'"},
      {"timestamptz", "2024-02-29 12:34:56.789+00", "TIMESTAMPTZ '2024-02-29 12:34:56.789+00'"},
      {"time", "24:00:00", "TIME '24:00:00'"},
      {"interval", "1 year 2 mons 3 days 04:05:06.7", "INTERVAL '14 months 3 days 04:05:06.7'"},
      {"bytea", "\\x00ff", "'\\x00\\xFF'::BLOB"},
      {"float8", "-Infinity", "'-inf'::DOUBLE"},
      {"json", R"({"a": 1})", R"('{"a": 1}'::JSON)"},
  };
  Database database;
  for (const Case& each : cases) {
    SCOPED_TRACE(each.literal);
    ColumnType type = builtin(each.name);
    EXPECT_EQ(database.rendered(fmt::format("SELECT {}", each.literal), type), std::vector{each.text});
    Column column(type);
    ASSERT_EQ(column.writer().write_text(each.text, 0), WriteResult::ok);
    duckdb_data_chunk_set_size(column.chunk(), 1);
    database.run(fmt::format("CREATE OR REPLACE TABLE t (v {})", type.sql));
    duckdb_appender appender = nullptr;
    ASSERT_EQ(duckdb_appender_create(database.connection(), nullptr, "t", &appender), DuckDBSuccess);
    ASSERT_EQ(duckdb_append_data_chunk(appender, column.chunk()), DuckDBSuccess);
    ASSERT_EQ(duckdb_appender_destroy(&appender), DuckDBSuccess);
    EXPECT_EQ(database.rendered(fmt::format("SELECT (v = {})::VARCHAR FROM t", each.literal), builtin("text")),
              std::vector<std::string>{"true"});
  }
}

TEST(ValueCodecs, TimetzBitsAreThoseOfTheCApi) {
  for (std::int32_t offset : {0, 1, -1, 57599, -57599, 19800}) {
    pg::codec::TimeWithZone value{12'345'678'901, offset};
    EXPECT_EQ(timetz_bits(value), duckdb_create_time_tz(value.micros, offset).bits);
  }
}

TEST(ValueWriter, RejectsWhatNoServerSends) {
  const std::pair<const char*, std::vector<std::string>> cases[] = {
      {"bool", {"", "true", "T", "0"}},
      {"int2", {"", "32768", "-32769", "1 ", " 1", "+1", "1.0", "0x1"}},
      {"oid", {"-1", "4294967296"}},
      {"float8", {"", "inf", "nan", "Infinity ", "1e400", "0x1p3", "+1", "-"}},
      {"date",
       {"", "2024-13-01", "2024-02-30", "2023-02-29", "2024-1-1", "0000-01-01", "2024-01-01 AD",
        "99999999-01-01"}},
      {"time", {"25:00:00", "24:00:01", "12:60:00", "12:00:60", "12:00", "12:00:00.1234567", "12:00:00."}},
      {"timetz", {"12:00:00", "12:00:00+16", "12:00:00+1"}},
      {"timestamp",
       {"2024-01-01", "2024-01-01T00:00:00", "2024-01-01 24:00:00", "2024-01-01 00:00:00+00", "Infinity"}},
      {"timestamptz", {"2024-01-01 00:00:00"}},
      {"interval", {"", "1", "1 week", "1 day ", "00:00", "1 year  2 mons", "99999999999 days"}},
      {"uuid", {"", "12345678-9abc-def0-1234-56789abcdef", "12345678-9abc-def0-1234x56789abcdef0"}},
      {"bytea", {"", "\\x0", "\\xgg", "abc"}},
      {"money", {"1.00", "$1", "$1234.00", "$1,23.00", "$92,233,720,368,547,758.08"}},
      {"text", {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "abcdefgh\xe2\x82", "\xe2\x82"}},
      {"json", {"\xff"}},
  };
  for (const auto& [name, texts] : cases) {
    Column column(builtin(name));
    for (const auto& text : texts)
      EXPECT_EQ(column.writer().write_text(text, 0), WriteResult::malformed) << name << ": " << text;
    EXPECT_EQ(column.writer().write({ValueKind::unchanged, {}}, 0), WriteResult::malformed);
  }
  const char* fixed[] = {"bool",  "int2",  "int4",   "int8",      "oid",         "float4",   "float8",
                         "date",  "time",  "timetz", "timestamp", "timestamptz", "interval", "uuid",
                         "money", "jsonb", "inet",   "macaddr",   "bit"};
  for (const char* name : fixed) {
    Column column(builtin(name));
    for (const std::string& bytes : {std::string(), std::string(3, '\0'), std::string(40, '\xff')})
      EXPECT_EQ(column.writer().write_binary(bytes, 0), WriteResult::malformed) << name << ": " << bytes.size();
  }
}

TEST(ValueWriter, DecimalKeepsItsDeclaredScaleOrDoesNotFit) {
  Column column(builtin("numeric", (4 << 16 | 2) + 4));
  auto& writer = column.writer();
  EXPECT_EQ(writer.write_text("99.99", 0), WriteResult::ok);
  for (const char* text : {"100.00", "1.5", "1", "1.500", "NaN", "Infinity", "-Infinity",
                           "123456789012345678901234567890123456789012.00"})
    EXPECT_EQ(writer.write_text(text, 0), WriteResult::does_not_fit) << text;
  for (const char* text : {"", "-", ".5", "1.", "1.2.3", "1e5", "+1.00", " 1.00", "nan"})
    EXPECT_EQ(writer.write_text(text, 0), WriteResult::malformed) << text;
}

TEST(ValueWriter, IntervalsThatPostgres17CallsInfiniteDoNotFit) {
  ColumnType type = builtin("interval");
  Column column(type);
  Column wide(widen_to_text(type));
  std::string high = from_hex("7fffffffffffffff7fffffff7fffffff");
  std::string low = from_hex("80000000000000008000000080000000");
  EXPECT_EQ(column.writer().write_text("infinity", 0), WriteResult::does_not_fit);
  EXPECT_EQ(column.writer().write_text("-infinity", 0), WriteResult::does_not_fit);
  EXPECT_EQ(column.writer().write_binary(high, 0), WriteResult::does_not_fit);
  EXPECT_EQ(column.writer().write_binary(low, 0), WriteResult::does_not_fit);
  ASSERT_EQ(wide.writer().write_binary(high, 0), WriteResult::ok);
  ASSERT_EQ(wide.writer().write_binary(low, 1), WriteResult::ok);
  EXPECT_EQ(wide.render(0), "infinity");
  EXPECT_EQ(wide.render(1), "-infinity");
}

TEST(ValueWriter, HighCharactersBecomeOctalInBothForms) {
  Column column(builtin("char"));
  ASSERT_EQ(column.writer().write_text("\xff", 0), WriteResult::ok);
  ASSERT_EQ(column.writer().write_binary("\xff", 1), WriteResult::ok);
  ASSERT_EQ(column.writer().write_text("\\377", 2), WriteResult::ok);
  for (idx_t row = 0; row < 3; ++row) EXPECT_EQ(column.render(row), "\\377");
  ASSERT_EQ(column.writer().write_binary(std::string_view("\0", 1), 3), WriteResult::ok);
  EXPECT_EQ(column.render(3), "");
}

TEST(ValueWriter, ListsGrowOverManyRowsAndForgetFailedOnes) {
  Column column(array_of("int4", 2));
  auto& writer = column.writer();
  for (int round = 0; round < 2; ++round) {
    std::vector<std::string> expected;
    for (idx_t row = 0; row < duckdb_vector_size(); ++row) {
      // A row that fails half way, its nulls included, must leave no trace in the next one.
      EXPECT_EQ(writer.write_text("{{NULL,NULL,1},{NULL,x,2}}", row), WriteResult::malformed);
      EXPECT_EQ(writer.write_text("{{NULL,NULL},{{NULL},2}}", row), WriteResult::does_not_fit);
      if (row % 7 == 0) {
        expected.emplace_back("<NULL>");
        ASSERT_EQ(writer.write_null(row), WriteResult::ok);
        continue;
      }
      expected.push_back(row % 5 == 0 ? "{}" : fmt::format("{{{{{0},NULL,3}},{{4,5,{0}}}}}", row));
      ASSERT_EQ(writer.write_text(expected.back(), row), WriteResult::ok);
    }
    for (idx_t row = 0; row < expected.size(); ++row) ASSERT_EQ(column.render(row), expected[row]);
    column.reset();
  }
}

TEST(ValueWriter, ListsRejectBrokenArrays) {
  Column column(array_of("text", 1));
  for (const char* text : {"", "{", "}", "{a", "{a,}", "{,a}", "{a}b", "{a b}", "{\"a}", "{\"a\\", "{a\"b\"}",
                           "{\"a\"b}", "a", "{a}}", "{\"\xff\"}"})
    EXPECT_EQ(column.writer().write_text(text, 0), WriteResult::malformed) << text;
  Column nested(array_of("text", 2));
  EXPECT_EQ(nested.writer().write_text("{{}}", 0), WriteResult::malformed);
  auto binary = [](std::string_view hex) { return from_hex(hex); };
  Column numbers(array_of("int4", 1));
  for (const char* hex : {"", "00000001", "000000010000000000000017",
                          "000000010000000000000017"
                          "7fffffff00000001",  // lies about its size
                          "000000010000000000000017"
                          "0000000100000001"
                          "00000004"
                          "0000",
                          "000000010000000000000017"
                          "0000000100000001"
                          "00000003"
                          "000000",
                          "000000010000000000000017"
                          "0000000100000001"
                          "0000000400000001"
                          "00",
                          "000000010000000000000017"
                          "0000000000000001",
                          "ffffffff0000000000000017"})
    EXPECT_EQ(numbers.writer().write_binary(binary(hex), 0), WriteResult::malformed) << hex;
}

TEST(ColumnType, SurvivesSerialization) {
  for (const Pair& pair : fixture_pairs()) {
    ColumnType type = map_column(pair.type, pair.typmod, pair.dimensions);
    for (const ColumnType& each : {type, widen_to_text(type)}) {
      auto parsed = parse_column_type(serialize(each));
      ASSERT_TRUE(parsed) << serialize(each);
      EXPECT_EQ(*parsed, each) << serialize(each);
      EXPECT_EQ(parsed->binary_readable, each.binary_readable);
      EXPECT_EQ(parsed->wire, each.wire);
    }
  }
  EXPECT_EQ(serialize(builtin("numeric", (12 << 16 | 2) + 4)), "decimal(12,2)<numeric");
  EXPECT_EQ(serialize(array_of("int4", 2)), "list(2)<array<int32<int4");
  EXPECT_EQ(serialize(widen_to_text(array_of("int4", 2))), "text<array<int32<int4");
}

TEST(ColumnType, ParseRejectsWhatSerializeDoesNotWrite) {
  for (const char* text :
       {"", "text", "text<", "text<nothing", "nothing<text", "decimal<numeric", "decimal(39,2)<numeric",
        "decimal(4,5)<numeric", "decimal(4,2<numeric", "list(1)<text", "list(0)<array<text<text",
        "list(1)<array", "list(1)<array<list(1)<array<text<text", "text<text<text", "text(1)<text"})
    EXPECT_FALSE(parse_column_type(text)) << text;
}

TEST(ColumnType, WidenedKeepsItsWire) {
  ColumnType type = widen_to_text(builtin("timestamptz"));
  EXPECT_EQ(type.codec, Codec::text);
  EXPECT_EQ(type.sql, "VARCHAR");
  EXPECT_EQ(type.wire, PgWire::timestamptz);
  EXPECT_TRUE(type.binary_readable);
  EXPECT_EQ(widen_to_text(type), type);
  EXPECT_FALSE(type == builtin("text"));
}

// Seeded: the same values in every run.
TEST(ValueCodecs, RandomFloatsReadBackAsThemselves) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 200'000; ++i) {
    auto bits = random();
    auto wide = std::bit_cast<double>(bits);
    auto narrow = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    std::string text;
    double wide_back = 0;
    float narrow_back = 0;
    pg::codec::append_float8(text, wide);
    ASSERT_TRUE(pg::codec::parse_float8(text, wide_back)) << text;
    ASSERT_TRUE(std::isnan(wide) ? std::isnan(wide_back) : wide == wide_back) << text;
    text.clear();
    pg::codec::append_float4(text, narrow);
    ASSERT_TRUE(pg::codec::parse_float4(text, narrow_back)) << text;
    ASSERT_TRUE(std::isnan(narrow) ? std::isnan(narrow_back) : narrow == narrow_back) << text;
  }
}

TEST(ValueCodecs, RandomDatesTimestampsAndIntervalsReadBackAsThemselves) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 200'000; ++i) {
    auto bits = random();
    auto micros = static_cast<std::int64_t>(bits) >> (bits % 40);
    if (micros < -211'813'488'000'000'000 || micros >= 9'223'371'331'200'000'000) micros = 0;
    std::string text;
    std::int64_t back = 0;
    pg::codec::append_timestamptz(text, micros);
    ASSERT_TRUE(pg::codec::parse_timestamptz(text, back)) << text;
    ASSERT_EQ(micros, back) << text;
    auto days = static_cast<std::int32_t>(bits >> 32) >> (bits % 20);
    if (days < -2451545) days = -days;
    if (days > 2145031948) days = 0;
    std::int32_t days_back = 0;
    text.clear();
    pg::codec::append_date(text, days);
    ASSERT_TRUE(pg::codec::parse_date(text, days_back)) << text;
    ASSERT_EQ(days, days_back) << text;
    pg::codec::Interval interval{static_cast<std::int64_t>(random()) >> (random() % 64), days,
                                 static_cast<std::int32_t>(random()) >> (random() % 32)};
    pg::codec::Interval interval_back;
    text.clear();
    pg::codec::append_interval(text, interval);
    ASSERT_TRUE(pg::codec::parse_interval(text, interval_back)) << text;
    ASSERT_EQ(interval.micros, interval_back.micros) << text;
    ASSERT_EQ(interval.days, interval_back.days) << text;
    ASSERT_EQ(interval.months, interval_back.months) << text;
  }
}

TEST(ValueCodecs, RandomDecimalsReadBackAsThemselves) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 200'000; ++i) {
    auto value = static_cast<pg::codec::Int128>(static_cast<pg::codec::UInt128>(random()) << 64 | random());
    value >>= random() % 127;
    int scale = static_cast<int>(random() % 39);
    std::string text;
    pg::codec::append_decimal(text, value, scale);
    pg::codec::Int128 back = 0;
    auto result = pg::codec::decimal_from_text(text, 38, scale, back);
    std::size_t digits = text.size() - text.starts_with('-') - (scale > 0 ? 1 : 0);
    if (digits <= 38) {
      ASSERT_EQ(result, WriteResult::ok) << text;
    }
    if (result == WriteResult::ok) {
      ASSERT_TRUE(value == back) << text;
    }
  }
}

}  // namespace
}  // namespace tailrace::target::duckdb
