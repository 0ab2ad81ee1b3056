#include "pg/codec/network_codec.h"

#include <array>
#include <cstdint>

#include "pg/codec/digits.h"

namespace tailrace::pg::codec {

namespace {

constexpr unsigned family_v4 = 2;  // PGSQL_AF_INET, the same on every platform
constexpr unsigned family_v6 = 3;

unsigned byte_at(std::string_view bytes, std::size_t index) {
  return static_cast<unsigned char>(bytes[index]);
}

void append_v4(std::string& out, std::string_view address) {
  for (std::size_t i = 0; i < 4; ++i) {
    if (i != 0) out.push_back('.');
    append_integer(out, byte_at(address, i));
  }
}

struct Run {
  std::size_t start = 0;
  std::size_t length = 0;
};

// The first of the longest runs of zero words; a single zero is no run.
Run longest_zero_run(const std::array<unsigned, 8>& words) {
  Run best;
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::size_t end = i;
    while (end < words.size() && words[end] == 0) ++end;
    if (end - i > best.length) best = {i, end - i};
    if (end > i) i = end - 1;
  }
  return best.length < 2 ? Run{} : best;
}

void append_hex_word(std::string& out, unsigned word) {
  int shift = 12;
  while (shift > 0 && (word >> shift) == 0) shift -= 4;
  for (; shift >= 0; shift -= 4) out.push_back(hex_digits[(word >> shift) & 15]);
}

void append_v6(std::string& out, std::string_view address) {
  std::array<unsigned, 8> words{};
  for (std::size_t i = 0; i < 8; ++i) words[i] = byte_at(address, 2 * i) << 8 | byte_at(address, 2 * i + 1);
  Run zeros = longest_zero_run(words);
  for (std::size_t i = 0; i < 8;) {
    if (zeros.length != 0 && i == zeros.start) {
      out += "::";
      i += zeros.length;
      continue;
    }
    if (i != 0 && !(zeros.length != 0 && i == zeros.start + zeros.length)) out.push_back(':');
    // An embedded IPv4 address is shown as one.
    if (i == 6 && zeros.start == 0 && (zeros.length == 6 || (zeros.length == 5 && words[5] == 0xFFFF))) {
      append_v4(out, address.substr(12));
      return;
    }
    append_hex_word(out, words[i++]);
  }
}

bool append_address(std::string& out, std::string_view bytes, bool is_cidr) {
  constexpr std::size_t header = 4;  // family, bits, is_cidr, length
  if (bytes.size() < header) return false;
  unsigned family = byte_at(bytes, 0);
  unsigned bits = byte_at(bytes, 1);
  if (family != family_v4 && family != family_v6) return false;
  unsigned length = family == family_v4 ? 4 : 16;
  if (byte_at(bytes, 3) != length || bytes.size() != header + length || bits > length * 8) return false;
  if (family == family_v4) {
    append_v4(out, bytes.substr(header));
  } else {
    append_v6(out, bytes.substr(header));
  }
  if (is_cidr || bits != length * 8) {
    out.push_back('/');
    append_integer(out, bits);
  }
  return true;
}

}  // namespace

bool append_inet(std::string& out, std::string_view bytes) {
  return append_address(out, bytes, false);
}

bool append_cidr(std::string& out, std::string_view bytes) {
  return append_address(out, bytes, true);
}

bool append_mac_address(std::string& out, std::string_view bytes, std::size_t length) {
  if (bytes.size() != length) return false;
  for (std::size_t i = 0; i < length; ++i) {
    if (i != 0) out.push_back(':');
    out.push_back(hex_digits[byte_at(bytes, i) >> 4]);
    out.push_back(hex_digits[byte_at(bytes, i) & 15]);
  }
  return true;
}

}  // namespace tailrace::pg::codec
