#include "base/kill_point.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>

namespace tailrace {
namespace {

void pass(int times) {
  for (int i = 0; i < times; ++i) kill_point("base.test.passed");
}

/// A death test of this style starts the program anew, which then reads the variable.
class KillPointDeathTest : public testing::Test {
 protected:
  KillPointDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
  ~KillPointDeathTest() override { unsetenv("TAILRACE_KILL_POINT"); }
};

TEST_F(KillPointDeathTest, DoesNothingUnlessItIsNamed) {
  pass(1);
  setenv("TAILRACE_KILL_POINT", "base.test.other", 1);
  EXPECT_EXIT((pass(3), std::_Exit(7)), testing::ExitedWithCode(7), "");
}

TEST_F(KillPointDeathTest, EndsTheProcessAtTheNamedPassage) {
  setenv("TAILRACE_KILL_POINT", "base.test.passed", 1);
  EXPECT_EXIT((pass(1), std::_Exit(7)), testing::KilledBySignal(SIGKILL), "");
  setenv("TAILRACE_KILL_POINT", "base.test.passed:3", 1);
  EXPECT_EXIT((pass(2), std::_Exit(7)), testing::ExitedWithCode(7), "");
  EXPECT_EXIT((pass(3), std::_Exit(7)), testing::KilledBySignal(SIGKILL), "");
}

}  // namespace
}  // namespace tailrace
