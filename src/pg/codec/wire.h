#pragma once
// Wire: which PostgreSQL type's bytes arrive, as far as their format differs (PostgreSQL documentation: "Data
// Types"; the binary forms are those of the types' send functions). Pure: no I/O, no allocation but the output.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tailrace::pg::codec {

enum class Wire : std::uint8_t {
  other,  ///< only its text form is understood
  boolean,
  int2,
  int4,
  int8,
  oid,  ///< also xid and cid
  xid8,
  float4,
  float8,
  numeric,
  date,
  time,
  timetz,
  timestamp,
  timestamptz,
  interval,
  uuid,
  bytea,
  text,       ///< also varchar, bpchar, name, enums, citext: binary and text forms are the same bytes
  character,  ///< "char", one byte
  json,
  jsonb,
  bit,  ///< also varbit
  inet,
  cidr,
  macaddr,
  macaddr8,
  money,
  pg_lsn,
  array,  ///< of the element type that stands beside this
};

/// What became of a value.
enum class Decoded : std::uint8_t {
  ok,
  does_not_fit,  ///< a true PostgreSQL value that the destination cannot hold exactly
  malformed,     ///< not what a server with the pinned session settings sends
};

std::string_view to_string(Wire wire);
std::optional<Wire> parse_wire(std::string_view name);

/// True when append_text_of_binary understands it. For an array the element decides.
constexpr bool has_binary_form(Wire wire) {
  return wire != Wire::other && wire != Wire::array;
}

/// Appends the text that PostgreSQL shows (session settings as Connection::open pins them) for a value in its
/// binary form. False when the bytes are malformed; `out` may then hold a part. Not for other and array.
[[nodiscard]] bool append_text_of_binary(Wire wire, std::string_view bytes, std::string& out);

}  // namespace tailrace::pg::codec
