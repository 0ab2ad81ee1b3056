#pragma once
// ConflictLog: says and counts the conflicts of what was committed. What is rolled back comes again, and is
// only told then. One thread.

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "model/conflict.h"

namespace tailrace::target::postgres {

struct Conflict {
  ConflictKind kind = ConflictKind::insert_exists;
  std::string resolution;  ///< what was done, in two words or three
  std::string relation;
  std::string key;      ///< a JSON object
  std::string indexes;  ///< unique ones that are in the way; may be empty
  Lsn commit_lsn;
  PgTimestamp commit_time;
  std::string local;  ///< who wrote the row in the way, and when; may be empty

  /// Without its resolution.
  std::string str() const;
};

class ConflictLog {
 public:
  explicit ConflictLog(log::Level level) : level_(level) {}

  void note(Oid table, Conflict conflict);
  void committed();
  void rolled_back();
  /// Since the last call, of what was committed.
  std::map<Oid, ConflictCounts> take_counts();

 private:
  log::Level level_;
  std::map<Oid, ConflictCounts> pending_counts_;
  std::vector<Conflict> pending_;  ///< not more than would be written
  std::map<Oid, ConflictCounts> counts_;
  std::int64_t pending_total_ = 0;
  std::int64_t untold_ = 0;
  std::size_t lines_ = 0;  ///< in this window
  std::chrono::steady_clock::time_point window_;
};

}  // namespace tailrace::target::postgres
