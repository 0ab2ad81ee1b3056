#include "base/pulse.h"

#include <gtest/gtest.h>

namespace tailrace {
namespace {

using namespace std::chrono_literals;

TEST(Pulse, AStandstillIsToldByItsThreadAndLength) {
  PulseWatch watch;
  PulseWatch::Clock::time_point now{};
  watch.look(now);
  EXPECT_FALSE(watch.longest());
  WorkingThread thread("applier");
  watch.look(now);
  watch.look(now + 10s);
  ASSERT_TRUE(watch.longest());
  EXPECT_EQ(watch.longest()->thread, "applier");
  EXPECT_EQ(watch.longest()->since, 10s);
  beat();
  watch.look(now + 20s);
  EXPECT_EQ(watch.longest()->since, 0s);
}

TEST(Pulse, WhoWaitsForOthersStandsNotStill) {
  PulseWatch watch;
  PulseWatch::Clock::time_point now{};
  WorkingThread thread("applier");
  {
    Waiting waiting;
    Waiting inner;
    watch.look(now);
    watch.look(now + 1h);
    EXPECT_EQ(watch.longest()->since, 0s);
  }
  // The wait may have ended at any time since.
  watch.look(now + 1h + 1s);
  EXPECT_EQ(watch.longest()->since, 0s);
  watch.look(now + 1h + 31s);
  EXPECT_EQ(watch.longest()->since, 30s);
}

TEST(Pulse, AThreadThatEndedIsForgotten) {
  PulseWatch watch;
  {
    WorkingThread thread("reader");
    WorkingThread again("inside");
    watch.look();
    EXPECT_EQ(watch.longest()->thread, "reader");
  }
  watch.look();
  EXPECT_FALSE(watch.longest());
  beat();
  Waiting waiting;
}

}  // namespace
}  // namespace tailrace
