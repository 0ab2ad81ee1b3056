#pragma once
// WalPages: where the last record of a server's log ends. pg_current_wal_insert_lsn() gives the place of the
// next record instead. They differ when the last record filled its page: the next one begins behind the header
// of the page that follows, and until somebody writes it no flush and no stream reaches that place. Who waits
// for it on an idle server waits for ever.
//
// PostgreSQL sources: access/xlog_internal.h (XLogPageHeaderData, XLogLongPageHeaderData); documentation:
// "Preset Options" (wal_block_size, wal_segment_size).

#include <cstdint>

#include "base/lsn.h"
#include "pg/connection.h"

namespace tailrace::pg {

/// In bytes.
struct WalPages {
  std::uint64_t page = 8192;
  std::uint64_t segment = std::uint64_t{16} << 20;

  /// Of the connection's server; they never change there.
  static WalPages read(Connection& connection);

  /// `next`: as pg_current_wal_insert_lsn() gives it. A position that a flush reaches.
  constexpr Lsn end_of_record(Lsn next) const {
    // A segment's first page has the longer header.
    constexpr std::uint64_t header = 24;
    constexpr std::uint64_t long_header = 40;
    if (next.value % segment == long_header) return {next.value - long_header};
    if (next.value % page == header) return {next.value - header};
    return next;
  }
};

}  // namespace tailrace::pg
