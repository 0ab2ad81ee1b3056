#pragma once
// AheadLane: the lane of a transaction that is still in progress at the source. Its parts are applied as they
// come, each after the transactions that were given before it, in one target transaction that stays open until
// the source's commit.
//
// What commits at the source meanwhile cannot have touched the same rows, for they were locked there. Where the
// target ties together what the source does not (a unique index of its own), a transaction of another lane may
// wait for this one, which commits later and so would wait forever: then this one is given up, and comes again
// after its commit.

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "model/ahead_transaction.h"
#include "target/postgres/group_run.h"

namespace tailrace::target::postgres {

/// Used by one thread; works on one of its own.
class AheadLane {
 public:
  AheadLane(std::unique_ptr<Lane> lane, std::string advance_sql);
  ~AheadLane();

  /// False: its connection is lost.
  bool usable() const;
  /// Hands over a part; waits while some others wait already. `earlier`: what must be committed before it is
  /// applied.
  void apply(const std::shared_ptr<AheadTransaction>& transaction, Work work, bool deferrable,
             std::vector<std::shared_ptr<GroupRun>> earlier);
  /// The server processes of the other lanes, as often as there is a new one.
  void watch(std::vector<int> backends);
  /// Waits until every part is applied, and commits. Nothing: the transaction was given up. Throws when it is
  /// not certain that it was not committed.
  std::optional<Landed> commit(const Checkpoint& checkpoint);
  /// Gives up what is open, and waits until it is rolled back. Whatever its server process waits for, it is
  /// told to stop: that may be a lock of the caller's.
  void give_up() noexcept;
  /// From any thread: asks the server to cancel what runs; the transaction is given up for it.
  void interrupt() const { lane_->cancel(); }

 private:
  struct Part {
    Work work;
    bool deferrable = true;
    std::vector<std::shared_ptr<GroupRun>> earlier;
  };

  void loop(const std::stop_token& stop);
  void write(const AheadTransaction& transaction, const Part& part);
  void look();
  bool roll_back(const std::string& why);

  std::unique_ptr<Lane> lane_;  ///< the thread's; the owner's while there is nothing to do
  std::string advance_sql_;
  bool somebody_waits_ = false;  ///< as the last look showed

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::shared_ptr<AheadTransaction> transaction_;
  std::deque<Part> parts_;
  std::vector<int> backends_;
  bool busy_ = false;   ///< the thread uses the lane
  bool began_ = false;  ///< a target transaction is open
  bool usable_ = true;
  std::jthread thread_;  ///< last, so that it ends first
};

}  // namespace tailrace::target::postgres
