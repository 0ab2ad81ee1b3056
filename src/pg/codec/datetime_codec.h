#pragma once
// Dates, times, timestamps and intervals in PostgreSQL's own units, to and from the text of DateStyle ISO,
// IntervalStyle postgres and TimeZone UTC (PostgreSQL documentation: "Date/Time Types"). Pure functions.
// A parser takes what such a server emits, and returns false for anything else.

#include <cstdint>
#include <string>
#include <string_view>

namespace tailrace::pg::codec {

/// Days since 2000-01-01; the two ends stand for -infinity and infinity.
constexpr std::int32_t date_infinity = INT32_MAX;
constexpr std::int32_t date_minus_infinity = INT32_MIN;
/// Microseconds since 2000-01-01 00:00:00 UTC; the two ends stand for -infinity and infinity.
constexpr std::int64_t timestamp_infinity = INT64_MAX;
constexpr std::int64_t timestamp_minus_infinity = INT64_MIN;

/// What PostgreSQL allows between the infinities: 4714-11-24 BC to 5874897-12-31 and 294276-12-31.
constexpr bool is_date(std::int32_t days) {
  return (days >= -2'451'545 && days < 2'145'031'949) || days == date_infinity || days == date_minus_infinity;
}
constexpr bool is_timestamp(std::int64_t micros) {
  return (micros >= -211'813'488'000'000'000 && micros < 9'223'371'331'200'000'000) ||
         micros == timestamp_infinity || micros == timestamp_minus_infinity;
}

constexpr std::int64_t micros_per_second = 1'000'000;
constexpr std::int64_t micros_per_day = 86'400 * micros_per_second;
/// 2000-01-01 in days since 1970-01-01.
constexpr std::int32_t pg_epoch_unix_days = 10957;
/// What PostgreSQL allows as a time zone's offset: less than 16 hours either way.
constexpr std::int32_t max_zone_seconds = 16 * 3600 - 1;

struct TimeWithZone {
  std::int64_t micros = 0;          ///< 0 to 24:00:00, in the zone
  std::int32_t offset_seconds = 0;  ///< east of UTC (the binary form counts west)
};

struct Interval {
  std::int64_t micros = 0;
  std::int32_t days = 0;
  std::int32_t months = 0;

  /// PostgreSQL 17's infinities. Earlier servers know these two as finite extremes; nobody can tell them apart
  /// in the binary form.
  bool infinite() const {
    return (micros == INT64_MAX && days == INT32_MAX && months == INT32_MAX) ||
           (micros == INT64_MIN && days == INT32_MIN && months == INT32_MIN);
  }
};

[[nodiscard]] bool parse_date(std::string_view text, std::int32_t& days);
[[nodiscard]] bool parse_time(std::string_view text, std::int64_t& micros);
[[nodiscard]] bool parse_timetz(std::string_view text, TimeWithZone& out);
[[nodiscard]] bool parse_timestamp(std::string_view text, std::int64_t& micros);
/// With the offset that timestamptz shows: "+00" in the pinned zone, any other is honoured too.
[[nodiscard]] bool parse_timestamptz(std::string_view text, std::int64_t& micros);
/// Also "infinity" and "-infinity".
[[nodiscard]] bool parse_interval(std::string_view text, Interval& out);

/// The binary forms that hold more than one integer.
[[nodiscard]] bool read_timetz(std::string_view bytes, TimeWithZone& out);
[[nodiscard]] bool read_interval(std::string_view bytes, Interval& out);

void append_date(std::string& out, std::int32_t days);
void append_time(std::string& out, std::int64_t micros);
void append_timetz(std::string& out, const TimeWithZone& value);
void append_timestamp(std::string& out, std::int64_t micros);
void append_timestamptz(std::string& out, std::int64_t micros);
void append_interval(std::string& out, const Interval& value);

}  // namespace tailrace::pg::codec
