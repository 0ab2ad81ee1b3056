#pragma once
// Checkpoint: what is durable in the target. It is committed there in the transaction whose data it covers.

#include <cstdint>
#include <string>

#include "base/lsn.h"

namespace tailrace {

struct Checkpoint {
  std::string slot;               ///< empty: the rows are those of a snapshot, and nothing is followed yet
  std::string system_identifier;  ///< the source cluster's, as IDENTIFY_SYSTEM prints it
  std::uint32_t timeline = 0;
  Lsn lsn;  ///< end_lsn of the last durable transaction
  PgTimestamp commit_time;
  /// SeenTransactions of the snapshot that the rows come from, where the stream begins before it; else empty.
  std::string seen = {};
};

}  // namespace tailrace
