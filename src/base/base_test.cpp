// The small vocabulary of base: positions, bytes, text.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <random>

#include "base/arena.h"
#include "base/byte_reader.h"
#include "base/error.h"
#include "base/json.h"
#include "base/lsn.h"
#include "base/printable.h"
#include "base/short_turns.h"

namespace tailrace {
namespace {

TEST(Lsn, IsWrittenAsPostgresDoes) {
  EXPECT_EQ(Lsn{}.str(), "0/0");
  EXPECT_EQ(Lsn{0x0000000A00000BCD}.str(), "A/BCD");
  EXPECT_EQ(Lsn{UINT64_MAX}.str(), "FFFFFFFF/FFFFFFFF");
  EXPECT_FALSE(Lsn{}.valid());
  EXPECT_LT(Lsn{0xFFFFFFFF}, Lsn{0x100000000});
}

TEST(Lsn, IsReadBack) {
  for (std::uint64_t value :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{0x123456789ABCDEF0}, UINT64_MAX}) {
    EXPECT_EQ(Lsn::parse(Lsn{value}.str()), Lsn{value});
  }
  EXPECT_EQ(Lsn::parse("a/bcd"), Lsn{0x0000000A00000BCD});
  for (const char* wrong :
       {"", "/", "0", "0/", "/0", "0/0/0", "0/0 ", " 0/0", "g/0", "0x1/0", "-1/0", "100000000/0"}) {
    EXPECT_FALSE(Lsn::parse(wrong).has_value()) << wrong;
  }
}

TEST(PgTimestamp, IsShownInUtc) {
  EXPECT_EQ(PgTimestamp{0}.str(), "2000-01-01T00:00:00.000000Z");
  EXPECT_EQ(PgTimestamp{1}.str(), "2000-01-01T00:00:00.000001Z");
  EXPECT_EQ(PgTimestamp{-1}.str(), "1999-12-31T23:59:59.999999Z");
  EXPECT_EQ(PgTimestamp{763'430'400'500'000}.str(), "2024-03-11T00:00:00.500000Z");
  EXPECT_GT(PgTimestamp::now(), PgTimestamp{763'430'400'500'000});
}

TEST(Json, EscapesWhatMustBeEscaped) {
  EXPECT_EQ(json_quote(""), R"("")");
  EXPECT_EQ(json_quote("plain \xC3\xA9"), "\"plain \xC3\xA9\"");
  EXPECT_EQ(json_quote("a\"b\\c/d"), R"("a\"b\\c/d")");
  EXPECT_EQ(json_quote("\n\r\t\b\f"), R"("\n\r\t\u0008\u000c")");
  EXPECT_EQ(json_quote(std::string_view("\0\x1f\x7f", 3)), "\"\\u0000\\u001f\x7f\"");
  std::string out = "x";
  append_json_string(out, "\n");
  EXPECT_EQ(out, R"(x"\n")");
}

TEST(ByteReader, ReadsBigEndian) {
  ByteReader in(std::string_view("\x01\x02\x03\xff\xff\xff\xff\xfe\x80\0\0\0\0\0\0\x01text\0rest", 25));
  EXPECT_EQ(in.u8(), 1);
  EXPECT_EQ(in.u16(), 0x0203);
  EXPECT_EQ(in.i32(), -1);
  EXPECT_EQ(in.u8(), 0xFE);
  EXPECT_EQ(in.i64(), INT64_MIN + 1);
  EXPECT_EQ(in.c_string(), "text");
  EXPECT_EQ(in.remaining(), 4u);
  EXPECT_EQ(in.bytes(4), "rest");
  EXPECT_TRUE(in.at_end());
  EXPECT_EQ(in.bytes(0), "");
}

TEST(ByteReader, NeverReadsPastTheEnd) {
  std::string_view bytes("\x01\x02\x03", 3);
  EXPECT_THROW(ByteReader(bytes).u32(), Error);
  EXPECT_THROW(ByteReader(bytes).u64(), Error);
  EXPECT_THROW(ByteReader(bytes).bytes(4), Error);
  EXPECT_THROW(ByteReader(bytes).bytes(SIZE_MAX), Error);
  EXPECT_THROW(ByteReader(bytes).c_string(), Error);
  EXPECT_THROW(ByteReader(std::string_view()).u8(), Error);
  EXPECT_THROW(ByteReader(std::string_view()).c_string(), Error);
  ByteReader in(bytes);
  EXPECT_THROW(in.u32(), Error);
  // What failed took nothing.
  EXPECT_EQ(in.u16(), 0x0102);
}

TEST(ByteReader, StoresWhatItLoads) {
  std::byte raw[8];
  store_big_endian(raw, std::uint32_t{0x01020304});
  EXPECT_EQ(static_cast<int>(raw[0]), 1);
  EXPECT_EQ(load_big_endian<std::uint32_t>(raw), 0x01020304u);
  store_big_endian(raw, std::int64_t{-2});
  EXPECT_EQ(load_big_endian<std::int64_t>(raw), -2);
  store_big_endian(raw, std::uint16_t{0xABCD});
  EXPECT_EQ(load_big_endian<std::uint16_t>(raw), 0xABCD);
}

TEST(Arena, KeepsWhatItIsGiven) {
  std::mt19937 random(1);
  Arena arena;
  std::vector<std::pair<std::string, const std::byte*>> kept;
  std::size_t total = 0;
  auto keep = [&](std::size_t size) {
    std::string bytes(size, static_cast<char>('a' + random() % 26));
    kept.emplace_back(bytes, arena.copy(bytes.data(), bytes.size()));
    total += size;
  };
  for (int i = 0; i < 2000; ++i) keep(random() % 1000);
  for (std::size_t size :
       {Arena::block_size / 4, Arena::block_size / 4 + 1, Arena::block_size, Arena::block_size * 3})
    keep(size);
  for (int i = 0; i < 2000; ++i) keep(random() % 1000);
  Arena moved = std::move(arena);
  for (const auto& [bytes, at] : kept) {
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), reinterpret_cast<const char*>(at)));
  }
  EXPECT_GE(moved.footprint(), total);
  EXPECT_LE(moved.footprint(), total + 3 * Arena::block_size);
}

