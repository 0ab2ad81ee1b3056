#include "pipeline/table_copier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

namespace tailrace::pipeline {
namespace {

schema::Table orders() {
  schema::Table out;
  out.schema = "public";
  out.name = "orders";
  out.columns.resize(2);
  out.columns[0].name = "id";
  out.columns[1].name = "Total";
  return out;
}

CopyPart whole_table() {
  return {0, "public", "orders", 0, -1, 10, true};
}

TEST(CopyCommand, CopiesAWholeTableDirectly) {
  EXPECT_EQ(copy_command(orders(), whole_table(), false),
            R"(copy "public"."orders" ("id", "Total") to stdout)");
  EXPECT_EQ(copy_command(orders(), whole_table(), true),
            R"(copy "public"."orders" ("id", "Total") to stdout (format binary))");
}

TEST(CopyCommand, NamesTheLeafAndQuotesIt) {
  CopyPart part{0, "odd\"schema", "leaf 1", 0, -1, 10, true};
  EXPECT_EQ(copy_command(orders(), part, false), R"(copy "odd""schema"."leaf 1" ("id", "Total") to stdout)");
}

TEST(CopyCommand, CutsARangeOfBlocks) {
  CopyPart part{0, "public", "orders", 8192, 16384, 8192, false};
  EXPECT_EQ(
      copy_command(orders(), part, true),
      R"(copy (select "id", "Total" from only "public"."orders" where ctid >= '(8192,0)'::pg_catalog.tid )"
      R"(and ctid < '(16384,0)'::pg_catalog.tid) to stdout (format binary))");
  part.end_block = -1;
  EXPECT_EQ(
      copy_command(orders(), part, false),
      R"(copy (select "id", "Total" from only "public"."orders" where ctid >= '(8192,0)'::pg_catalog.tid) )"
      "to stdout");
}

TEST(CopyCommand, KeepsTheRowFilterApart) {
  schema::Table table = orders();
  table.row_filter = "a or b";
  EXPECT_EQ(copy_command(table, whole_table(), false),
            R"(copy (select "id", "Total" from only "public"."orders" where (a or b)) to stdout)");
  CopyPart part{0, "public", "orders", 0, 8192, 8192, false};
  EXPECT_EQ(copy_command(table, part, false),
            R"(copy (select "id", "Total" from only "public"."orders" where ctid >= '(0,0)'::pg_catalog.tid )"
            R"(and ctid < '(8192,0)'::pg_catalog.tid and (a or b)) to stdout)");
}

TEST(CopyCommand, TakesGeneratedColumnsFromAQuery) {
  schema::Table table = orders();
  table.columns[1].generated = true;
  EXPECT_EQ(copy_command(table, whole_table(), false),
            R"(copy (select "id", "Total" from only "public"."orders") to stdout)");
}

TEST(CopyCommand, CopiesRowsWithoutColumns) {
  schema::Table table = orders();
  table.columns.clear();
  EXPECT_EQ(copy_command(table, whole_table(), false),
            R"(copy (select  from only "public"."orders") to stdout)");
}

TEST(PartSizes, ShrinkTowardsTheEnd) {
  using testing::ElementsAre;
  EXPECT_THAT(part_sizes(40'000, 2),
              ElementsAre(8192, 7952, 5964, 4473, 3354, 2516, 1887, 1415, 1061, 1024, 1024, 1024, 114));
  EXPECT_THAT(part_sizes(3'000, 4), ElementsAre(1024, 1024, 952));
  EXPECT_THAT(part_sizes(0, 4), ElementsAre());
  auto sizes = part_sizes(100'000'000, 4);
  EXPECT_EQ(sizes.front(), 8192);
  EXPECT_EQ(std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0}), 100'000'000);
}

}  // namespace
}  // namespace tailrace::pipeline
