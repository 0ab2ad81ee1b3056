#include "serve/http_guard.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

namespace tailrace::serve {
namespace {

TEST(HttpGuard, OnlyNamesThatNobodyElseCanMakeMeanThisMachineDo) {
  for (const char* local :
       {"localhost", "LocalHost:9187", "127.0.0.1", "127.0.0.1:9187", "127.8.0.1", "[::1]:9187"})
    EXPECT_TRUE(is_local_host(local)) << local;
  for (const char* other : {"", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1",
                            "[::2]:80", "[::1", "127.1", "::1", "xlocalhost"})
    EXPECT_FALSE(is_local_host(other)) << other;
}

TEST(HttpGuard, ARequestIsWholeAtItsEmptyLine) {
  EXPECT_EQ(end_of_head("GET / HTTP/1.1\r\nHost: a\r\n"), std::string_view::npos);
  EXPECT_EQ(end_of_head("GET / HTTP/1.1\r\nHost: a\r\n\r"), std::string_view::npos);
  EXPECT_EQ(end_of_head("GET /\r\n\r\nbody"), 9U);
  EXPECT_EQ(end_of_head("GET /\n\nbody"), 7U);
  EXPECT_EQ(end_of_head(""), std::string_view::npos);
}

TEST(HttpGuard, WhatCostsIsLeftOut) {
  EXPECT_EQ(without_useless_headers(
                "GET / HTTP/1.1\r\nRANGE : bytes=0-\r\nHost: range\r\naccept-encoding: br\r\n\r\n"),
            "GET / HTTP/1.1\r\nHost: range\r\n\r\n");
  EXPECT_EQ(without_useless_headers("range: 1"), "");
  EXPECT_EQ(without_useless_headers(""), "");
}

TEST(HttpGuard, KnowsALoopbackAddress) {
  sockaddr_storage address{};
  auto& v4 = reinterpret_cast<sockaddr_in&>(address);
  v4.sin_family = AF_INET;
  v4.sin_addr.s_addr = htonl(0x7F000005);
  EXPECT_TRUE(is_loopback(address));
  v4.sin_addr.s_addr = htonl(0);
  EXPECT_FALSE(is_loopback(address));
  address = {};
  auto& v6 = reinterpret_cast<sockaddr_in6&>(address);
  v6.sin6_family = AF_INET6;
  EXPECT_FALSE(is_loopback(address));
  v6.sin6_addr = in6addr_loopback;
  EXPECT_TRUE(is_loopback(address));
}

}  // namespace
}  // namespace tailrace::serve
