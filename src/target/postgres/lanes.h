#pragma once
// Lanes: target transactions side by side, each on a connection and a thread of its own, which commit in the
// order in which they were given. What touches a key that a transaction before it touches waits for that one's
// commit; everything else is applied at once.
//
// Why that is exact: two changes of one row always name the same key, so the order between them is kept. Where
// rows depend on each other by more than their key (TablePlan::further_unique), all of the table's changes
// wait. If the database still sees a conflict (keys that are spelled differently and equal), the transaction is
// undone and applied again when it is alone; and so it is if an earlier one waits for a lock in the database.
//
// One more lane takes a transaction that is still in progress at the source.

#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "target/postgres/ahead_lane.h"
#include "target/postgres/group_run.h"

namespace tailrace::target::postgres {

/// All calls but interrupt() by one thread, the one that owns it.
class Lanes {
 public:
  /// Opens the first connection now, the others when they are first needed.
  Lanes(ApplyOptions options, int count, std::string advance_sql);
  ~Lanes();

  /// The first lane, for what must be done alone; only when idle().
  Lane& alone();
  bool idle() const { return running_.empty(); }
  std::size_t count() const { return workers_.size(); }

  /// Hands over a transaction, when fewer than `count` are on their way; waits for the earliest until then.
  /// Throws what made one fail; none after it is applied then, and nothing is on its way any more.
  void give(Group group);
  /// Waits for all. Throws as give() does.
  void settle();
  /// Waits for all, and forgets how they ended.
  void abandon() noexcept;

  struct Committed {
    Checkpoint checkpoint;
    Landed landed;
  };
  /// What was committed since the last call, in order.
  std::vector<Committed> committed();

  /// A part of a transaction ahead, after all that was given; see AheadLane.
  void apply_ahead(const std::shared_ptr<AheadTransaction>& transaction, Work work, bool deferrable);
  /// Only when idle(). Nothing: it was given up.
  std::optional<Landed> commit_ahead(const Checkpoint& checkpoint);
  void give_up_ahead() noexcept;

  /// Before the tables are altered; only when idle().
  void forget_statements();

  /// From any thread: asks the server to cancel what the lanes wait for there.
  void interrupt() noexcept;

 private:
  struct Worker;

  bool open(std::size_t number);
  bool open_ahead();
  void close_ahead();
  std::vector<int> backends() const;
  void finish_earliest();

  ApplyOptions options_;
  std::string advance_sql_;
  std::mutex opening_;  ///< held by the owner where it opens or closes a lane, and by whoever interrupts them
  std::vector<std::unique_ptr<Worker>> workers_;
  std::deque<std::shared_ptr<GroupRun>> running_;  ///< earliest first
  std::vector<Committed> committed_;
  std::unique_ptr<AheadLane> ahead_;
};

}  // namespace tailrace::target::postgres
