#include "pipeline/step.h"

#include <gtest/gtest.h>

namespace tailrace::pipeline {
namespace {

using namespace std::chrono_literals;

/// Both clocks begin at once; the source's is a number of microseconds.
class StepTest : public testing::Test {
 protected:
  Step::Clock::time_point at(std::chrono::milliseconds since) const { return begin_ + since; }
  static PgTimestamp source_time(std::chrono::milliseconds since) {
    return {1'000'000'000 + std::chrono::microseconds(since).count()};
  }
  void source(std::chrono::milliseconds when, std::uint64_t flushed) {
    step_.saw_source({at(when), source_time(when), Lsn{flushed}});
  }
  void target(std::chrono::milliseconds when) { step_.saw_target(at(when)); }
  Step::Judgement judge(std::chrono::milliseconds when) { return step_.judge(at(when)); }

  Step step_;
  Step::Clock::time_point begin_ = Step::Clock::now();
};

TEST_F(StepTest, NothingIsKnownBeforeTheFirstContact) {
  EXPECT_EQ(judge(0ms).lag_seconds, -1);
  step_.applied(source_time(-5000ms));
  EXPECT_EQ(judge(0ms).lag_seconds, -1);
  source(0ms, 100);
  EXPECT_EQ(judge(0ms).lag_seconds, 5);
  EXPECT_FALSE(judge(0ms).in_step);
}

TEST_F(StepTest, InStepWhenBothAnsweredAndAllIsReached) {
  source(0ms, 100);
  step_.reached(Lsn{99});
  target(10ms);
  EXPECT_FALSE(judge(20ms).in_step);
  step_.reached(Lsn{100});
  EXPECT_TRUE(judge(20ms).in_step);
  EXPECT_EQ(judge(800ms).lag_seconds, 0);
  // It counts on once nobody asked for a while.
  EXPECT_EQ(judge(3000ms).lag_seconds, 3);
  EXPECT_FALSE(judge(3000ms).in_step);
  EXPECT_FALSE(judge(3000ms).source_answers);
}

TEST_F(StepTest, ATargetThatIsSilentProvesNothing) {
  source(0ms, 100);
  step_.reached(Lsn{100});
  target(10ms);
  for (auto when = 250ms; when <= 4000ms; when += 250ms) source(when, 100);
  auto judged = judge(4000ms);
  EXPECT_TRUE(judged.source_answers);
  EXPECT_FALSE(judged.target_answers);
  EXPECT_FALSE(judged.in_step);
  EXPECT_EQ(judged.lag_seconds, 4);
  target(4100ms);
  EXPECT_TRUE(judge(4100ms).in_step);
}

TEST_F(StepTest, TheAgeOfWhatIsMissing) {
  source(0ms, 100);
  target(0ms);
  step_.reached(Lsn{100});
  EXPECT_TRUE(judge(0ms).in_step);
  source(1000ms, 200);
  target(1000ms);
  // What was committed at the latest right after the look that was reached.
  EXPECT_EQ(judge(1000ms).lag_seconds, 1);
  // Commits come in order: what is older than the last that is there is there.
  step_.applied(source_time(900ms));
  EXPECT_NEAR(judge(1000ms).lag_seconds, 0.1, 1e-6);
  EXPECT_FALSE(judge(1000ms).in_step);
}

TEST_F(StepTest, AnotherServerHasAnotherClockAndAnotherPosition) {
  source(0ms, 100);
  target(0ms);
  step_.reached(Lsn{90});
  step_.saw_source({at(250ms), source_time(-60'000ms), Lsn{90}});
  target(250ms);
  EXPECT_TRUE(judge(300ms).in_step);
  EXPECT_NEAR(judge(5000ms).lag_seconds, 4.75, 1e-6);
}

TEST_F(StepTest, ManyLooksAreKeptMoreCoarsely) {
  target(0ms);
  step_.applied(source_time(0ms));
  for (int i = 1; i <= 40'000; ++i) source(i * 1ms, static_cast<std::uint64_t>(i));
  target(40'000ms);
  step_.reached(Lsn{20'000});
  auto behind = judge(40'000ms).lag_seconds;
  EXPECT_GE(behind, 20);
  EXPECT_LE(behind, 20.1);
}

}  // namespace
}  // namespace tailrace::pipeline
