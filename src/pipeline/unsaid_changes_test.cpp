#include "pipeline/unsaid_changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tailrace::pipeline {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

target::TableRecord recorded(const std::string& storage, const std::string& membership = "p1") {
  target::TableRecord out;
  out.storage = storage;
  out.membership = membership;
  return out;
}

schema::Table now(std::vector<schema::Heap> heaps, bool partitioned = false) {
  schema::Table out;
  out.partitioned = partitioned;
  out.storage.heaps = std::move(heaps);
  return out;
}

TEST(UnsaidChanges, NothingHappened) {
  EXPECT_FALSE(unsaid_changes(recorded("2 10/20/30"), now({{10, 20, 30, "", 5}}), {}).reason);
  EXPECT_FALSE(unsaid_changes(recorded(""), now({{10, 21, 31, "", 5}}), {}).reason);
}

TEST(UnsaidChanges, TheToastTableTellsARewriteFromAVacuum) {
  EXPECT_FALSE(unsaid_changes(recorded("2 10/20/30"), now({{10, 21, 30, "", 5}}), {}).reason);
  auto rewritten = unsaid_changes(recorded("2 10/20/30"), now({{10, 21, 31, "", 5}}), {});
  EXPECT_TRUE(rewritten.reason);
  EXPECT_FALSE(rewritten.may_be_said);
}

TEST(UnsaidChanges, WithoutToastATruncateIsWaitedFor) {
  auto table = now({{10, 21, 0, "", 5}});
  auto suspect = unsaid_changes(recorded("2 10/20/0"), table, {});
  EXPECT_TRUE(suspect.reason);
  EXPECT_TRUE(suspect.may_be_said);
  EXPECT_FALSE(unsaid_changes(recorded("2 10/20/0"), table, 5U).reason);
  // Something touched the table after it.
  EXPECT_TRUE(unsaid_changes(recorded("2 10/20/0"), table, 4U).reason);
}

TEST(UnsaidChanges, WhatAPublicationNamesIsNeverUnlogged) {
  auto table = now({{10, 21, 0, "", 5}});
  EXPECT_FALSE(unsaid_changes(recorded("2 10/20/0", "r7"), table, {}).reason);
  EXPECT_FALSE(unsaid_changes(recorded("2 10/20/0", "p1 r7"), table, {}).reason);
  EXPECT_TRUE(unsaid_changes(recorded("2 10/20/0", "s7.8"), table, {}).reason);
  table.partition = true;
  EXPECT_TRUE(unsaid_changes(recorded("2 10/20/0", "r7"), table, {}).reason);
  // A new expression of a generated column rewrites it.
  schema::Column computed;
  computed.generated = true;
  table.partition = false;
  table.columns = {computed};
  EXPECT_TRUE(unsaid_changes(recorded("2 10/20/0", "r7"), table, {}).reason);
}

TEST(UnsaidChanges, Partitions) {
  auto record = recorded("2 10/20/30/5 11/21/31/5");
  auto same = now({{10, 20, 30, "5", 5}, {11, 21, 31, "5", 5}}, true);
  EXPECT_FALSE(unsaid_changes(record, same, {}).reason);
  auto gone = unsaid_changes(record, now({{10, 20, 30, "5", 5}}, true), {});
  EXPECT_TRUE(gone.reason);
  EXPECT_FALSE(gone.may_be_said);
  EXPECT_FALSE(unsaid_changes(record, now({{10, 20, 30, "6", 5}, {11, 21, 31, "5", 5}}, true), {}).may_be_said);
  auto fresh =
      unsaid_changes(record, now({{10, 20, 30, "5", 5}, {11, 21, 31, "5", 5}, {12, 12, 0, "6", 6}}, true), {});
  EXPECT_FALSE(fresh.reason);
  EXPECT_THAT(fresh.newcomers, ElementsAre(12));
  auto truncated = now({{10, 22, 30, "5", 7}, {11, 23, 31, "5", 7}}, true);
  EXPECT_TRUE(unsaid_changes(record, truncated, {}).may_be_said);
  EXPECT_FALSE(unsaid_changes(record, truncated, 7U).reason);
  truncated.storage.heaps[0].version = 8;
  EXPECT_TRUE(unsaid_changes(record, truncated, 7U).reason);
  // What nothing can explain weighs more.
  truncated.storage.heaps.pop_back();
  EXPECT_FALSE(unsaid_changes(record, truncated, {}).may_be_said);
  EXPECT_THAT(unsaid_changes(record, truncated, {}).newcomers, IsEmpty());
}

TEST(UnsaidChanges, TheColumnsStayAsRecorded) {
  schema::Storage storage{9, {{10, 21, 30, "", 5}}};
  EXPECT_EQ(storage_to_record(recorded("2 10/20/30"), storage), "2 10/21/30");
  auto unknown = recorded("");
  unknown.columns = {{1, "id", 23, -1, true, 1}, {4, "a", 25, -1, false, 1}};
  EXPECT_EQ(storage_to_record(unknown, storage), "4 10/21/30");
}

TEST(UnsaidChanges, WhatMayBeRewritten) {
  EXPECT_FALSE(may_be_rewritten(recorded("2 10/20/30"), 21, 30));
  EXPECT_TRUE(may_be_rewritten(recorded("2 10/20/30"), 21, 31));
  EXPECT_TRUE(may_be_rewritten(recorded("2 10/20/0"), 21, 0));
  EXPECT_FALSE(may_be_rewritten(recorded("2 10/20/0"), 20, 30));
  EXPECT_TRUE(may_be_rewritten(recorded("2 10/20/30"), 0, 0));
  auto unknown = recorded("");
  unknown.filenode = 20;
  EXPECT_FALSE(may_be_rewritten(unknown, 20, 30));
  EXPECT_TRUE(may_be_rewritten(unknown, 21, 30));
}

}  // namespace
}  // namespace tailrace::pipeline
