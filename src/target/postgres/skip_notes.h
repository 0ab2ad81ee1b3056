#pragma once
// SkipNotes: tailrace.skips at the target. See bad_changes.h.

#include <string>
#include <vector>

#include "target/bad_changes.h"
#include "target/postgres/apply_session.h"

namespace tailrace::target::postgres {

/// Borrows both connections: `books` for what stands by itself, `session` for the open transaction. The tables
/// are KeptChanges' to make.
class SkipNotes {
 public:
  SkipNotes(pg::Connection& books, ApplySession& session, const std::string& subscription);

  std::vector<SkipNote> read();
  /// By `books`, in its open transaction. `applied`: the checkpoint.
  void note(Lsn commit_lsn, Lsn applied);
  bool take_back(Lsn commit_lsn);
  void give_up(Lsn commit_lsn);
  /// By the session, in its open transaction.
  void use(Lsn commit_lsn, const std::string& left_out);

 private:
  pg::Connection& books_;
  ApplySession& session_;
  std::string literal_;  ///< the subscription, quoted
};

}  // namespace tailrace::target::postgres
