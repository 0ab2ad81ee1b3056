#include "pg/codec/datetime_codec.h"

#include "base/byte_reader.h"
#include "pg/codec/digits.h"

namespace tailrace::pg::codec {

namespace {

constexpr std::int64_t days_per_era = 146097;  // 400 years of the Gregorian calendar

// Days since 2000-01-01 of a proleptic Gregorian date; year 0 is 1 BC.
constexpr std::int64_t days_from_civil(std::int64_t year, unsigned month, unsigned day) {
  year -= month <= 2 ? 1 : 0;
  std::int64_t era = (year >= 0 ? year : year - 399) / 400;
  auto year_of_era = static_cast<unsigned>(year - era * 400);
  unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  std::int64_t day_of_era = std::int64_t{year_of_era} * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * days_per_era + day_of_era - 719468 - pg_epoch_unix_days;
}
static_assert(days_from_civil(2000, 1, 1) == 0);
static_assert(days_from_civil(1970, 1, 1) == -pg_epoch_unix_days);

struct Civil {
  std::int64_t year;
  unsigned month;
  unsigned day;
};

constexpr Civil civil_from_days(std::int64_t days) {
  days += 719468 + pg_epoch_unix_days;
  std::int64_t era = (days >= 0 ? days : days - (days_per_era - 1)) / days_per_era;
  auto day_of_era = static_cast<unsigned>(days - era * days_per_era);
  unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  unsigned shifted_month = (5 * day_of_year + 2) / 153;
  unsigned month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
  std::int64_t year = era * 400 + year_of_era + (month <= 2 ? 1 : 0);
  return {year, month, day_of_year - (153 * shifted_month + 2) / 5 + 1};
}

constexpr bool is_leap(std::int64_t year) {
  return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

constexpr unsigned days_in_month(std::int64_t year, unsigned month) {
  constexpr unsigned lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month == 2 && is_leap(year) ? 29 : lengths[month - 1];
}

// The year as written; BC comes only at the end of a text.
bool take_date(TextCursor& in, std::int64_t& year, unsigned& month, unsigned& day) {
  std::uint64_t written = 0;
  if (!in.take_number(written, 7) || !in.take('-') || !in.take_two_digits(month) || !in.take('-') ||
      !in.take_two_digits(day))
    return false;
  year = static_cast<std::int64_t>(written);
  return written >= 1 && month >= 1 && month <= 12 && day >= 1;
}

// Takes the end of a text, with its " BC" where it has one, and checks what only the final year decides.
bool finish_date(TextCursor& in, std::int64_t year, unsigned month, unsigned day, std::int64_t& days) {
  if (in.take(" BC")) year = 1 - year;
  if (!in.done() || day > days_in_month(year, month)) return false;
  days = days_from_civil(year, month, day);
  return true;
}

// A fraction of a second: up to six digits, without trailing zeros as the server sends it.
bool take_fraction(TextCursor& in, std::int64_t& micros) {
  std::size_t before = in.left();
  std::uint64_t value = 0;
  if (!in.take_number(value, 6)) return false;
  for (std::size_t digits = before - in.left(); digits < 6; ++digits) value *= 10;
  micros = static_cast<std::int64_t>(value);
  return true;
}

// ":MM:SS[.ffffff]", what follows the hours.
bool take_after_hours(TextCursor& in, std::int64_t& micros) {
  unsigned minutes = 0;
  unsigned seconds = 0;
  if (!in.take(':') || !in.take_two_digits(minutes) || !in.take(':') || !in.take_two_digits(seconds))
    return false;
  if (minutes > 59 || seconds > 59) return false;
  std::int64_t fraction = 0;
  if (in.take('.') && !take_fraction(in, fraction)) return false;
  micros = (std::int64_t{minutes} * 60 + seconds) * micros_per_second + fraction;
  return true;
}

bool take_time(TextCursor& in, std::int64_t& micros) {
  unsigned hours = 0;
  std::int64_t rest = 0;
  if (!in.take_two_digits(hours) || !take_after_hours(in, rest)) return false;
  micros = std::int64_t{hours} * 3600 * micros_per_second + rest;
  return micros <= micros_per_day;  // 24:00:00 is a time of its own in PostgreSQL
}

bool take_zone(TextCursor& in, std::int32_t& offset_seconds) {
  bool negative = in.take('-');
  if (!negative && !in.take('+')) return false;
  unsigned hours = 0;
  unsigned minutes = 0;
  unsigned seconds = 0;
  if (!in.take_two_digits(hours)) return false;
  if (in.take(':')) {
    if (!in.take_two_digits(minutes)) return false;
    if (in.take(':') && !in.take_two_digits(seconds)) return false;
  }
  if (minutes > 59 || seconds > 59) return false;
  auto offset = static_cast<std::int32_t>(hours * 3600 + minutes * 60 + seconds);
  offset_seconds = negative ? -offset : offset;
  return offset <= max_zone_seconds;
}

bool parse_timestamp_in(std::string_view text, bool with_zone, std::int64_t& micros) {
  if (text == "infinity") {
    micros = timestamp_infinity;
    return true;
  }
  if (text == "-infinity") {
    micros = timestamp_minus_infinity;
    return true;
  }
  TextCursor in(text);
  std::int64_t year = 0;
  unsigned month = 0;
  unsigned day = 0;
  std::int64_t time = 0;
  std::int32_t offset = 0;
  std::int64_t days = 0;
  if (!take_date(in, year, month, day) || !in.take(' ') || !take_time(in, time) || time == micros_per_day)
    return false;
  if (with_zone && !take_zone(in, offset)) return false;
  if (!finish_date(in, year, month, day, days)) return false;
  std::int64_t whole = 0;
  if (__builtin_mul_overflow(days, micros_per_day, &whole) ||
      __builtin_add_overflow(whole, time - offset * micros_per_second, &micros))
    return false;
  return is_timestamp(micros);
}

void append_year(std::string& out, const Civil& date) {
  std::int64_t shown = date.year > 0 ? date.year : 1 - date.year;
  append_padded(out, static_cast<std::uint64_t>(shown), 4);
  out.push_back('-');
  append_two_digits(out, date.month);
  out.push_back('-');
  append_two_digits(out, date.day);
}

void append_fraction(std::string& out, std::uint64_t micros) {
  if (micros == 0) return;
  out.push_back('.');
  append_padded(out, micros, 6);
  while (out.back() == '0') out.pop_back();
}

// Minutes, seconds and fraction of what is left below an hour, with the colon before them.
void append_below_hour(std::string& out, std::uint64_t micros) {
  auto seconds = static_cast<unsigned>(micros / micros_per_second);
  out.push_back(':');
  append_two_digits(out, seconds / 60);
  out.push_back(':');
  append_two_digits(out, seconds % 60);
  append_fraction(out, micros % micros_per_second);
}

constexpr std::uint64_t micros_per_hour = 3600 * micros_per_second;

void append_timestamp_with(std::string& out, std::int64_t micros, std::string_view zone) {
  if (micros == timestamp_infinity) {
    out += "infinity";
    return;
  }
  if (micros == timestamp_minus_infinity) {
    out += "-infinity";
    return;
  }
  std::int64_t days = micros / micros_per_day;
  std::int64_t time = micros % micros_per_day;
  if (time < 0) {
    time += micros_per_day;
    --days;
  }
  Civil date = civil_from_days(days);
  append_year(out, date);
  out.push_back(' ');
  append_time(out, time);
  out += zone;
  if (date.year <= 0) out += " BC";
}

// One "3 days" of an interval. As the server does it, a positive field after a negative one carries a plus.
void append_interval_field(std::string& out, std::int64_t value, std::string_view unit, bool& first,
                           bool& before) {
  if (value == 0) return;
  if (!first) out.push_back(' ');
  if (before && value > 0) out.push_back('+');
  append_integer(out, value);
  out.push_back(' ');
  out += unit;
  if (value != 1) out.push_back('s');
  before = value < 0;
  first = false;
}

bool take_interval_time(TextCursor& in, std::uint64_t hours, bool negative, Interval& out) {
  std::int64_t rest = 0;
  std::int64_t micros = 0;
  if (!take_after_hours(in, rest)) return false;
  auto sign = negative ? -1 : 1;
  if (__builtin_mul_overflow(static_cast<std::int64_t>(hours) * sign, std::int64_t{micros_per_hour}, &micros))
    return false;
  return !__builtin_add_overflow(micros, rest * sign, &out.micros);
}

}  // namespace

bool parse_date(std::string_view text, std::int32_t& days) {
  if (text == "infinity") {
    days = date_infinity;
    return true;
  }
  if (text == "-infinity") {
    days = date_minus_infinity;
    return true;
  }
  TextCursor in(text);
  std::int64_t year = 0;
  unsigned month = 0;
  unsigned day = 0;
  std::int64_t wide = 0;
  if (!take_date(in, year, month, day) || !finish_date(in, year, month, day, wide)) return false;
  if (wide <= date_minus_infinity || wide >= date_infinity) return false;
  days = static_cast<std::int32_t>(wide);
  return is_date(days);
}

bool parse_time(std::string_view text, std::int64_t& micros) {
  TextCursor in(text);
  return take_time(in, micros) && in.done();
}

bool parse_timetz(std::string_view text, TimeWithZone& out) {
  TextCursor in(text);
  return take_time(in, out.micros) && take_zone(in, out.offset_seconds) && in.done();
}

bool parse_timestamp(std::string_view text, std::int64_t& micros) {
  return parse_timestamp_in(text, false, micros);
}

bool parse_timestamptz(std::string_view text, std::int64_t& micros) {
  return parse_timestamp_in(text, true, micros);
}

bool parse_interval(std::string_view text, Interval& out) {
  out = {};
  if (text == "infinity") {
    out = {INT64_MAX, INT32_MAX, INT32_MAX};
    return true;
  }
  if (text == "-infinity") {
    out = {INT64_MIN, INT32_MIN, INT32_MIN};
    return true;
  }
  TextCursor in(text);
  std::int64_t months = 0;
  do {
    bool negative = in.take('-');
    if (!negative) in.take('+');
    std::uint64_t number = 0;
    if (!in.take_number(number, 10)) return false;
    if (in.peek() == ':') return take_interval_time(in, number, negative, out) && in.done();
    auto value = static_cast<std::int64_t>(negative ? -number : number);
    if (in.take(" year")) {
      months += value * 12;
    } else if (in.take(" mon")) {
      months += value;
    } else if (in.take(" day")) {
      if (value < INT32_MIN || value > INT32_MAX) return false;
      out.days = static_cast<std::int32_t>(value);
    } else {
      return false;
    }
    in.take('s');
    if (months < INT32_MIN || months > INT32_MAX) return false;
    out.months = static_cast<std::int32_t>(months);
  } while (in.take(' '));
  return in.done();
}

bool read_timetz(std::string_view bytes, TimeWithZone& out) {
  if (bytes.size() != 12) return false;
  ByteReader in(bytes);
  out.micros = in.i64();
  std::int32_t west = in.i32();
  if (west < -max_zone_seconds || west > max_zone_seconds) return false;
  out.offset_seconds = -west;
  return out.micros >= 0 && out.micros <= micros_per_day;
}

bool read_interval(std::string_view bytes, Interval& out) {
  if (bytes.size() != 16) return false;
  ByteReader in(bytes);
  out.micros = in.i64();
  out.days = in.i32();
  out.months = in.i32();
  return true;
}

void append_date(std::string& out, std::int32_t days) {
  if (days == date_infinity) {
    out += "infinity";
  } else if (days == date_minus_infinity) {
    out += "-infinity";
  } else {
    Civil date = civil_from_days(days);
    append_year(out, date);
    if (date.year <= 0) out += " BC";
  }
}

void append_time(std::string& out, std::int64_t micros) {
  auto value = static_cast<std::uint64_t>(micros);
  append_two_digits(out, static_cast<unsigned>(value / micros_per_hour));
  append_below_hour(out, value % micros_per_hour);
}

void append_timetz(std::string& out, const TimeWithZone& value) {
  append_time(out, value.micros);
  out.push_back(value.offset_seconds < 0 ? '-' : '+');
  auto offset = static_cast<unsigned>(value.offset_seconds < 0 ? -value.offset_seconds : value.offset_seconds);
  append_two_digits(out, offset / 3600);
  if (offset % 3600 == 0) return;
  out.push_back(':');
  append_two_digits(out, offset / 60 % 60);
  if (offset % 60 == 0) return;
  out.push_back(':');
  append_two_digits(out, offset % 60);
}

void append_timestamp(std::string& out, std::int64_t micros) {
  append_timestamp_with(out, micros, {});
}

void append_timestamptz(std::string& out, std::int64_t micros) {
  append_timestamp_with(out, micros, "+00");
}

void append_interval(std::string& out, const Interval& value) {
  if (value.infinite()) {
    out += value.micros > 0 ? "infinity" : "-infinity";
    return;
  }
  bool first = true;
  bool before = false;
  append_interval_field(out, value.months / 12, "year", first, before);
  append_interval_field(out, value.months % 12, "mon", first, before);
  append_interval_field(out, value.days, "day", first, before);
  if (!first && value.micros == 0) return;
  if (!first) out.push_back(' ');
  if (value.micros < 0) {
    out.push_back('-');
  } else if (before) {
    out.push_back('+');
  }
  std::uint64_t magnitude =
      value.micros < 0 ? -static_cast<std::uint64_t>(value.micros) : static_cast<std::uint64_t>(value.micros);
  append_padded(out, magnitude / micros_per_hour, 2);
  append_below_hour(out, magnitude % micros_per_hour);
}

}  // namespace tailrace::pg::codec
