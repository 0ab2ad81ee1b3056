#pragma once
// Lsn: a position in PostgreSQL's write-ahead log (documentation: "pg_lsn Type"), printed as %X/%X.

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tailrace {

using Oid = std::uint32_t;
using Xid = std::uint32_t;

struct Lsn {
  std::uint64_t value = 0;

  constexpr auto operator<=>(const Lsn&) const = default;
  constexpr bool valid() const { return value != 0; }

  std::string str() const;
  static std::optional<Lsn> parse(std::string_view text);
};

/// Microseconds since 2000-01-01 00:00:00 UTC, as PostgreSQL counts them.
struct PgTimestamp {
  std::int64_t micros = 0;

  constexpr auto operator<=>(const PgTimestamp&) const = default;
  static PgTimestamp now();
  /// ISO 8601 in UTC with microseconds, for people and JSON.
  std::string str() const;
};

constexpr std::int64_t pg_epoch_unix_seconds = 946684800;

}  // namespace tailrace