TEST(Arena, ReservesNothingBeforeItIsUsed) {
  EXPECT_EQ(Arena().footprint(), 0u);
  Arena arena;
  arena.copy("", 0);
  EXPECT_EQ(arena.footprint(), 0u);
  arena.allocate(1);
  EXPECT_EQ(arena.footprint(), Arena::block_size);
}

TEST(Error, TellsItsContextAndRemedy) {
  Error error(Retry::transient, "connection lost", "Wait");
  error.with_context("copying public.orders").with_sqlstate("08006");
  EXPECT_EQ(error.message(), "copying public.orders: connection lost");
  EXPECT_STREQ(error.what(), "copying public.orders: connection lost. Wait");
  EXPECT_EQ(error.sqlstate(), "08006");
  EXPECT_EQ(to_string(error.retry()), "transient");
  EXPECT_STREQ(Error(Retry::fatal, "no remedy").what(), "no remedy");
}

TEST(Error, IsWhatABrokenInvariantThrows) {
  try {
    TAILRACE_CHECK(1 + 1 == 3);
    FAIL() << "went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.retry(), Retry::fatal);
    EXPECT_THAT(error.message(), testing::HasSubstr("1 + 1 == 3"));
  }
}

TEST(Arena, WhatWasMovedFromWritesIntoNobodysBlock) {
  Arena one;
  one.allocate(8);
  Arena other(std::move(one));
  const auto* next = other.allocate(8);
  EXPECT_EQ(one.left(), 0U);  // NOLINT(bugprone-use-after-move)
  EXPECT_NE(one.allocate(8), next + 8);
  Arena third;
  third = std::move(other);
  EXPECT_EQ(other.footprint(), 0U);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(third.allocate(8), next + 8);
}

/// sched_attr's eight bytes at this place: 2 is niceness and priority, 3 the length of a turn.
std::uint64_t scheduled(std::size_t place) {
  std::array<std::uint64_t, 6> attributes{48};
  EXPECT_EQ(syscall(SYS_sched_getattr, 0, attributes.data(), sizeof attributes, 0), 0);
  return attributes.at(place);
}

TEST(ShortTurns, LastAsLongAsTheyAreAskedFor) {
  auto nice = scheduled(2);
  auto turn = scheduled(3);
  if (turn == 0) GTEST_SKIP() << "this kernel (before Linux 6.12) gives no turns of a chosen length";
  {
    ShortTurns turns;
    EXPECT_EQ(scheduled(3), 100'000);
    EXPECT_EQ(scheduled(2), nice);
  }
  EXPECT_EQ(scheduled(3), turn);
}

TEST(Printable, WhatATerminalWouldObeyIsEscaped) {
  EXPECT_EQ(printable("plain, Ünïcode 漢字 😀 \\x1b"), "plain, Ünïcode 漢字 😀 \\x1b");
  EXPECT_EQ(printable("a\x1b]0;title\x07\r\nb\tc\x7f"), "a\\x1b]0;title\\x07\\x0d\\x0ab c\\x7f");
  EXPECT_EQ(printable("a\nb\r", /*lines=*/true), "a\nb\\x0d");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\u{9b}31m");
  EXPECT_EQ(printable("\u202e\u2066\u200f\u2028"), "\\u{202e}\\u{2066}\\u{200f}\\u{2028}");
  // Not UTF-8: a lone byte, an overlong escape, a surrogate, one that is cut.
  EXPECT_EQ(printable("\x9b\xc0\x9b\xed\xa0\x80\xe2\x82"), "\\x9b\\xc0\\x9b\\xed\\xa0\\x80\\xe2\\x82");
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
}

}  // namespace
}  // namespace tailrace
