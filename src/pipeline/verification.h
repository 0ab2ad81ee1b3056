#pragma once
// Verification: compares source and target table by table while both go on, and mends the target where asked.
//
// A position is agreed on by a meeting: a temporary slot says where the source's snapshot stands, and the
// applier stops exactly there for a moment. Each table is compared at one meeting; a snapshot is let go when
// its table is done and it is older than a minute. To mend, the applier waits at a new meeting, where the rows
// in question are read again on both sides, and writes what differs then: so no change that the stream brings
// is undone or anticipated.

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/stop.h"
#include "config/config.h"
#include "pipeline/applier.h"
#include "pipeline/status.h"
#include "pipeline/verify_pace.h"
#include "schema/reading.h"
#include "verify/comparison.h"

namespace tailrace::pipeline {

struct VerifyRequest {
  std::vector<std::string> tables;  ///< SCHEMA.TABLE at the source; empty: all that are published
  bool repair = false;
};

/// The applier that streams now, for other threads.
class RunningApplier {
 public:
  /// Null when it is over.
  void set(Applier* applier);
  /// Waits until there is one. Throws StopRequested when `give_up` says so.
  void with(const std::function<void(Applier&)>& action, const std::function<bool()>& give_up);
  void withdraw(const std::shared_ptr<Barrier>& barrier);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Applier* applier_ = nullptr;
};

/// Made for one request. One thread, beside the engine's.
class Verification {
 public:
  /// `engine_stop`: when what is compared ends. `stop`: when nobody wants to know any more.
  Verification(const config::Config& config, RunningApplier& applier, StatusBoard& board,
               const StopSignal& engine_stop, const StopSignal& stop);
  ~Verification();
  Verification(const Verification&) = delete;
  Verification& operator=(const Verification&) = delete;

  /// Throws Error and StopRequested; `report` holds what was found until then.
  void run(const VerifyRequest& request, verify::Report& report);

 private:
  struct Meeting;
  /// The meeting has no view yet.
  using Act = std::function<void(Meeting& meeting, target::Target& target, const Checkpoint& checkpoint)>;

  bool given_up() const { return stop_.requested() || engine_stop_.requested(); }
  std::unique_ptr<Meeting> meet(const Act& act);
  std::unique_ptr<Meeting> meet_once(const Act& act);
  template <typename Action>
  auto under_newer_snapshots(const Action& action);
  void meet_to_compare();
  std::vector<schema::Table> published(pg::Connection& source, pg::Connection& now) const;
  void refuse_code_of_others(const std::vector<std::pair<Oid, std::string>>& wanted);
  verify::Around guarded(pg::Connection& source, const schema::Table& table);
  verify::Comparison compare(Oid oid);
  verify::TableReport repair(Oid oid, verify::Comparison found);
  verify::Mended mend(Oid oid, const verify::RowShape& shape, std::vector<std::string> keys);

  const config::Config& config_;
  RunningApplier& applier_;
  StatusBoard& board_;
  const StopSignal& engine_stop_;
  const StopSignal& stop_;
  std::unique_ptr<Meeting> meeting_;
  schema::QueryGuard guard_;
  VerifyPace pace_;
};

}  // namespace tailrace::pipeline
