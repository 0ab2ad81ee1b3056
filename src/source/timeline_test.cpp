#include "source/timeline.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace tailrace::source {
namespace {

Checkpoint at(std::uint32_t timeline, std::uint64_t lsn) {
  return {.slot = "s", .system_identifier = "7001", .timeline = timeline, .lsn = {lsn}, .commit_time = {}};
}

const std::vector<TimelineEnd> past = {{1, {0x300}}, {2, {0x500}}};

TEST(Timeline, HistoryFile) {
  EXPECT_EQ(parse_timeline_history("1\t0/300\tno recovery target specified\n\n# words\n2\t0/500\treached\n"),
            past);
  EXPECT_EQ(parse_timeline_history("1\t0/300"), std::vector<TimelineEnd>({{1, {0x300}}}));
  EXPECT_TRUE(parse_timeline_history("").empty());
  EXPECT_TRUE(parse_timeline_history("x\t0/300\t\n1\tnowhere\n1").empty());
}

TEST(Timeline, WhatThePromotedServerHas) {
  EXPECT_NO_THROW(check_history(past, at(1, 0x300), {0x200}));
  EXPECT_NO_THROW(check_history(past, at(2, 0x500), {0x400}));
  EXPECT_THROW(check_history(past, at(1, 0x301), {0x200}), Error);
  EXPECT_THROW(check_history(past, at(1, 0x301), {0x300}), Error);
  EXPECT_THROW(check_history(past, at(2, 0x501), {0x500}), Error);
}

TEST(Timeline, ATimelineOfAnotherBranch) {
  EXPECT_THROW(check_history({{1, {0x300}}}, at(2, 0x200), {0x100}), Error);
}

TEST(Timeline, ACheckpointThatKeptItsFirstTimeline) {
  EXPECT_NO_THROW(check_history(past, at(1, 0x600), {0x600}));
  EXPECT_NO_THROW(check_history(past, at(1, 0x400), {0x400}));
  // It followed the second, and lost the end of that one.
  EXPECT_THROW(check_history(past, at(1, 0x501), {0x500}), Error);
}

}  // namespace
}  // namespace tailrace::source
