#pragma once
// Digits: decimal and hexadecimal digits to and from integers, for the codecs beside this.

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tailrace::pg::codec {

constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

constexpr std::string_view hex_digits = "0123456789abcdef";

inline constexpr std::array<std::int8_t, 256> hex_values = [] {
  std::array<std::int8_t, 256> out{};
  out.fill(-1);
  for (std::size_t i = 0; i < 16; ++i) {
    auto c = static_cast<unsigned char>(hex_digits[i]);
    out[c] = static_cast<std::int8_t>(i);
    if (i >= 10) out[c - 'a' + 'A'] = static_cast<std::int8_t>(i);
  }
  return out;
}();

/// 0 to 15, or -1.
constexpr int hex_value(char c) {
  return hex_values[static_cast<unsigned char>(c)];
}

template <typename Integer>
void append_integer(std::string& out, Integer value) {
  char buffer[24];
  auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  out.append(buffer, static_cast<std::size_t>(end - buffer));
}

/// With leading zeros up to `width`.
inline void append_padded(std::string& out, std::uint64_t value, std::size_t width) {
  char buffer[24];
  auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  auto length = static_cast<std::size_t>(end - buffer);
  if (length < width) out.append(width - length, '0');
  out.append(buffer, length);
}

inline void append_two_digits(std::string& out, unsigned value) {
  out.push_back(static_cast<char>('0' + value / 10));
  out.push_back(static_cast<char>('0' + value % 10));
}

/// Reads a text from the front. Every take_ leaves the cursor where it was when it fails.
class TextCursor {
 public:
  explicit TextCursor(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

  bool done() const { return at_ == end_; }
  std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }
  /// NUL at the end.
  char peek() const { return at_ == end_ ? '\0' : *at_; }

  bool take(char c) {
    if (peek() != c || done()) return false;
    ++at_;
    return true;
  }
  bool take(std::string_view word) {
    if (!std::string_view(at_, left()).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  bool take_two_digits(unsigned& value) {
    if (left() < 2 || !is_digit(at_[0]) || !is_digit(at_[1])) return false;
    value = static_cast<unsigned>((at_[0] - '0') * 10 + (at_[1] - '0'));
    at_ += 2;
    return true;
  }
  /// Digits only, at least one, at most `max_digits` (which must keep the value within 64 bits).
  bool take_number(std::uint64_t& value, std::size_t max_digits) {
    const char* start = at_;
    std::uint64_t sum = 0;
    while (at_ != end_ && is_digit(*at_)) sum = sum * 10 + static_cast<std::uint64_t>(*at_++ - '0');
    auto count = static_cast<std::size_t>(at_ - start);
    if (count == 0 || count > max_digits) {
      at_ = start;
      return false;
    }
    value = sum;
    return true;
  }

 private:
  const char* at_;
  const char* end_;
};

}  // namespace tailrace::pg::codec
