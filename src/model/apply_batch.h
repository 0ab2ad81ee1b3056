#pragma once
// TableBatch: the net effect of a run of changes on one table, ready to be applied set-wise. Everything is
// borrowed from the ChangeBatches (and the fold's arena) that it was made from.

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "base/arena.h"
#include "model/change_batch.h"

namespace tailrace {

constexpr std::uint32_t no_index = std::numeric_limits<std::uint32_t>::max();

/// A row that must exist afterwards. A column that its tuple says is unchanged comes from `base`, and where
/// that chain ends from the target's row whose key is `deletes[lookup]`.
struct FoldedRow {
  TupleData tuple;
  std::uint32_t base = no_index;    ///< index into rows: an older version within this batch
  std::uint32_t lookup = no_index;  ///< index into deletes: the target's row before this batch
  std::uint32_t replaces =
      no_index;      ///< index into deletes: the target's row with the same replica identity key
  bool live = true;  ///< false: superseded, only here as somebody's base
};

/// A target row that must go, named by a tuple that holds its key columns (or, without a key, all columns).
struct FoldedDelete {
  TupleData tuple;
  std::uint32_t count = 1;  ///< more than one only for equal rows of a table without a key
};

/// Apply in this order: truncate, look up what `rows` need, deletes, rows.
struct TableBatch {
  std::shared_ptr<const Relation> relation;
  bool truncate = false;
  std::vector<FoldedDelete> deletes;
  std::vector<FoldedRow> rows;
  std::size_t live_rows = 0;
  std::size_t rows_to_look_up = 0;  ///< live rows whose chain ends in the target
  Arena arena;                      ///< composed keys and rows

  PgTimestamp commit_time;   ///< of the last source transaction in it
  std::int64_t inserts = 0;  ///< changes before folding
  std::int64_t updates = 0;
  std::int64_t removes = 0;
  std::int64_t truncates = 0;

  bool empty() const { return !truncate && deletes.empty() && live_rows == 0; }
};

/// Where a change stands in the stream. Borrowed from its ChangeBatch.
struct ChangePlace {
  const TransactionSpan* transaction = nullptr;
  std::uint64_t position = 0;  ///< within its source transaction, from 0; the same whenever it is sent again
};

/// Changes of one table that must be applied one by one, in the source's order. Borrowed from ChangeBatches.
struct RowRun {
  struct Entry {
    const Change* change = nullptr;  ///< insert, update or remove
    Lsn commit_lsn;                  ///< of its source transaction
    ChangePlace place;
  };
  std::shared_ptr<const Relation> relation;
  std::vector<Entry> entries;
};

/// The value of every column of a folded row, resolved along its chain; still `unchanged` where only the
/// target knows it. `out` must hold the relation's column count.
inline void resolve_row(const TableBatch& batch, const FoldedRow& row, std::vector<Value>& out) {
  TupleWalker columns(row.tuple);
  bool open = false;
  for (auto& value : out) {
    value = columns.next();
    open |= value.kind == ValueKind::unchanged;
  }
  std::uint32_t base = row.base;
  while (open && base != no_index) {
    const FoldedRow& older = batch.rows[base];
    TupleWalker older_columns(older.tuple);
    open = false;
    for (auto& value : out) {
      Value candidate = older_columns.next();
      if (value.kind == ValueKind::unchanged) value = candidate;
      open |= value.kind == ValueKind::unchanged;
    }
    base = older.base;
  }
}

}  // namespace tailrace
