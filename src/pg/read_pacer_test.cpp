#include "pg/read_pacer.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>

namespace tailrace::pg {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

class ReadPacerTest : public testing::Test {
 protected:
  ~ReadPacerTest() override {
    hang_up();
    ::close(ends_[0]);
  }

  void say(const std::string& text) {
    ASSERT_EQ(::write(ends_[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void hang_up() {
    if (ends_[1] >= 0) ::close(ends_[1]);
    ends_[1] = -1;
  }
  /// As a stream that is behind: a lot, for longer than the pacer looks back.
  void let_much_come() {
    for (auto until = Clock::now() + 50ms; Clock::now() < until;) {
      pacer_.got(100'000);
      pacer_.wait(1ms);
    }
  }

  static std::array<int, 2> connected() {
    std::array<int, 2> ends{-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
    return ends;
  }

  std::array<int, 2> ends_ = connected();
  ReadPacer pacer_{ends_[0], /*unix_socket=*/true};
};

TEST_F(ReadPacerTest, SaysWhetherThereIsSomethingToRead) {
  EXPECT_FALSE(pacer_.wait(1ms));
  say("x");
  EXPECT_TRUE(pacer_.wait(1s));
}

TEST_F(ReadPacerTest, TheEndOfTheConnectionIsSomethingToRead) {
  hang_up();
  EXPECT_TRUE(pacer_.wait(1s));
}

TEST_F(ReadPacerTest, EveryByteIsWorthReadingWhileLittleComes) {
  pacer_.got(1000);
  pacer_.wait(30ms);
  EXPECT_TRUE(pacer_.reads_on());
}

TEST_F(ReadPacerTest, WhatComesMeanwhileIsLeftInTheSocketWhileMuchComes) {
  let_much_come();
  EXPECT_FALSE(pacer_.reads_on());
}

TEST_F(ReadPacerTest, ReadsAtOnceAgainOnceItCaughtUp) {
  let_much_come();
  // The window in which it caught up, and an empty one.
  for (int i = 0; i < 3; ++i) pacer_.wait(30ms);
  EXPECT_TRUE(pacer_.reads_on());
}

}  // namespace
}  // namespace tailrace::pg
