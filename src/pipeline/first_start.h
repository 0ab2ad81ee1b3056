#pragma once
// FirstStart: what a start makes before it has anything to go on from, so that one that fails leaves both ends
// as they were.

#include <string>

#include "config/config.h"
#include "pg/connection.h"
#include "target/target.h"

namespace tailrace::pipeline {

/// One per run. Borrows the configuration.
class FirstStart {
 public:
  /// Before the target is opened.
  explicit FirstStart(const config::Config& config);

  /// Before anything is written to a PostgreSQL target.
  void look_at(pg::Connection& target);
  /// What is there is worth keeping: a checkpoint, or tables.
  void look_at(const target::Target& target);
  void keep() { keep_ = true; }

  // What was made at the source.
  void made_publication() { publication_ = true; }
  void made_slot() { slot_ = true; }

  /// After a failure, with the target closed. Nothing once there was something to keep. Never throws: what
  /// could not be undone is logged, with the SQL that does it.
  void undo() noexcept;

 private:
  void undo_source();
  void undo_target();

  const config::Config& config_;
  bool new_file_ = false;
  bool new_books_ = false;
  bool publication_ = false;
  bool slot_ = false;
  bool keep_ = false;
};

}  // namespace tailrace::pipeline
