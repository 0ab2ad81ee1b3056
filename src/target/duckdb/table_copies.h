#pragma once
// TableCopies: tables that are being copied. Their rows go into a hidden table, which takes the table's name
// when the copy is whole: until then readers of the file see the table as it was before, or none.
//
// The hidden ones are noted in the table tailrace.copies, so that what an ended process left behind is known to
// be ours, and goes. DuckDB cannot move a table to another schema, so each stands beside the table that it
// becomes, under a name that says what it is.

#include <map>
#include <set>

#include "target/duckdb/mirror.h"

namespace tailrace::target::duckdb {

/// Each call within the session's current transaction. One thread at a time.
class TableCopies {
 public:
  TableCopies(Session& session, Mirror& mirror) : session_(session), mirror_(mirror) {}

  /// An empty hidden table for `planned`, instead of an earlier one. `distinct`: positions of text columns that
  /// hold hardly any value twice.
  void start(const MirrorTable& planned, const std::set<std::size_t>& distinct);
  bool underway(Oid table) const { return hidden_.contains(table); }
  /// Where rows are to be written: the table as planned, under the hidden name.
  const MirrorTable& at(Oid table) const;
  /// The hidden table takes the place of the one before.
  void finish(Oid table, Lsn snapshot, std::int64_t rows);
  void drop(Oid table);
  /// True while the file may hold unfinished copies. Also outside of a transaction.
  bool any_noted();
  /// Whatever was not finished, also by an earlier process.
  void drop_all();

 private:
  struct Copy {
    MirrorTable hidden;
    std::string final_name;
  };

  Session& session_;
  Mirror& mirror_;
  std::map<Oid, Copy> hidden_;
};

}  // namespace tailrace::target::duckdb
