// The codecs whose hard cases need no server: encodings, calendars, extremes. What a server shows for each type
// is held against target/duckdb/value_codecs_fixture.inc.

#include <gtest/gtest.h>

#include "pg/codec/datetime_codec.h"
#include "pg/codec/numeric_codec.h"
#include "pg/codec/utf8.h"
#include "pg/codec/wire.h"

namespace tailrace::pg::codec {
namespace {

TEST(Utf8, AcceptsExactlyTheValidSequences) {
  for (std::string_view text : {"", "a", "abc", "abcd", "abcdefgh", "äöü", "€", "\xf0\x9d\x84\x9e",
                                "\xed\x9f\xbf", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf", "abcdefghijklmnä"}) {
    EXPECT_TRUE(is_valid_utf8(text)) << text;
  }
  for (std::string_view text :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\xc3", "\xe2\x82", "abcdefgh\xff", "a\xffz"}) {
    EXPECT_FALSE(is_valid_utf8(text));
  }
}

TEST(DateTime, EveryDayOfTheCalendarComesBack) {
  // Every day around the turn of the eras, and a stride through the rest.
  for (std::int32_t days = -2'451'545; days < 2'145'031'949; days += days < -700'000 ? 1 : 1009) {
    std::string text;
    std::int32_t back = 0;
    append_date(text, days);
    ASSERT_TRUE(parse_date(text, back)) << text;
    ASSERT_EQ(back, days) << text;
  }
}

TEST(DateTime, RangesEndWhereThoseOfTheServerEnd) {
  std::int32_t days = 0;
  EXPECT_TRUE(parse_date("5874897-12-31", days));
  EXPECT_FALSE(parse_date("5874898-01-01", days));
  EXPECT_TRUE(parse_date("4714-11-24 BC", days));
  EXPECT_FALSE(parse_date("4714-11-23 BC", days));
  std::int64_t micros = 0;
  EXPECT_TRUE(parse_timestamp("294276-12-31 23:59:59.999999", micros));
  EXPECT_FALSE(parse_timestamp("294277-01-01 00:00:00", micros));
  EXPECT_TRUE(parse_timestamp("4714-11-24 00:00:00 BC", micros));
  EXPECT_FALSE(parse_timestamp("4714-11-23 23:59:59.999999 BC", micros));
}

TEST(DateTime, OffsetsAreHonoured) {
  std::int64_t utc = 0;
  std::int64_t west = 0;
  ASSERT_TRUE(parse_timestamptz("2024-01-01 00:00:00+00", utc));
  ASSERT_TRUE(parse_timestamptz("2023-12-31 15:59:30-08:00:30", west));
  EXPECT_EQ(utc, west);
}

TEST(DateTime, IntervalExtremesComeBack) {
  for (std::int64_t micros : {INT64_MIN, INT64_MAX, std::int64_t{-1}}) {
    Interval value{micros, INT32_MIN, INT32_MAX};
    Interval back;
    std::string text;
    append_interval(text, value);
    ASSERT_TRUE(parse_interval(text, back)) << text;
    EXPECT_EQ(back.micros, value.micros);
    EXPECT_EQ(back.days, value.days);
    EXPECT_EQ(back.months, value.months);
  }
  Interval out;
  EXPECT_FALSE(parse_interval("2562047788:00:54.775808", out));
  EXPECT_FALSE(parse_interval("178956970 years 8 mons", out));
}

TEST(Numeric, DecimalsOfAllWidthsPrint) {
  std::string text;
  append_decimal(text, 0, 38);
  EXPECT_EQ(text, "0." + std::string(38, '0'));
  text.clear();
  Int128 value = 0;
  std::string nines = "-" + std::string(19, '9') + "." + std::string(19, '9');
  ASSERT_EQ(decimal_from_text(nines, 38, 19, value), Decoded::ok);
  append_decimal(text, value, 19);
  EXPECT_EQ(text, nines);
}

TEST(Numeric, MoneyExtremes) {
  for (std::int64_t cents : {INT64_MIN, INT64_MAX, std::int64_t{0}, std::int64_t{-99}, std::int64_t{100'000}}) {
    std::string text;
    std::int64_t back = 1;
    append_money(text, cents);
    ASSERT_TRUE(parse_money(text, back)) << text;
    EXPECT_EQ(back, cents);
  }
}

TEST(WireNames, ComeBack) {
  for (int i = 0; i <= static_cast<int>(Wire::array); ++i) {
    auto wire = static_cast<Wire>(i);
    EXPECT_EQ(parse_wire(to_string(wire)), wire);
  }
  EXPECT_FALSE(parse_wire("nothing"));
}

}  // namespace
}  // namespace tailrace::pg::codec
