#pragma once
// bytea, uuid, bit strings and "char": types whose values are bytes or bits (PostgreSQL documentation: "Binary
// Data Types", "UUID Type", "Bit String Types"). Pure functions.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace tailrace::pg::codec {

using UuidBytes = std::array<std::uint8_t, 16>;

[[nodiscard]] bool parse_uuid(std::string_view text, UuidBytes& out);
void append_uuid(std::string& out, const UuidBytes& value);

/// From the text of bytea_output = hex: "\x00ff". Appends to `out`.
[[nodiscard]] bool parse_bytea(std::string_view text, std::string& out);
void append_bytea(std::string& out, std::string_view bytes);

/// bit and varbit: a count of bits, and the bits from the highest of the first byte on.
[[nodiscard]] bool append_bits(std::string& out, std::string_view bytes);

/// "char" as PostgreSQL 16 shows it: a byte above 127 as backslash and three octal digits. Earlier servers send
/// that byte bare, which is no UTF-8.
void append_character(std::string& out, char value);

}  // namespace tailrace::pg::codec
