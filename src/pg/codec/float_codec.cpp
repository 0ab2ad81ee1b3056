#include "pg/codec/float_codec.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>

#include "pg/codec/digits.h"
#include "pg/codec/numeric_codec.h"

namespace tailrace::pg::codec {

namespace {

// Up to 17 significant digits d.ddd and a power of ten.
struct Decimal {
  std::uint64_t digits = 0;
  int count = 0;
  int exponent = 0;  // of the first digit
};

template <typename Float>
Decimal shortest_decimal(Float magnitude, int precision) {
  char buffer[64];
  auto end =
      precision < 0
          ? std::to_chars(buffer, buffer + sizeof(buffer), magnitude, std::chars_format::scientific).ptr
          : std::to_chars(buffer, buffer + sizeof(buffer), magnitude, std::chars_format::scientific, precision)
                .ptr;
  Decimal out;
  const char* at = buffer;
  for (; *at != 'e'; ++at) {
    if (*at == '.') continue;
    out.digits = out.digits * 10 + static_cast<std::uint64_t>(*at - '0');
    ++out.count;
  }
  ++at;
  bool negative = *at++ == '-';
  for (; at != end; ++at) out.exponent = out.exponent * 10 + (*at - '0');
  if (negative) out.exponent = -out.exponent;
  return out;
}

// True when the decimal lies exactly half way between two neighbouring floats: its odd part then has one bit
// more than a mantissa. std::to_chars may choose such a text where rounding to even reads it back right;
// PostgreSQL never does, for the sake of readers that round badly.
template <typename Float>
bool is_midpoint(const Decimal& decimal) {
  constexpr int mantissa_bits = std::numeric_limits<Float>::digits;
  int power = decimal.exponent - (decimal.count - 1);  // value = digits * 10^power
  UInt128 odd = decimal.digits;
  for (; power < 0 && odd % 5 == 0; ++power) odd /= 5;
  if (power < 0) return false;  // not a binary fraction at all
  int twos = std::countr_zero(static_cast<std::uint64_t>(odd));
  odd >>= twos;
  for (; power > 0; --power) {
    odd *= 5;
    if ((odd >> (mantissa_bits + 1)) != 0) return false;
  }
  return (odd >> mantissa_bits) == 1;
}

template <typename Float>
Float read_back(const Decimal& decimal) {
  char buffer[64];
  char* end = std::to_chars(buffer, buffer + 32, decimal.digits).ptr;
  *end++ = 'e';
  end = std::to_chars(end, end + 16, decimal.exponent - (decimal.count - 1)).ptr;
  Float value = 0;
  std::from_chars(buffer, end, value);
  return value;
}

template <typename Float>
Decimal decimal_as_postgres(Float magnitude) {
  Decimal out = shortest_decimal(magnitude, -1);
  while (is_midpoint<Float>(out) || read_back<Float>(out) != magnitude) {
    out = shortest_decimal(magnitude, out.count);  // one digit more than now
  }
  return out;
}

void append_plain(std::string& out, const Decimal& decimal) {
  char digits[24] = {};
  std::to_chars(digits, digits + sizeof(digits), decimal.digits);
  auto count = static_cast<std::size_t>(decimal.count);
  if (decimal.exponent < 0) {
    out += "0.";
    out.append(static_cast<std::size_t>(-decimal.exponent - 1), '0');
    out.append(digits, count);
    return;
  }
  auto whole = static_cast<std::size_t>(decimal.exponent) + 1;
  if (count <= whole) {
    out.append(digits, count);
    out.append(whole - count, '0');
    return;
  }
  out.append(digits, whole);
  out.push_back('.');
  out.append(digits + whole, count - whole);
}

void append_scientific(std::string& out, const Decimal& decimal) {
  char digits[24] = {};
  std::to_chars(digits, digits + sizeof(digits), decimal.digits);
  out.push_back(digits[0]);
  if (decimal.count > 1) {
    out.push_back('.');
    out.append(digits + 1, static_cast<std::size_t>(decimal.count - 1));
  }
  out += decimal.exponent < 0 ? "e-" : "e+";
  append_padded(out, static_cast<std::uint64_t>(std::abs(decimal.exponent)), 2);
}

// `plain_digits`: the number of digits before the point from which on the server writes an exponent.
template <typename Float>
void append_float(std::string& out, Float value, int plain_digits) {
  if (std::isnan(value)) {
    out += "NaN";
    return;
  }
  if (std::signbit(value)) out.push_back('-');
  Float magnitude = std::abs(value);
  if (std::isinf(magnitude)) {
    out += "Infinity";
  } else if (magnitude == 0) {
    out.push_back('0');
  } else {
    Decimal decimal = decimal_as_postgres(magnitude);
    if (decimal.exponent >= -4 && decimal.exponent < plain_digits) {
      append_plain(out, decimal);
    } else {
      append_scientific(out, decimal);
    }
  }
}

template <typename Float>
bool parse_float(std::string_view text, Float& out) {
  if (text == "NaN") {
    out = std::numeric_limits<Float>::quiet_NaN();
  } else if (text == "Infinity") {
    out = std::numeric_limits<Float>::infinity();
  } else if (text == "-Infinity") {
    out = -std::numeric_limits<Float>::infinity();
  } else {
    // from_chars alone would also take "inf" and "nan", which no server sends.
    std::size_t sign = text.starts_with('-') ? 1 : 0;
    if (text.size() <= sign || !is_digit(text[sign])) return false;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc{} && end == text.data() + text.size();
  }
  return true;
}

}  // namespace

bool parse_float4(std::string_view text, float& out) {
  return parse_float(text, out);
}
bool parse_float8(std::string_view text, double& out) {
  return parse_float(text, out);
}
void append_float4(std::string& out, float value) {
  append_float(out, value, 6);
}
void append_float8(std::string& out, double value) {
  append_float(out, value, 15);
}

}  // namespace tailrace::pg::codec
