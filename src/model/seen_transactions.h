#pragma once
// SeenTransactions: what a snapshot showed, so that a stream that begins before it brings nothing of that
// again. Positions alone cannot tell: a transaction may have its commit record before the position at which a
// snapshot was taken, and not be visible in it yet.
//
// PostgreSQL documentation: "Transaction ID and Snapshot Information Functions".

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/lsn.h"

namespace tailrace {

struct SeenTransactions {
  std::uint64_t xmin = 0;              ///< everything before this had ended
  std::uint64_t xmax = 0;              ///< nothing from here on had begun
  std::vector<std::uint64_t> running;  ///< in between, what had not ended
  Lsn until;  ///< read after the snapshot was taken: nothing that it shows commits later

  /// True for a committed transaction of the stream that the snapshot showed. The stream's numbers have 32
  /// bits; they are read as those next to the snapshot's.
  bool contains(Xid xid, Lsn commit_lsn) const;

  /// "XMIN:XMAX:XID,XID LSN", as pg_current_snapshot() and a position print.
  std::string str() const;
  static std::optional<SeenTransactions> parse(std::string_view text);
};

}  // namespace tailrace
