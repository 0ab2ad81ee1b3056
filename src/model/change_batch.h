#pragma once
// ChangeBatch: what travels from the reader to a target. It owns the bytes of its changes, is built by one
// thread, and is immutable once handed on.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "base/lsn.h"
#include "model/ahead_transaction.h"
#include "model/relation.h"
#include "model/tuple.h"

namespace tailrace {

enum class ChangeKind : std::uint8_t { insert, update, remove, truncate, message };

/// What an update or delete says of the row before it.
enum class OldTuple : std::uint8_t {
  none,  ///< the key did not change: find the row by the key in the new tuple
  key,   ///< only the replica identity's columns count; the others are absent, not NULL
  full,  ///< REPLICA IDENTITY FULL: every column counts
};

struct Change {
  ChangeKind kind = ChangeKind::insert;
  OldTuple old_kind = OldTuple::none;
  /// insert, update, remove: index into relations. truncate: into truncates. message: into messages.
  std::uint32_t index = 0;
  TupleData old_tuple;
  TupleData new_tuple;
};

struct Truncate {
  std::vector<std::uint32_t> relations;  ///< indexes into ChangeBatch::relations
  bool cascade = false;
  bool restart_identity = false;
};

/// Borrows the batch's arena.
struct LogicalMessage {
  Lsn lsn;
  bool transactional = false;
  std::string_view prefix;
  std::string_view content;
};

/// The stream described a leaf of a partitioned table that arrives as one: its changes follow. The server does
/// so before the first change of each leaf, and again now and then.
struct DescribedLeaf {
  std::uint32_t relation = 0;  ///< index into ChangeBatch::relations: the table that its rows arrive as
  Oid leaf = 0;
  std::size_t change = 0;  ///< index of the first change that may be of it
};

/// One source transaction, or the part of it that this batch holds. Its changes are
/// changes[first_change .. first_change + change_count).
struct TransactionSpan {
  Xid xid = 0;
  Lsn commit_lsn;  ///< start of the commit record; known from the first part on
  Lsn end_lsn;     ///< end of the commit record: what may be acknowledged once durable
  PgTimestamp commit_time;
  std::string origin;  ///< replication origin's name, empty for local changes
  std::size_t first_change = 0;
  std::size_t change_count = 0;
  bool begins = true;  ///< false: an earlier batch holds an earlier part
  bool ends = true;    ///< false: a later batch holds a later part; it must not be committed yet
};

struct ChangeBatch {
  Arena arena;
  std::vector<std::shared_ptr<const Relation>> relations;  ///< each version that a change refers to, once
  std::vector<Change> changes;
  std::vector<Truncate> truncates;
  std::vector<LogicalMessage> messages;
  std::vector<DescribedLeaf> leaves;
  std::vector<TransactionSpan> transactions;  ///< in commit order
  /// Every transaction that ends at or before this is in this batch or an earlier one. Never inside a
  /// transaction that is not complete yet.
  Lsn progress;

  /// Not null: the one transaction here is applied ahead. Either this is a part of it, which has no commit yet
  /// and comes after all that `progress` says; or it has no changes, ends, and is to be committed with what the
  /// parts before brought, and is not in `progress`.
  std::shared_ptr<AheadTransaction> ahead;

  /// The stream had nothing more when this was handed on: commit now, waiting would gain nothing.
  bool caught_up = false;

  /// What the batch holds in memory, roughly.
  std::size_t bytes() const {
    return arena.footprint() + changes.size() * sizeof(Change) + truncates.size() * sizeof(Truncate) +
           messages.size() * sizeof(LogicalMessage) + transactions.size() * sizeof(TransactionSpan);
  }
  /// Without what it holds for more to come.
  std::size_t filled_bytes() const { return bytes() - arena.left(); }
  bool empty() const { return transactions.empty() && messages.empty(); }
};

}  // namespace tailrace
