#pragma once
// TableCopier: copies tables under one exported snapshot with several readers; large tables are split by
// ctid ranges (a heap's physical order; PostgreSQL documentation: "System Columns", "SET TRANSACTION").

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/lsn.h"
#include "base/stop.h"
#include "pipeline/status.h"
#include "schema/table.h"
#include "target/target.h"

namespace tailrace::pipeline {

struct CopyOptions {
  std::string source;    ///< connection string
  std::string snapshot;  ///< exported; its exporter must stay as it is until the copy is over
  Lsn snapshot_lsn;
  int readers = 4;
  bool allow_binary = true;
  bool trust_source = false;  ///< see schema/reading.h
  /// Told of a table that the target refuses, on the calling thread; the others go on. Empty: copy_tables()
  /// throws it.
  std::function<void(const schema::Table& table, const target::TableRefused& refused)> refused = {};
  /// A table whose rows cannot be read or written is refused by that; else it ends the copy of all.
  bool refuses_failed = false;
  bool checks_text = false;  ///< rows come as text, and what of it is not UTF-8 is refused
  /// Whoever has locked a table is waited for; else only as long as lock_patience says, and then copy_tables()
  /// throws the server's Error (lock_not_available). It is for the caller to set it for the connection it
  /// lends.
  bool waits_for_locks = true;
};

constexpr const char* lock_patience = "lock_timeout = '2s'";
constexpr std::string_view lock_not_available = "55P03";

/// Adds them as they are before they are copied.
void list_to_copy(const std::vector<schema::Table>& tables, Status& status);

/// `connection` is in a transaction with that snapshot, and one of the readers until this returns: where the
/// server has no other to give, it copies everything. The target is used by the calling thread, for everything
/// but the rows themselves. Tables that were rewritten, renamed or dropped since the snapshot stay uncopied and
/// are returned: they need a newer snapshot. Throws when a reader fails, and leaves quietly when a stop is
/// requested.
std::vector<Oid> copy_tables(const CopyOptions& options, const std::vector<schema::Table>& tables,
                             pg::Connection& connection, target::Target& target, StatusBoard& board,
                             const StopSignal& stop);

/// A part of a table for one reader: blocks [first_block, end_block) of one leaf; no end is the rest of it.
struct CopyPart {
  std::size_t table = 0;  ///< index into the tables
  std::string schema;     ///< of the leaf
  std::string name;
  std::int64_t first_block = 0;
  std::int64_t end_block = -1;
  std::int64_t pages = 0;
  bool whole = true;        ///< all of the leaf: no ctid condition
  bool alone = false;       ///< the table has no other part, and is not tiny
  bool large_rows = false;  ///< one reader at a time takes such parts: each may hold a huge row several times
  Oid leaf = 0;
};

/// Pure. How many pages each part of a leaf has: the last ones are smaller, so that all readers end together.
std::vector<std::int64_t> part_sizes(std::int64_t pages, int readers);

/// Pure. The statement that copies a part.
std::string copy_command(const schema::Table& table, const CopyPart& part, bool binary);

}  // namespace tailrace::pipeline
