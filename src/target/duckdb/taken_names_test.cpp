#include "target/duckdb/taken_names.h"

#include <gtest/gtest.h>

namespace tailrace::target::duckdb {
namespace {

TEST(TakenNames, ANameIsFreeForItsOwnerAlone) {
  TakenNames names;
  names.take(1, "Public", "Orders");
  names.take(TakenNames::foreign, "public", "orders_2");
  EXPECT_EQ(names.free_name(1, "public", "orders"), "orders");
  EXPECT_EQ(names.free_name(2, "PUBLIC", "orders"), "orders_3");
  EXPECT_EQ(names.free_name(2, "other", "orders"), "orders");
  EXPECT_TRUE(names.has(TakenNames::foreign, "PUBLIC", "Orders_2"));
  EXPECT_FALSE(names.has(1, "public", "orders_2"));
}

TEST(TakenNames, ItIsGivenBackAsOftenAsItWasTaken) {
  TakenNames names;
  names.take(1, "s", "t");
  names.take(1, "s", "t");
  names.take(3, "s", "t");
  names.give_back(3, "s", "t");
  names.give_back(1, "s", "t");
  EXPECT_EQ(names.free_name(2, "s", "t"), "t_2");
  names.give_back(1, "S", "T");
  EXPECT_EQ(names.free_name(2, "s", "t"), "t");
  names.give_back(1, "s", "t");
  EXPECT_EQ(names.free_name(2, "s", "t"), "t");
}

TEST(TakenNames, NamesAreKeptApartFromTheirSchemas) {
  TakenNames names;
  names.take(1, "a", "b.c");
  names.take(1, "a.b", "d");
  names.take(1, "x", "");
  EXPECT_EQ(names.free_name(2, "a.b", "c"), "c");
  EXPECT_EQ(names.free_name(2, "x", ""), "");
}

TEST(TakenNames, OnlyAsciiIsFolded) {
  TakenNames names;
  names.take(1, "s", "Ärger");
  EXPECT_EQ(names.free_name(2, "s", "ärger"), "ärger");
  EXPECT_EQ(names.free_name(2, "s", "ÄRGER"), "ÄRGER_2");
}

}  // namespace
}  // namespace tailrace::target::duckdb
