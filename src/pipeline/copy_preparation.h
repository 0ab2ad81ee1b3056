#pragma once
// CopyPreparation: takes the snapshot for a copy while streaming goes on. Who has locked one of the tables, or
// has a transaction open that the snapshot waits for, may wait for what streaming acknowledges, or keep it for
// hours; the other tables are followed meanwhile.
//
// The changes of its tables are left out, and the copy holds those that commit before its snapshot. So it is
// good only while nothing later was left out: see Applier::pass_over().

#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/lsn.h"
#include "base/stop.h"
#include "config/config.h"
#include "pg/connection.h"
#include "pipeline/status.h"

namespace tailrace::pipeline {

/// An exported snapshot of the source, as of a position of its log.
struct CopySnapshot {
  std::unique_ptr<pg::Connection> exporter;  ///< must stay idle while the snapshot is in use
  std::string name;
  Lsn lsn;
};

/// That of a temporary slot, whose creation waits for the transactions that are running.
CopySnapshot take_snapshot_by_slot(const config::Config& config, StatusBoard& board, const StopSignal& stop);

/// Used by one thread, beside its own; what is const, by any.
class CopyPreparation {
 public:
  /// Borrows all but the tables. Told on the board: whom it waits for.
  CopyPreparation(const config::Config& config, std::set<Oid> tables, StatusBoard& board,
                  const StopSignal& stop);
  ~CopyPreparation();
  CopyPreparation(const CopyPreparation&) = delete;
  CopyPreparation& operator=(const CopyPreparation&) = delete;

  enum class State {
    locked,    ///< each of the tables is locked by somebody
    snapshot,  ///< the snapshot of those that are not is being taken
    ready,
    failed
  };
  State state() const;
  /// While the snapshot is being taken, and afterwards: the tables that it is for.
  std::set<Oid> tables() const;
  bool is_for(Oid table) const;
  /// When ready.
  Lsn lsn() const;
  /// An earlier snapshot came to nothing because changes were left out all the time. With a moment's pause at
  /// each of them, wait_for(), there is one without.
  bool wants_patience() const;
  /// Until the snapshot is there, at most so long.
  void wait_for(std::chrono::milliseconds time);

  /// When ready: the snapshot is good for nothing, another one is taken.
  void again();
  /// When ready or failed: the snapshot, or throws why there is none.
  CopySnapshot take();

 private:
  void loop();
  bool choose_tables(pg::Connection& connection);
  void take_snapshot();
  bool told(const std::string& what);

  const config::Config& config_;
  const std::set<Oid> wanted_;
  StatusBoard& board_;
  StopSignal over_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  State state_ = State::locked;
  std::set<Oid> tables_;
  CopySnapshot snapshot_;
  std::exception_ptr error_;
  int attempts_ = 0;
  std::string told_;
  std::jthread thread_;
};

}  // namespace tailrace::pipeline
