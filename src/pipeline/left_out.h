#pragma once
// LeftOut: source transactions that are to be left out whole, as the target's notes say, and what was left out.

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "model/change_batch.h"
#include "target/bad_changes.h"

namespace tailrace::pipeline {

/// One thread: the runner's. Copied to come back to a state before a failed attempt.
class LeftOut {
 public:
  LeftOut() = default;
  explicit LeftOut(const std::vector<target::SkipNote>& notes);

  bool wants(Lsn commit_lsn) const { return waiting_.contains(commit_lsn); }
  /// Counts the changes of a transaction, or of a part of it.
  void add(const ChangeBatch& batch, const TransactionSpan& transaction);
  /// The transaction is whole: "2 inserts and 1 delete of public.t". It is not waited for any more.
  std::string finish(Lsn commit_lsn);
  /// Those that never came, now that everything up to `progress` did. They are not waited for any more.
  std::vector<Lsn> take_missed(Lsn progress);

 private:
  std::set<Lsn> waiting_;
  std::map<std::string, std::map<ChangeKind, std::int64_t>> counts_;  ///< by table, of the open transaction
};

}  // namespace tailrace::pipeline
