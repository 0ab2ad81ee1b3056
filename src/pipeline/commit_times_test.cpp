#include "pipeline/commit_times.h"

#include <gtest/gtest.h>

namespace tailrace::pipeline {
namespace {

PgTimestamp seconds_ago(std::int64_t seconds) {
  return {PgTimestamp::now().micros - seconds * 1'000'000};
}

TEST(CommitTimes, TheOldestTransactionOfACommitIsItsLatencyOnceDurable) {
  Measures measures;
  CommitTimes times(measures);
  times.add(seconds_ago(20));
  times.add(seconds_ago(40));
  times.commit({10}, true);
  EXPECT_EQ(measures.commit_duration.read().all(), 0U);
  times.arrived({10});
  times.arrived({10});
  EXPECT_EQ(measures.commit_duration.read().all(), 1U);
  times.durable({9});
  EXPECT_EQ(measures.end_to_end_latency.read().all(), 0U);
  times.durable({10});
  times.durable({10});
  EXPECT_EQ(measures.end_to_end_latency.read().all(), 1U);
  EXPECT_NEAR(measures.end_to_end_latency.read().seconds, 40, 2);
}

TEST(CommitTimes, WhatIsUndoneOrChangesNothingIsNotMeasured) {
  Measures measures;
  CommitTimes times(measures);
  times.add(seconds_ago(1));
  times.commit({10}, false);
  times.add(seconds_ago(1));
  times.commit({20}, true);
  times.roll_back();
  times.arrived({20});
  times.durable({20});
  EXPECT_EQ(measures.commit_duration.read().all(), 0U);
  EXPECT_EQ(measures.end_to_end_latency.read().all(), 0U);
}

}  // namespace
}  // namespace tailrace::pipeline
