#include "pg/codec/numeric_codec.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "base/byte_reader.h"
#include "pg/codec/digits.h"
#include "pg/codec/float_codec.h"

namespace tailrace::pg::codec {

namespace {

constexpr std::array<UInt128, max_decimal_precision + 1> powers_of_ten = [] {
  std::array<UInt128, max_decimal_precision + 1> out{};
  UInt128 power = 1;
  for (auto& each : out) {
    each = power;
    power *= 10;  // the last product wraps and is not used
  }
  return out;
}();

UInt128 power_of_ten(int exponent) {
  return powers_of_ten[static_cast<std::size_t>(exponent)];
}

constexpr std::uint16_t sign_negative = 0x4000;
constexpr std::uint16_t sign_nan = 0xC000;
constexpr std::uint16_t sign_infinity = 0xD000;
constexpr std::uint16_t sign_minus_infinity = 0xF000;
constexpr std::uint16_t max_display_scale = 0x3FFF;
constexpr unsigned base = 10000;

struct BinaryNumeric {
  std::uint16_t digit_count = 0;
  std::int16_t weight = 0;  // of the first digit: base^weight
  std::uint16_t sign = 0;
  std::uint16_t display_scale = 0;
  const std::byte* digits = nullptr;

  bool special() const { return sign >= sign_nan; }
  unsigned digit(int index) const {
    if (index < 0 || index >= digit_count) return 0;
    return load_big_endian<std::uint16_t>(digits + 2 * index);
  }
};

std::optional<BinaryNumeric> read_numeric(std::string_view bytes) {
  constexpr std::size_t header = 8;
  if (bytes.size() < header) return std::nullopt;
  auto at = reinterpret_cast<const std::byte*>(bytes.data());
  BinaryNumeric out;
  out.digit_count = load_big_endian<std::uint16_t>(at);
  out.weight = load_big_endian<std::int16_t>(at + 2);
  out.sign = load_big_endian<std::uint16_t>(at + 4);
  out.display_scale = load_big_endian<std::uint16_t>(at + 6);
  out.digits = at + header;
  if (bytes.size() != header + std::size_t{2} * out.digit_count) return std::nullopt;
  if (out.sign != 0 && out.sign != sign_negative && out.sign != sign_nan && out.sign != sign_infinity &&
      out.sign != sign_minus_infinity)
    return std::nullopt;
  if (out.display_scale > max_display_scale) return std::nullopt;
  for (int i = 0; i < out.digit_count; ++i) {
    if (out.digit(i) >= base) return std::nullopt;
  }
  return out;
}

// Moves one base-10000 digit into the sum; `exponent` is the power of ten that the digit counts, after scaling.
// False when it cannot be held.
bool add_digit(UInt128& sum, unsigned digit, int exponent) {
  if (exponent <= -4) return digit == 0;
  unsigned kept = 4;
  unsigned factor = base;
  for (; exponent < 0; ++exponent) {
    if (digit % 10 != 0) return false;
    digit /= 10;
    factor /= 10;
    --kept;
  }
  if (sum > power_of_ten(max_decimal_precision - static_cast<int>(kept))) return false;
  sum = sum * factor + digit;
  return true;
}

Int128 with_sign(UInt128 magnitude, bool negative) {
  auto value = static_cast<Int128>(magnitude);
  return negative ? -value : value;
}

/// A decimal number as its digits, without zeros at either end, and the power of ten of the first.
struct PlainNumber {
  bool negative = false;
  std::string digits;
  int exponent = 0;

