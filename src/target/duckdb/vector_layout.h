#pragma once
// VectorLayout: how DuckDB lays out in its vectors what its C header leaves opaque, shared by the writer and
// the renderer. The unit tests hold each against the C API or a cast inside DuckDB.

#include <duckdb.h>

#include <bit>
#include <cstdint>
#include <cstring>

#include "base/byte_reader.h"
#include "pg/codec/bytes_codec.h"
#include "pg/codec/datetime_codec.h"
#include "pg/codec/numeric_codec.h"

namespace tailrace::target::duckdb {

/// TIMESTAMP and DATE count from 1970 and keep their extremes for the infinities.
constexpr std::int64_t timestamp_infinity = INT64_MAX;
constexpr std::int64_t timestamp_minus_infinity = -INT64_MAX;
constexpr std::int32_t date_infinity = INT32_MAX;
constexpr std::int32_t date_minus_infinity = -INT32_MAX;
constexpr std::int64_t pg_epoch_unix_micros = pg::codec::pg_epoch_unix_days * pg::codec::micros_per_day;

/// TIME WITH TIME ZONE: 40 bits of microseconds above 24 bits of offset, reversed so that the bits sort by
/// time.
inline std::uint64_t timetz_bits(const pg::codec::TimeWithZone& value) {
  auto reversed = static_cast<std::uint64_t>(pg::codec::max_zone_seconds - value.offset_seconds);
  return static_cast<std::uint64_t>(value.micros) << 24 | reversed;
}
inline pg::codec::TimeWithZone timetz_of_bits(std::uint64_t bits) {
  return {static_cast<std::int64_t>(bits >> 24),
          pg::codec::max_zone_seconds - static_cast<std::int32_t>(bits & 0xFFFFFF)};
}

inline duckdb_hugeint hugeint_of(pg::codec::Int128 value) {
  return {static_cast<std::uint64_t>(value), static_cast<std::int64_t>(value >> 64)};
}
inline pg::codec::Int128 int128_of(duckdb_hugeint value) {
  auto high = static_cast<pg::codec::UInt128>(static_cast<std::uint64_t>(value.upper)) << 64;
  return static_cast<pg::codec::Int128>(high | value.lower);
}

/// UUID: a big-endian number of 128 bits whose top bit is flipped, so that signed order is byte order.
inline duckdb_hugeint hugeint_of(const pg::codec::UuidBytes& uuid) {
  auto at = reinterpret_cast<const std::byte*>(uuid.data());
  std::uint64_t upper = load_big_endian<std::uint64_t>(at) ^ (std::uint64_t{1} << 63);
  return {load_big_endian<std::uint64_t>(at + 8), std::bit_cast<std::int64_t>(upper)};
}
inline pg::codec::UuidBytes uuid_of(duckdb_hugeint value) {
  pg::codec::UuidBytes out{};
  auto at = reinterpret_cast<std::byte*>(out.data());
  store_big_endian(at, static_cast<std::uint64_t>(value.upper) ^ (std::uint64_t{1} << 63));
  store_big_endian(at + 8, value.lower);
  return out;
}

/// Strings up to this length stand in the vector itself; the bytes behind them are zero.
constexpr std::uint32_t max_inlined_string = 12;

}  // namespace tailrace::target::duckdb
