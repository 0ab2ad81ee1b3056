#pragma once
// GroupRun: one target transaction on its way, applied by a lane's thread beside others; see lanes.h.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "target/postgres/lane.h"

namespace tailrace::target::postgres {

/// One table's changes in a transaction.
struct Work {
  std::shared_ptr<const TablePlan> plan;
  TableBatch batch;
  std::shared_ptr<const void> borrowed;  ///< keeps what the batch borrows from
};

/// A target transaction: everything between two commits.
struct Group {
  std::vector<Work> works;  ///< in this order
  Checkpoint checkpoint;
  bool deferrable = true;
  bool flushed = false;  ///< when it is committed
};

/// How long a transaction that waits for another waits before it looks who waits for it.
constexpr auto between_looks = std::chrono::milliseconds(200);

/// `execute` runs on a lane's thread; the rest is asked from anywhere.
class GroupRun {
 public:
  /// `earlier`: those that were on their way when this one was given, in order.
  GroupRun(Group group, std::vector<std::shared_ptr<GroupRun>> earlier);

  void execute(Lane& lane, const std::string& advance_sql);

  bool ended() const;
  /// Waits for its end; true if it committed.
  bool wait() const;
  /// Waits this long for its end; true if it came.
  bool wait_for(std::chrono::milliseconds time) const;
  const Checkpoint& checkpoint() const { return group_.checkpoint; }
  /// Once it ended.
  Landed landed() const { return landed_; }
  std::exception_ptr error() const { return error_; }

 private:
  enum class State { running, committed, failed };

  void classify();
  bool wait_classified() const;
  void wait_for_earlier() const;
  void wait_for_earlier(Lane& lane) const;
  Landed apply(Lane& lane, const std::string& advance_sql);
  void check_earlier() const;
  Landed apply_beside(Lane& lane, const std::string& advance_sql, const std::vector<GroupRun*>& beside);
  void hold_back(const Work& work, SetChanges& now, SetChanges& later);
  void end(State state, Landed landed, std::exception_ptr error);

  Group group_;
  std::atomic<int> backend_ = 0;                    ///< of its lane
  std::vector<std::shared_ptr<GroupRun>> earlier_;  ///< its own thread's

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  State state_ = State::running;
  bool classified_ = false;
  std::vector<SetChanges> changes_;  ///< of each work; not changed once it is classified
  Landed landed_;
  std::exception_ptr error_;

  std::mutex filters_mutex_;
  std::vector<std::optional<KeyFilter>> filters_;  ///< of each work, made when first asked for
};

}  // namespace tailrace::target::postgres
