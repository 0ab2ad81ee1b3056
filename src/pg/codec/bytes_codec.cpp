#include "pg/codec/bytes_codec.h"

#include "base/byte_reader.h"
#include "pg/codec/digits.h"

namespace tailrace::pg::codec {

namespace {

bool take_byte(const char* at, std::uint8_t& out) {
  int high = hex_value(at[0]);
  int low = hex_value(at[1]);
  out = static_cast<std::uint8_t>((high << 4 | low) & 0xFF);
  return (high | low) >= 0;
}

void put_byte(char* at, std::uint8_t value) {
  at[0] = hex_digits[value >> 4];
  at[1] = hex_digits[value & 15];
}

}  // namespace

bool parse_uuid(std::string_view text, UuidBytes& out) {
  if (text.size() != 36) return false;
  std::size_t at = 0;
  for (auto& each : out) {
    if (at == 8 || at == 13 || at == 18 || at == 23) {
      if (text[at++] != '-') return false;
    }
    if (!take_byte(text.data() + at, each)) return false;
    at += 2;
  }
  return true;
}

void append_uuid(std::string& out, const UuidBytes& value) {
  char buffer[36];
  std::size_t at = 0;
  for (std::uint8_t each : value) {
    if (at == 8 || at == 13 || at == 18 || at == 23) buffer[at++] = '-';
    put_byte(buffer + at, each);
    at += 2;
  }
  out.append(buffer, sizeof(buffer));
}

bool parse_bytea(std::string_view text, std::string& out) {
  if (!text.starts_with("\\x") || text.size() % 2 != 0) return false;
  std::size_t start = out.size();
  out.resize(start + text.size() / 2 - 1);
  for (std::size_t from = 2, to = start; from < text.size(); from += 2, ++to) {
    std::uint8_t byte = 0;
    if (!take_byte(text.data() + from, byte)) return false;
    out[to] = static_cast<char>(byte);
  }
  return true;
}

void append_bytea(std::string& out, std::string_view bytes) {
  out += "\\x";
  std::size_t at = out.size();
  out.resize(at + 2 * bytes.size());
  for (char each : bytes) {
    put_byte(out.data() + at, static_cast<std::uint8_t>(each));
    at += 2;
  }
}

bool append_bits(std::string& out, std::string_view bytes) {
  constexpr std::size_t header = 4;
  if (bytes.size() < header) return false;
  auto count = load_big_endian<std::uint32_t>(reinterpret_cast<const std::byte*>(bytes.data()));
  if (count > INT32_MAX || bytes.size() - header != (std::size_t{count} + 7) / 8) return false;
  for (std::size_t i = 0; i < count; ++i) {
    auto byte = static_cast<unsigned char>(bytes[header + i / 8]);
    out.push_back(((byte >> (7 - i % 8)) & 1) != 0 ? '1' : '0');
  }
  return true;
}

void append_character(std::string& out, char value) {
  auto byte = static_cast<unsigned char>(value);
  if (byte >= 0x80) {
    out.push_back('\\');
    out.push_back(static_cast<char>('0' + (byte >> 6)));
    out.push_back(static_cast<char>('0' + ((byte >> 3) & 7)));
    out.push_back(static_cast<char>('0' + (byte & 7)));
  } else if (byte != 0) {
    out.push_back(value);
  }
}

}  // namespace tailrace::pg::codec
