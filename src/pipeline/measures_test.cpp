#include "pipeline/measures.h"

#include <gtest/gtest.h>

namespace tailrace::pipeline {
namespace {

TEST(Histogram, AnEventIsInTheBucketWhoseBoundItDoesNotPass) {
  Histogram histogram;
  histogram.observe(-5);  // clocks differ
  histogram.observe(0.001);
  histogram.observe(0.0011);
  histogram.observe(10'000);
  auto counts = histogram.read();
  EXPECT_EQ(counts.in[0], 2U);
  EXPECT_EQ(counts.in[1], 1U);
  EXPECT_EQ(counts.in.back(), 1U);
  EXPECT_EQ(counts.all(), 4U);
  EXPECT_NEAR(counts.seconds, 10'000.0021, 0.001);
}

TEST(Measures, DifferencesAreThoseThatTablesHadWhenTheyWereComparedLast) {
  Measures measures;
  EXPECT_FALSE(measures.last_compared());
  measures.compared("public.a", 3);
  measures.compared("public.b", 1);
  measures.compared_whole(false);
  EXPECT_EQ(measures.last_compared()->differences, 4);
  EXPECT_EQ(measures.last_compared()->last_success.micros, 0);
  measures.compared("public.a", 0);
  measures.compared_whole(true);
  EXPECT_EQ(measures.last_compared()->differences, 1);
  EXPECT_GT(measures.last_compared()->last_success.micros, 0);
}

}  // namespace
}  // namespace tailrace::pipeline
