#include "pg/codec/numeric_codec.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tailrace::pg::codec {
namespace {

std::string decimal(std::string_view text, int precision, int scale) {
  Int128 value = 0;
  switch (decimal_of_any_scale_from_text(text, precision, scale, value)) {
    case Decoded::malformed: return "malformed";
    case Decoded::does_not_fit: return "does not fit";
    case Decoded::ok: break;
  }
  std::string out;
  append_decimal(out, value, scale);
  return out;
}

std::string as_double(std::string_view text) {
  double value = 0;
  switch (double_from_numeric(text, value)) {
    case Decoded::malformed: return "malformed";
    case Decoded::does_not_fit: return "does not fit";
    case Decoded::ok: break;
  }
  return fmt::format("{}", value);
}

/// numeric_send: digits of base 10,000, the first of which counts 10,000^weight.
std::string binary(const std::vector<unsigned>& digits, int weight, unsigned sign, unsigned scale) {
  std::string out;
  auto add = [&](unsigned value) {
    out.push_back(static_cast<char>(value >> 8));
    out.push_back(static_cast<char>(value));
  };
  add(static_cast<unsigned>(digits.size()));
  add(static_cast<unsigned>(weight) & 0xFFFF);
  add(sign);
  add(scale);
  for (unsigned digit : digits) add(digit);
  return out;
}

std::string decimal_of(const std::string& bytes, int precision, int scale) {
  Int128 value = 0;
  switch (decimal_of_any_scale_from_binary(bytes, precision, scale, value)) {
    case Decoded::malformed: return "malformed";
    case Decoded::does_not_fit: return "does not fit";
    case Decoded::ok: break;
  }
  std::string out;
  append_decimal(out, value, scale);
  return out;
}

TEST(NumericCodec, ADecimalOfAnyScaleKeepsTheNumber) {
  EXPECT_EQ(decimal("1", 20, 6), "1.000000");
  EXPECT_EQ(decimal("1.5", 20, 6), "1.500000");
  EXPECT_EQ(decimal("-0.250000000", 20, 6), "-0.250000");
  EXPECT_EQ(decimal("0.000001000", 20, 6), "0.000001");
  EXPECT_EQ(decimal("0.0000000000", 20, 6), "0.000000");
  EXPECT_EQ(decimal("12.000", 2, 0), "12");
  EXPECT_EQ(decimal("99999999999999.999999", 20, 6), "99999999999999.999999");
  EXPECT_EQ(decimal("0.00000000000000000000000000000000000001", 38, 38),
            "0.00000000000000000000000000000000000001");
}

TEST(NumericCodec, ADecimalOfAnyScaleRoundsNothing) {
  for (const char* text : {"0.0000001", "1.0000000000000000000000000000000000000000000001", "100000000000000",
                           "1e20" /* no server sends it */, "NaN", "Infinity", "-Infinity",
                           "123456789012345678901234567890123456789012"}) {
    auto expected = std::string_view(text).contains('e') ? "malformed" : "does not fit";
    EXPECT_EQ(decimal(text, 20, 6), expected) << text;
  }
  EXPECT_EQ(decimal("1", 2, 2), "does not fit");
  EXPECT_EQ(decimal("1.5", 10, 0), "does not fit");
  for (const char* text : {"", "-", "1.", "1.2.3", "x", "1.x00000000"})
    EXPECT_EQ(decimal(text, 20, 6), "malformed") << text;
}

TEST(NumericCodec, ABinaryDecimalOfAnyScaleIsTheSame) {
  EXPECT_EQ(decimal_of(binary({1, 5000}, 0, 0, 1), 20, 6), "1.500000");
  EXPECT_EQ(decimal_of(binary({1, 5000}, 0, 0x4000, 9), 20, 6), "-1.500000");
  EXPECT_EQ(decimal_of(binary({}, 0, 0, 12), 20, 6), "0.000000");
  EXPECT_EQ(decimal_of(binary({1}, -2, 0, 8), 20, 6), "does not fit");  // 0.00000001
  EXPECT_EQ(decimal_of(binary({100}, -2, 0, 8), 20, 6), "0.000001");
  EXPECT_EQ(decimal_of(binary({100}, 3, 0, 0), 20, 6), "does not fit");  // 10^14
  EXPECT_EQ(decimal_of(binary({}, 0, 0xC000, 0), 20, 6), "does not fit");
  EXPECT_EQ(decimal_of(binary({}, 0, 0xD000, 0), 20, 6), "does not fit");
}

TEST(NumericCodec, ADoubleIsTheSameNumberOrDoesNotFit) {
  EXPECT_EQ(as_double("0.10"), "0.1");
  EXPECT_EQ(as_double("1000"), "1000");
  EXPECT_EQ(as_double("-123456789012.345"), "-123456789012.345");
  EXPECT_EQ(as_double("0.000"), "0");
  EXPECT_EQ(as_double("9007199254740993"), "does not fit");
  EXPECT_EQ(as_double("9007199254740992"), "9007199254740992");
  EXPECT_EQ(as_double("0.30000000000000004"), "0.30000000000000004");
  EXPECT_EQ(as_double("0.30000000000000001"), "does not fit");
  EXPECT_EQ(as_double("0.1000000000000000055511151231257827"), "does not fit");
  EXPECT_EQ(as_double("1" + std::string(300, '0')), "1e+300");
  EXPECT_EQ(as_double("1" + std::string(400, '0')), "does not fit");
  EXPECT_EQ(as_double("-0." + std::string(400, '0') + "1"), "does not fit");
  EXPECT_EQ(as_double("0." + std::string(323, '0') + "5"), "5e-324");
  EXPECT_EQ(as_double("NaN"), "nan");
  EXPECT_EQ(as_double("-Infinity"), "-inf");
  for (const char* text : {"", "x", "1.2.3"}) EXPECT_EQ(as_double(text), "malformed") << text;
}

}  // namespace
}  // namespace tailrace::pg::codec
