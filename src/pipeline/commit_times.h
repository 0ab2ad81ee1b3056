#pragma once
// CommitTimes: how long commits of the target take, and how old the source's transactions are when they are
// durable there. One thread: the applier's.

#include <chrono>
#include <deque>

#include "base/lsn.h"
#include "pipeline/measures.h"

namespace tailrace::pipeline {

class CommitTimes {
 public:
  explicit CommitTimes(Measures& measures) : measures_(measures) {}

  /// A transaction of the source goes into the next commit; by the source's clock.
  void add(PgTimestamp commit_time);
  /// The target is about to be told to commit all of them. One that changes nothing is not measured.
  void commit(Lsn lsn, bool changed);
  /// Commits up to here are done.
  void arrived(Lsn lsn);
  /// And here they are durable. Of many transactions in one commit, the oldest counts: no other was slower.
  void durable(Lsn lsn);
  /// What has not arrived is undone.
  void roll_back();

 private:
  using Clock = std::chrono::steady_clock;

  struct Commit {
    Lsn lsn;
    PgTimestamp oldest;
    Clock::time_point began;
    bool arrived = false;
  };

  Measures& measures_;
  PgTimestamp oldest_;  ///< of those that are not in a commit yet
  std::deque<Commit> commits_;
};

}  // namespace tailrace::pipeline
