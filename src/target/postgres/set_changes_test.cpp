#include "target/postgres/set_changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/tuple_builder.h"

namespace tailrace::target::postgres {
namespace {

using testing::ElementsAre;

class SetChangesTest : public testing::Test {
 protected:
  SetChangesTest() {
    TargetTable table;
    table.schema = "s";
    table.name = "t";
    for (const char* name : {"v", "id"}) {
      TargetColumn column;
      column.name = name;
      table.columns.push_back(column);
    }
    table.primary_key = {"id"};
    auto relation = std::make_shared<Relation>(
        Relation{1, "s", "t", ReplicaIdentity::by_default, {{"v", 25, -1, false}, {"id", 23, -1, true}}});
    plan_ = std::make_unique<TablePlan>(1, relation, table);
  }

  TupleData row(const std::string& id) { return store_.make({text_cell("value"), text_cell(id)}); }
  void goes(const std::string& id) { batch_.deletes.push_back({row(id)}); }
  void comes(const std::string& id, std::uint32_t replaces = no_index) {
    batch_.rows.push_back({.tuple = row(id), .replaces = replaces});
  }
  SetChanges changes() { return SetChanges::of(*plan_, batch_); }
  static std::vector<std::uint32_t> indexes(const std::vector<SetChanges::Keyed>& changes) {
    std::vector<std::uint32_t> out;
    for (const auto& change : changes) out.push_back(change.index);
    return out;
  }

  TupleStore store_;
  std::unique_ptr<TablePlan> plan_;
  TableBatch batch_;
};

TEST_F(SetChangesTest, ARowThatComesBackIsAnUpdateAndAllAreSortedByKey) {
  goes("30");
  goes("10");
  goes("20");
  comes("20", 2);
  comes("99");
  auto found = changes();
  EXPECT_THAT(indexes(found.deletes), ElementsAre(1, 0));
  EXPECT_THAT(indexes(found.updates), ElementsAre(0));
  EXPECT_THAT(found.inserts, ElementsAre(1));
}

TEST_F(SetChangesTest, ALargeValueThatMovesToAnotherKeyNeedsTheSourcesOrder) {
  goes("1");
  batch_.rows.push_back({.tuple = row("2"), .lookup = 0});
  EXPECT_THROW(changes(), RowOrderNeeded);
}

TEST_F(SetChangesTest, WhatAnEarlierOneTouchesIsHeldBack) {
  for (const char* id : {"1", "2"}) goes(id);
  comes("2", 1);
  comes("3");
  comes("4");
  auto mine = changes();
  TableBatch earlier;
  earlier.deletes.push_back({row("3")});
  earlier.rows.push_back({.tuple = row("1")});
  auto before = SetChanges::of(*plan_, earlier);
  SetChanges later;
  mine.split_off(*plan_, batch_, before.touched(*plan_, earlier), true, later);
  EXPECT_THAT(indexes(later.deletes), ElementsAre(0));
  EXPECT_THAT(later.inserts, ElementsAre(1));
  EXPECT_THAT(indexes(mine.updates), ElementsAre(0));
  EXPECT_THAT(mine.inserts, ElementsAre(2));
  EXPECT_EQ(mine.count() + later.count(), 4U);
  mine.move_all(later);
  EXPECT_EQ(mine.count(), 0U);
  EXPECT_THAT(indexes(later.updates), ElementsAre(0));
  EXPECT_THAT(later.inserts, ElementsAre(1, 2));
  EXPECT_EQ(later.count(), 4U);
}

TEST(DenseIntegers, AreFoundByHowManyLieInBetween) {
  using namespace std::string_view_literals;
  auto range = [](const std::vector<std::string_view>& keys) {
    auto found = dense_integers(keys);
    return found ? std::vector<std::int64_t>{found->first, found->last} : std::vector<std::int64_t>{};
  };
  EXPECT_THAT(range({"\0\0\0\7"sv, "\0\0\0\2"sv, "\0\0\0\4"sv}), ElementsAre(2, 7));
  EXPECT_THAT(range({"\0\0\0\2"sv, "\0\0\0\x0b"sv, "\0\0\0\4"sv}), ElementsAre());
  EXPECT_THAT(range({"\xff\xfe"sv, "\0\1"sv}), ElementsAre(-2, 1));
  EXPECT_THAT(range({"\x80\0\0\0\0\0\0\0"sv, "\x7f\xff\xff\xff\xff\xff\xff\xff"sv}), ElementsAre());
  EXPECT_THAT(range({}), ElementsAre());
}

TEST(KeyFilter, ForgetsNoKeyAndFindsFewOthers) {
  constexpr int keys = 60'000;
  KeyFilter filter(keys);
  for (int i = 0; i < keys; ++i) filter.add(std::to_string(i));
  int others = 0;
  for (int i = 0; i < keys; ++i) {
    EXPECT_TRUE(filter.may_contain(std::to_string(i)));
    others += filter.may_contain("other " + std::to_string(i)) ? 1 : 0;
  }
  EXPECT_LT(others, keys / 200);
}

}  // namespace
}  // namespace tailrace::target::postgres
