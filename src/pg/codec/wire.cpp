#include "pg/codec/wire.h"

#include <array>
#include <bit>
#include <cstring>

#include "base/byte_reader.h"
#include "pg/codec/bytes_codec.h"
#include "pg/codec/datetime_codec.h"
#include "pg/codec/digits.h"
#include "pg/codec/float_codec.h"
#include "pg/codec/network_codec.h"
#include "pg/codec/numeric_codec.h"

namespace tailrace::pg::codec {

namespace {

// In the order of the enumerators.
constexpr std::array<std::string_view, 30> wire_names = {
    "other",  "boolean", "int2",     "int4",  "int8",   "oid",       "xid8",        "float4",
    "float8", "numeric", "date",     "time",  "timetz", "timestamp", "timestamptz", "interval",
    "uuid",   "bytea",   "text",     "char",  "json",   "jsonb",     "bit",         "inet",
    "cidr",   "macaddr", "macaddr8", "money", "pg_lsn", "array"};
static_assert(wire_names.size() == static_cast<std::size_t>(Wire::array) + 1);

template <typename T>
bool load(std::string_view bytes, T& out) {
  if (bytes.size() != sizeof(T)) return false;
  out = load_big_endian<T>(reinterpret_cast<const std::byte*>(bytes.data()));
  return true;
}

template <typename T>
bool append_loaded(std::string& out, std::string_view bytes) {
  T value{};
  if (!load(bytes, value)) return false;
  append_integer(out, value);
  return true;
}

bool append_boolean(std::string& out, std::string_view bytes) {
  if (bytes.size() != 1) return false;
  out.push_back(bytes[0] != 0 ? 't' : 'f');
  return true;
}

bool append_float(Wire wire, std::string& out, std::string_view bytes) {
  std::uint32_t narrow = 0;
  std::uint64_t wide = 0;
  if (wire == Wire::float4) {
    if (!load(bytes, narrow)) return false;
    append_float4(out, std::bit_cast<float>(narrow));
  } else {
    if (!load(bytes, wide)) return false;
    append_float8(out, std::bit_cast<double>(wide));
  }
  return true;
}

bool append_datetime(Wire wire, std::string& out, std::string_view bytes) {
  std::int64_t micros = 0;
  std::int32_t days = 0;
  if (wire == Wire::date) {
    if (!load(bytes, days) || !is_date(days)) return false;
    append_date(out, days);
  } else if (wire == Wire::timetz) {
    TimeWithZone value;
    if (!read_timetz(bytes, value)) return false;
    append_timetz(out, value);
  } else if (wire == Wire::interval) {
    Interval value;
    if (!read_interval(bytes, value)) return false;
    append_interval(out, value);
  } else {
    if (!load(bytes, micros)) return false;
    if (wire == Wire::time) {
      if (micros < 0 || micros > micros_per_day) return false;
      append_time(out, micros);
    } else {
      if (!is_timestamp(micros)) return false;
      if (wire == Wire::timestamp) append_timestamp(out, micros);
      if (wire == Wire::timestamptz) append_timestamptz(out, micros);
    }
  }
  return true;
}

bool append_uuid_bytes(std::string& out, std::string_view bytes) {
  UuidBytes uuid{};
  if (bytes.size() != uuid.size()) return false;
  std::memcpy(uuid.data(), bytes.data(), uuid.size());
  append_uuid(out, uuid);
  return true;
}

bool append_lsn(std::string& out, std::string_view bytes) {
  std::uint64_t lsn = 0;
  if (!load(bytes, lsn)) return false;
  char buffer[24];
  char* end = std::to_chars(buffer, buffer + 8, lsn >> 32, 16).ptr;
  *end++ = '/';
  end = std::to_chars(end, end + 8, lsn & 0xFFFFFFFFU, 16).ptr;
  for (char* each = buffer; each != end; ++each) {
    if (*each >= 'a') *each = static_cast<char>(*each - 'a' + 'A');
  }
  out.append(buffer, static_cast<std::size_t>(end - buffer));
  return true;
}

bool append_rest(Wire wire, std::string& out, std::string_view bytes) {
  switch (wire) {
    case Wire::bytea: append_bytea(out, bytes); return true;
    case Wire::text:
    case Wire::json: out += bytes; return true;
    case Wire::jsonb:
      if (!bytes.starts_with('\1')) return false;  // the version of the form
      out += bytes.substr(1);
      return true;
    case Wire::character:
      if (bytes.size() != 1) return false;
      append_character(out, bytes[0]);
      return true;
    case Wire::bit: return append_bits(out, bytes);
    case Wire::inet: return append_inet(out, bytes);
    case Wire::cidr: return append_cidr(out, bytes);
    case Wire::macaddr: return append_mac_address(out, bytes, 6);
    case Wire::macaddr8: return append_mac_address(out, bytes, 8);
    case Wire::pg_lsn: return append_lsn(out, bytes);
    default: return false;
  }
}

}  // namespace

std::string_view to_string(Wire wire) {
  return wire_names[static_cast<std::size_t>(wire)];
}

std::optional<Wire> parse_wire(std::string_view name) {
  for (std::size_t i = 0; i < wire_names.size(); ++i) {
    if (wire_names[i] == name) return static_cast<Wire>(i);
  }
  return std::nullopt;
}

bool append_text_of_binary(Wire wire, std::string_view bytes, std::string& out) {
  switch (wire) {
    case Wire::boolean: return append_boolean(out, bytes);
    case Wire::int2: return append_loaded<std::int16_t>(out, bytes);
    case Wire::int4: return append_loaded<std::int32_t>(out, bytes);
    case Wire::int8: return append_loaded<std::int64_t>(out, bytes);
    case Wire::oid: return append_loaded<std::uint32_t>(out, bytes);
    case Wire::xid8: return append_loaded<std::uint64_t>(out, bytes);
    case Wire::float4:
    case Wire::float8: return append_float(wire, out, bytes);
    case Wire::numeric: return append_numeric(out, bytes);
    case Wire::date:
    case Wire::time:
    case Wire::timetz:
    case Wire::timestamp:
    case Wire::timestamptz:
    case Wire::interval: return append_datetime(wire, out, bytes);
    case Wire::uuid: return append_uuid_bytes(out, bytes);
    case Wire::money: {
      std::int64_t cents = 0;
      if (!load(bytes, cents)) return false;
      append_money(out, cents);
      return true;
    }
    default: return append_rest(wire, out, bytes);
  }
}

}  // namespace tailrace::pg::codec
