#include "pipeline/column_places.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tailrace::pipeline {
namespace {

using Shape = schema::Catalog::Shape;
using Attnums = std::vector<std::int16_t>;

target::TableRecord recorded(const std::vector<std::pair<std::int16_t, std::string>>& columns) {
  target::TableRecord out;
  for (const auto& [attnum, name] : columns) out.columns.push_back({attnum, name, 25, -1, false, 1});
  return out;
}

Relation described(const std::vector<std::string>& names) {
  Relation out;
  for (const auto& name : names) out.columns.push_back({name, 25, -1, false});
  return out;
}

Shape now(std::int16_t highest, const std::vector<std::pair<std::int16_t, std::string>>& columns) {
  Shape out;
  out.highest_attnum = highest;
  for (const auto& [attnum, name] : columns) out.columns[attnum] = {name, 25, 0, 1, false, std::nullopt};
  return out;
}

const auto known = recorded({{1, "id"}, {2, "a"}, {3, "b"}});

TEST(ColumnPlaces, NothingChanged) {
  auto shape = now(3, {{1, "id"}, {2, "a"}, {3, "b"}});
  EXPECT_EQ(place_columns(known, described({"id", "a", "b"}), shape), (Attnums{1, 2, 3}));
}

TEST(ColumnPlaces, WhatChangesLaterDoesNotMatter) {
  auto then = described({"id", "a", "b"});
  EXPECT_EQ(place_columns(known, then, now(4, {{1, "id"}, {2, "a"}, {3, "b"}, {4, "c"}})), (Attnums{1, 2, 3}));
  EXPECT_EQ(place_columns(known, then, now(3, {{1, "id"}, {3, "b"}})), (Attnums{1, 2, 3}));
  EXPECT_EQ(place_columns(known, then, now(3, {{1, "id"}, {2, "x"}, {3, "y"}})), (Attnums{1, 2, 3}));
  EXPECT_EQ(place_columns(known, then, now(9, {{1, "id"}, {2, "a"}, {3, "b"}})), (Attnums{1, 2, 3}));
}

TEST(ColumnPlaces, AddedDroppedRenamed) {
  auto shape = now(5, {{1, "id"}, {2, "a"}, {3, "b"}, {4, "c"}, {5, "d"}});
  EXPECT_EQ(place_columns(known, described({"id", "a", "b", "c"}), shape), (Attnums{1, 2, 3, 4}));
  EXPECT_EQ(place_columns(known, described({"id", "a", "b", "c", "d"}), shape), (Attnums{1, 2, 3, 4, 5}));
  EXPECT_EQ(place_columns(known, described({"id", "b"}), now(3, {{1, "id"}, {3, "b"}})), (Attnums{1, 3}));
  EXPECT_EQ(place_columns(known, described({"id", "x", "b"}), now(3, {{1, "id"}, {2, "x"}, {3, "b"}})),
            (Attnums{1, 2, 3}));
}

TEST(ColumnPlaces, NamesTraded) {
  EXPECT_EQ(place_columns(known, described({"id", "b", "a"}), now(3, {{1, "id"}, {2, "b"}, {3, "a"}})),
            (Attnums{1, 2, 3}));
  // And back again.
  EXPECT_EQ(place_columns(known, described({"id", "b", "a"}), now(3, {{1, "id"}, {2, "a"}, {3, "b"}})),
            std::nullopt);
}

/// The same description is right for the column before, and for the one after.
TEST(ColumnPlaces, DroppedAndAddedUnderItsName) {
  auto then = described({"id", "a", "b"});
  EXPECT_EQ(place_columns(known, then, now(4, {{1, "id"}, {2, "a"}, {4, "b"}})), std::nullopt);
  EXPECT_EQ(place_columns(known, then, now(5, {{1, "id"}, {4, "a"}, {5, "b"}})), std::nullopt);
  // It went again, and left a gap.
  EXPECT_EQ(place_columns(known, then, now(4, {{1, "id"}, {2, "a"}})), std::nullopt);
}

TEST(ColumnPlaces, CameAndWentAndCame) {
  auto shape = now(5, {{1, "id"}, {2, "a"}, {3, "b"}, {5, "c"}});
  EXPECT_EQ(place_columns(known, described({"id", "a", "b", "c"}), shape), std::nullopt);
}

TEST(ColumnPlaces, SomeOfSeveralDropped) {
  auto four = recorded({{1, "id"}, {2, "a"}, {3, "b"}, {4, "c"}});
  EXPECT_EQ(place_columns(four, described({"id", "b", "c"}), now(4, {{1, "id"}, {4, "c"}})), std::nullopt);
}

TEST(ColumnPlaces, AGeneratedColumnIsNotAlwaysPublished) {
  auto shape = now(5, {{1, "id"}, {2, "a"}, {3, "b"}, {4, "g"}, {5, "c"}});
  shape.columns[4].generated = true;
  EXPECT_EQ(place_columns(known, described({"id", "a", "b", "c"}), shape), (Attnums{1, 2, 3, 5}));
  EXPECT_EQ(place_columns(known, described({"id", "a", "b", "g", "c"}), shape), (Attnums{1, 2, 3, 4, 5}));
}

}  // namespace
}  // namespace tailrace::pipeline