  bool operator==(const PlainNumber&) const = default;
};

/// Of a text that was read as a number already.
PlainNumber plain_number(std::string_view text) {
  PlainNumber out;
  if (text.starts_with('-')) {
    out.negative = true;
    text.remove_prefix(1);
  }
  int exponent = 0;
  if (auto e = text.find_first_of("eE"); e != std::string_view::npos) {
    auto behind = text.substr(e + 1);
    if (behind.starts_with('+')) behind.remove_prefix(1);
    std::from_chars(behind.data(), behind.data() + behind.size(), exponent);
    text = text.substr(0, e);
  }
  auto point = std::min(text.find('.'), text.size());
  out.exponent = exponent + static_cast<int>(point);
  for (char c : text) {
    if (c != '.') out.digits += c;
  }
  auto first = std::min(out.digits.find_first_not_of('0'), out.digits.size());
  out.exponent -= static_cast<int>(first);
  out.digits.erase(0, first);
  while (out.digits.ends_with('0')) out.digits.pop_back();
  if (out.digits.empty()) return {};
  return out;
}

void append_four_digits(std::string& out, unsigned digit) {
  append_two_digits(out, digit / 100);
  append_two_digits(out, digit % 100);
}

std::string_view name_of_special(std::uint16_t sign) {
  if (sign == sign_nan) return "NaN";
  return sign == sign_infinity ? "Infinity" : "-Infinity";
}

}  // namespace

Decoded decimal_from_text(std::string_view text, int precision, int scale, Int128& out) {
  if (text == "NaN" || text == "Infinity" || text == "-Infinity") return Decoded::does_not_fit;
  bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  constexpr int narrow_digits = 19;  // what 64 bits hold, and far faster than 128
  std::uint64_t narrow = 0;
  UInt128 sum = 0;
  int digits = 0;     // significant ones
  int fraction = -1;  // digits after the point, -1 before it
  bool any = false;
  for (char c : text) {
    if (c == '.' && fraction < 0 && any) {
      fraction = 0;
      continue;
    }
    if (!is_digit(c)) return Decoded::malformed;
    any = true;
    if (fraction >= 0) ++fraction;
    if (digits == 0 && c == '0') continue;
    auto digit = static_cast<unsigned>(c - '0');
    if (++digits <= narrow_digits) {
      narrow = narrow * 10 + digit;
    } else if (digits <= max_decimal_precision) {  // more do not fit, but are still looked at for damage
      sum = (digits == narrow_digits + 1 ? narrow : sum) * 10 + digit;
    }
  }
  if (!any || fraction == 0) return Decoded::malformed;
  if (digits > precision || (fraction < 0 ? 0 : fraction) != scale) return Decoded::does_not_fit;
  out = with_sign(digits <= narrow_digits ? narrow : sum, negative);
  return Decoded::ok;
}

Decoded decimal_of_any_scale_from_text(std::string_view text, int precision, int scale, Int128& out) {
  auto point = text.find('.');
  auto fraction = point == std::string_view::npos ? 0 : static_cast<int>(text.size() - point) - 1;
  if (fraction == scale) return decimal_from_text(text, precision, scale, out);
  if (fraction > scale) {
    auto kept = text.size() - static_cast<std::size_t>(fraction - scale);
    if (text.find_first_not_of('0', kept) != std::string_view::npos) {
      Int128 other = 0;
      auto read = decimal_from_text(text, max_decimal_precision, fraction, other);
      return read == Decoded::malformed ? read : Decoded::does_not_fit;
    }
    text = text.substr(0, scale == 0 ? point : kept);
    return decimal_from_text(text, precision, scale, out);
  }
  if (text == "NaN" || text == "Infinity" || text == "-Infinity") return Decoded::does_not_fit;
  std::string padded(text);
  if (fraction == 0) padded += '.';
  padded.append(static_cast<std::size_t>(scale - fraction), '0');
  return decimal_from_text(padded, precision, scale, out);
}

Decoded decimal_from_binary(std::string_view bytes, int precision, int scale, Int128& out) {
  auto numeric = read_numeric(bytes);
  if (!numeric) return Decoded::malformed;
  if (!numeric->special() && numeric->display_scale != scale) return Decoded::does_not_fit;
  return decimal_of_any_scale_from_binary(bytes, precision, scale, out);
}

Decoded decimal_of_any_scale_from_binary(std::string_view bytes, int precision, int scale, Int128& out) {
  auto numeric = read_numeric(bytes);
  if (!numeric) return Decoded::malformed;
  if (numeric->special()) return Decoded::does_not_fit;
  UInt128 sum = 0;
  int exponent = 4 * numeric->weight + scale;
  for (int i = 0; i < numeric->digit_count; ++i, exponent -= 4) {
    if (!add_digit(sum, numeric->digit(i), exponent)) return Decoded::does_not_fit;
  }
  exponent += 4;  // of the last digit: zeros that the form leaves out follow it
  if (sum != 0 && exponent > 0) {
    if (exponent > max_decimal_precision || sum >= power_of_ten(max_decimal_precision - exponent))
      return Decoded::does_not_fit;
    sum *= power_of_ten(exponent);
  }
  if (sum >= power_of_ten(precision)) return Decoded::does_not_fit;
  out = with_sign(sum, numeric->sign == sign_negative);
  return Decoded::ok;
}

void append_decimal(std::string& out, Int128 value, int scale) {
  if (value < 0) out.push_back('-');
  UInt128 magnitude = value < 0 ? -static_cast<UInt128>(value) : static_cast<UInt128>(value);
  UInt128 unit = power_of_ten(scale);
  UInt128 whole = magnitude / unit;
  UInt128 fraction = magnitude % unit;
  constexpr std::uint64_t half = 10'000'000'000'000'000'000U;  // 10^19, so that 64 bits print at a time
  auto high = static_cast<std::uint64_t>(whole / half);
  if (high != 0) append_integer(out, high);
  append_padded(out, static_cast<std::uint64_t>(whole % half), high != 0 ? 19 : 1);
  if (scale == 0) return;
  out.push_back('.');
  auto width = static_cast<std::size_t>(scale);
  if (width > 19) append_padded(out, static_cast<std::uint64_t>(fraction / half), width - 19);
  append_padded(out, static_cast<std::uint64_t>(fraction % half), width > 19 ? 19 : width);
}

Decoded double_from_numeric(std::string_view text, double& out) {
  if (!parse_float8(text, out)) {
    // Beyond what a double reaches.
    Int128 number = 0;
    auto point = text.find('.');
    auto fraction = point == std::string_view::npos ? 0 : static_cast<int>(text.size() - point) - 1;
    auto read = decimal_from_text(text, max_decimal_precision, fraction, number);
    return read == Decoded::malformed ? read : Decoded::does_not_fit;
  }
  // A double keeps any 15 digits.
  constexpr std::size_t always_kept = 15;
  if (text.size() <= always_kept || text == "NaN" || text == "Infinity" || text == "-Infinity")
    return Decoded::ok;
  std::string shortest;
  append_float8(shortest, out);
  return plain_number(shortest) == plain_number(text) ? Decoded::ok : Decoded::does_not_fit;
}

bool append_numeric(std::string& out, std::string_view bytes) {
  auto numeric = read_numeric(bytes);
  if (!numeric) return false;
  if (numeric->special()) {
    out += name_of_special(numeric->sign);
    return true;
  }
  if (numeric->sign == sign_negative) out.push_back('-');
  if (numeric->weight < 0) {
    out.push_back('0');
  } else {
    append_integer(out, numeric->digit(0));
    for (int i = 1; i <= numeric->weight; ++i) append_four_digits(out, numeric->digit(i));
  }
  if (numeric->display_scale == 0) return true;
  out.push_back('.');
  std::size_t wanted = out.size() + numeric->display_scale;
  for (int i = numeric->weight + 1; out.size() < wanted; ++i) append_four_digits(out, numeric->digit(i));
  out.resize(wanted);
  return true;
}

bool parse_money(std::string_view text, std::int64_t& cents) {
  TextCursor in(text);
  bool negative = in.take('-');
  if (!in.take('$')) return false;
  UInt128 sum = 0;
  std::uint64_t group = 0;
  std::size_t width = 3;
  if (!in.take_number(group, 3)) return false;
  for (sum = group; in.take(',');) {
    std::size_t before = in.left();
    if (!in.take_number(group, width) || before - in.left() != width || sum > power_of_ten(20)) return false;
    sum = sum * 1000 + group;
  }
  unsigned fraction = 0;
  if (!in.take('.') || !in.take_two_digits(fraction) || !in.done()) return false;
  sum = sum * 100 + fraction;
  constexpr UInt128 limit = static_cast<UInt128>(INT64_MAX);
  if (sum > limit + (negative ? 1 : 0)) return false;
  cents = static_cast<std::int64_t>(with_sign(sum, negative));
  return true;
}

void append_money(std::string& out, std::int64_t cents) {
  std::uint64_t magnitude = cents < 0 ? -static_cast<std::uint64_t>(cents) : static_cast<std::uint64_t>(cents);
  out += cents < 0 ? "-$" : "$";
  std::uint64_t whole = magnitude / 100;
  std::uint64_t unit = 1;
  while (whole / unit >= 1000) unit *= 1000;
  append_integer(out, whole / unit);
  for (; unit > 1; whole %= unit, unit /= 1000) {
    out.push_back(',');
    append_padded(out, whole % unit / (unit / 1000), 3);
  }
  out.push_back('.');
  append_two_digits(out, static_cast<unsigned>(magnitude % 100));
}

}  // namespace tailrace::pg::codec
