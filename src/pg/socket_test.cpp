#include "pg/socket.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

namespace tailrace::pg {
namespace {

using namespace std::chrono_literals;

/// Both ends of a TCP connection: what a Unix socket does is another matter.
class SocketTest : public testing::Test {
 protected:
  SocketTest() {
    int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    auto* any = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(listener, any, length), 0);
    EXPECT_EQ(::listen(listener, 1), 0);
    EXPECT_EQ(::getsockname(listener, any, &length), 0);
    ours_ = ::socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(::connect(ours_, any, length), 0);
    theirs_ = ::accept(listener, nullptr, nullptr);
    ::close(listener);
  }
  ~SocketTest() override {
    hang_up();
    ::close(ours_);
  }

  void say(const std::string& text) {
    ASSERT_EQ(::write(theirs_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void hang_up() {
    if (theirs_ >= 0) ::close(theirs_);
    theirs_ = -1;
  }

  int ours_ = -1;
  int theirs_ = -1;
};

TEST_F(SocketTest, FewerBytesThanTheLeastDoNotWakeButAreThere) {
  set_least_readable(ours_, 4);
  say("abc");
  EXPECT_FALSE(wait_readable(ours_, 20ms));
  EXPECT_EQ(readable_bytes(ours_), 3u);
  say("d");
  EXPECT_TRUE(wait_readable(ours_, 10s));
}

TEST_F(SocketTest, WhatWaitedIsReadableOnceTheLeastIsAByteAgain) {
  set_least_readable(ours_, 4);
  say("abc");
  EXPECT_FALSE(wait_readable(ours_, 20ms));
  set_least_readable(ours_, 1);
  EXPECT_TRUE(wait_readable(ours_, 10s));
}

TEST_F(SocketTest, TheEndWakesHoweverLittleCameBeforeIt) {
  set_least_readable(ours_, 4);
  say("a");
  hang_up();
  EXPECT_TRUE(wait_readable(ours_, 10s));
}

}  // namespace
}  // namespace tailrace::pg
