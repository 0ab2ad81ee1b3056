#pragma once
// DescribedLeaves: which leaf of a partitioned table the rows that follow are of. With
// publish_via_partition_root pgoutput sends a leaf's changes as the root's; before the first of them it
// describes the root and, right after it, the leaf (maybe_send_schema() in pgoutput.c, PostgreSQL 13 to 18).
// That is all the stream ever says of leaves.

#include <map>
#include <optional>

#include "base/lsn.h"

namespace tailrace::source {

/// One thread.
class DescribedLeaves {
 public:
  void describe(Oid relation);
  /// A row of `relation` comes. The leaf that it is of, if it was described for this row, or for one before it
  /// that was left out; several where several were: call it until it has none.
  std::optional<Oid> leaf_of(Oid relation);
  /// The row that comes is left out, and its leaf may not be described again.
  void keep_for_later(Oid relation);
  /// Something else came than a row.
  void interrupt() { before_ = last_ = 0; }

 private:
  std::optional<Oid> described_for(Oid relation);

  Oid before_ = 0;
  Oid last_ = 0;
  std::multimap<Oid, Oid> later_;  ///< relation -> leaf
};

}  // namespace tailrace::source
