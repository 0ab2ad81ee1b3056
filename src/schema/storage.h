#pragma once
// Storage: where a table's rows are, as the catalogs say. The stream is silent when rows come or go with their
// heap: a partition is attached, detached, truncated or dropped; a table is UNLOGGED for a while. What was
// recorded of it beside what is there now tells so afterwards.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/lsn.h"

namespace tailrace::schema {

/// A relation that holds rows: a table itself, or a leaf of a partitioned one.
struct Heap {
  Oid table = 0;
  Oid filenode = 0;  ///< another one: rewritten, truncated, or vacuumed in full
  /// Its TOAST table, or 0. VACUUM FULL, CLUSTER and TRUNCATE keep it; what ALTER TABLE rewrites, SET UNLOGGED
  /// and SET LOGGED among it, gets another one.
  Oid toast = 0;
  /// Of a leaf: the versions of the pg_inherits rows by which it is one, itself first. ATTACH makes a new row.
  std::string attached;
  /// The transaction that wrote its pg_class row. Not recorded.
  Xid version = 0;
  /// The stream brought rows of this leaf, and no look at the catalogs has found it yet.
  bool only_described() const { return filenode == 0 && attached.empty(); }
};

struct Storage {
  std::int16_t highest_attnum = 0;  ///< ever given to a column, when the columns were recorded
  std::vector<Heap> heaps;          ///< by table

  const Heap* find(Oid table) const;
  /// As the targets keep it. Empty: not known.
  std::string str() const;
  static std::optional<Storage> parse(std::string_view text);
};

}  // namespace tailrace::schema
