#pragma once
// FirstStart: what a start makes before it has anything to go on from, so that one that fails leaves both ends
// as they were.

#include <set>
#include <string>

#include "config/config.h"
#include "pg/connection.h"
#include "target/open_target.h"
#include "target/target.h"

namespace tailrace::pipeline {

/// One per run. Borrows the configuration.
class FirstStart {
 public:
  /// Before the target is opened.
  explicit FirstStart(const config::Config& config);

  /// To be opened by these: what is found and made at the target is noted. Borrowed.
  void watch(target::OpenOptions& options);
  /// Before anything is written to a PostgreSQL target that has no checkpoint of this mirror.
  void look_at(pg::Connection& target);
  /// First when it was opened. A checkpoint, or tables, that are there then are worth keeping; later, a table
  /// that is whole.
  void look_at(const target::Target& target);
  void keep() { keep_ = true; }

  // What was made at the source.
  void made_publication() { publication_ = true; }
  void made_slot() { slot_ = true; }

  /// After a failure, with the target closed: all that this start made goes, unless there is something to keep.
  /// True: nothing is left of it. Never throws: what could not be undone is logged, with the SQL that does it.
  bool undo() noexcept;

 private:
  bool undo_source();
  bool undo_target();
  bool remove_file();

  const config::Config& config_;
  bool new_file_ = false;
  bool touched_ = false;  ///< something may have been made at a PostgreSQL target
  target::PostgresTraces traces_;
  bool publication_ = false;
  bool slot_ = false;
  bool keep_ = false;
};

}  // namespace tailrace::pipeline
