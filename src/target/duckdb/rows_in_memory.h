#pragma once
// RowsInMemory: what DuckDB keeps of rows that were written since the last checkpoint of its file.
//
// DuckDB takes two blocks of memory for each column of each table that is written to, one for values and one
// for their NULLs, however few rows come, and gives them back by a checkpoint alone: 2.5 MB for a table of
// twenty columns. (In a table without rows, room for 2,048 values.) Its own checkpoints come by the size of its
// log, which a thousand tables with one row each do not reach before the memory is used up; then each commit
// reads and writes what does not fit, and in the end the file cannot be written to any more. So a checkpoint is
// made here when much of the memory is taken.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>

#include "base/lsn.h"

namespace tailrace::target::duckdb {

class Session;

/// Of one database; any thread.
class RowsInMemory {
 public:
  /// `limit`: DuckDB's memory_limit, `block`: the file's, both in bytes. 0: not known, and nothing is done.
  RowsInMemory(std::int64_t limit, std::int64_t block) : limit_(block > 0 ? limit : 0), block_(block) {}

  /// Rows go to a table of so many columns, in this transaction or the next one. A guess that is too high costs
  /// a question to DuckDB.
  void wrote(Oid table, std::size_t columns, std::size_t rows);
  /// The same of a table that was empty.
  void filled(Oid table, std::size_t columns, std::size_t rows);

  /// Before a transaction of this session. A checkpoint lets other sessions write, but whoever asks here
  /// meanwhile waits for its end. Throws Error as a checkpoint does; not where another session's transaction is
  /// in its way.
  void make_room(Session& session);

  /// A transaction that writes to these tables takes much: it should be committed, so that a checkpoint can be
  /// made.
  bool is_much(const std::map<Oid, std::size_t>& columns_of_tables);

 private:
  void took(Oid table, std::int64_t first, std::int64_t more);
  /// That may be taken before a checkpoint is due.
  std::int64_t most() const { return limit_ / 5 * 2; }

  std::int64_t limit_;
  std::int64_t block_;
  std::atomic<std::int64_t> guess_{0};  ///< bytes that are taken, at the most
  std::mutex making_room_;
  std::mutex mutex_;
  std::set<Oid> tables_;  ///< that were written to since the last checkpoint
};

}  // namespace tailrace::target::duckdb
