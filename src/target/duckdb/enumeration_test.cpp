// Enums as DuckDB's own, through a real DuckDB.

#include <duckdb.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "target/duckdb/value_renderer.h"
#include "target/duckdb/value_writer.h"

namespace tailrace::target::duckdb {
namespace {

schema::Type enum_of(std::vector<std::string> labels) {
  schema::Type out;
  out.name = "mood";
  out.kind = 'e';
  out.labels = std::move(labels);
  return out;
}

std::optional<ColumnType> as_enum(const schema::Type& type) {
  return map_column(type, -1, 0, *ChosenType::parse("ENUM"));
}

std::vector<std::string> many(std::size_t count) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(fmt::format("label {}", i));
  return out;
}

TEST(Enumeration, IsSpelledAsDuckDbSpellsIt) {
  auto type = as_enum(enum_of({"sad", "it's", "", "a,b"}));
  ASSERT_TRUE(type);
  EXPECT_EQ(type->sql, "ENUM('sad','it''s','','a,b')");
  EXPECT_EQ(type->shown(), "ENUM");
  EXPECT_TRUE(type->binary_readable);
  auto wider = widen_to_text(*type);
  EXPECT_EQ(wider.sql, "VARCHAR");
  EXPECT_EQ(wider, map_column(enum_of({}), -1, 0));
}

TEST(Enumeration, SurvivesSerialization) {
  for (const auto& labels : {std::vector<std::string>{"sad"}, {"it's", "''", "'", "(,)<", ""}, many(300)}) {
    auto type = as_enum(enum_of(labels));
    ASSERT_TRUE(type);
    auto back = parse_column_type(serialize(*type));
    ASSERT_TRUE(back) << serialize(*type);
    EXPECT_EQ(*back, *type);
    EXPECT_EQ(back->labels->all(), labels);
  }
  for (const char* text :
       {"enum<text", "enum()<text", "enum('a'<text", "enum('a)<text", "enum('a',)<text", "enum(a)<text"})
    EXPECT_FALSE(parse_column_type(text)) << text;
}

TEST(Enumeration, IsNothingThatDuckDbCannotBe) {
  EXPECT_FALSE(as_enum(enum_of({})));
  EXPECT_FALSE(as_enum(enum_of({"good", "\xff"})));
  schema::Type text;
  text.name = "text";
  text.builtin = true;
  EXPECT_FALSE(as_enum(text));
  schema::Type domain;
  domain.kind = 'd';
  domain.base = std::make_shared<schema::Type>(enum_of({"sad"}));
  EXPECT_TRUE(as_enum(domain));
  schema::Type array;
  array.name = "_mood";
  array.element = domain.base;
  EXPECT_FALSE(as_enum(array));
}

/// DuckDB's places are of one, two or four bytes by the number of labels.
TEST(Enumeration, ComesBackFromAVector) {
  for (std::size_t count : {1U, 255U, 256U, 65'535U, 65'536U, 70'000U}) {
    auto labels = many(count);
    auto type = as_enum(enum_of(labels));
    ASSERT_TRUE(type);
    duckdb_logical_type logical = make_logical_type(*type);
    auto internal = duckdb_enum_internal_type(logical);
    EXPECT_EQ(internal, type->labels->width() == 1   ? DUCKDB_TYPE_UTINYINT
                        : type->labels->width() == 2 ? DUCKDB_TYPE_USMALLINT
                                                     : DUCKDB_TYPE_UINTEGER)
        << count;
    duckdb_data_chunk chunk = duckdb_create_data_chunk(&logical, 1);
    ValueWriter writer(*type);
    writer.bind(duckdb_data_chunk_get_vector(chunk, 0));
    EXPECT_EQ(writer.write_text(labels.front(), 0), WriteResult::ok);
    EXPECT_EQ(writer.write_binary(labels.back(), 1), WriteResult::ok);
    EXPECT_EQ(writer.write_text("other", 2), WriteResult::does_not_fit);
    EXPECT_EQ(writer.write_null(2), WriteResult::ok);
    ValueRenderer renderer(*type);
    renderer.bind(duckdb_data_chunk_get_vector(chunk, 0));
    std::string text;
    EXPECT_TRUE(renderer.append_text(0, text));
    EXPECT_EQ(text, labels.front());
    text.clear();
    EXPECT_TRUE(renderer.append_text(1, text));
    EXPECT_EQ(text, labels.back());
    EXPECT_FALSE(renderer.append_text(2, text));
    duckdb_destroy_data_chunk(&chunk);
    duckdb_destroy_logical_type(&logical);
  }
}

}  // namespace
}  // namespace tailrace::target::duckdb
