#pragma once
// SlotWatch: looks at the slot while a run goes on, also where nobody reads from it: while tables are copied,
// or the target is away. That is when it holds back WAL. On a thread and a connection of its own.

#include <memory>
#include <thread>

#include "base/stop.h"
#include "config/config.h"
#include "pg/connection.h"
#include "pipeline/status.h"
#include "pipeline/wal_alarm.h"

namespace tailrace::pipeline {

class SlotWatch {
 public:
  /// Borrows all of it. A short run is not looked at.
  SlotWatch(const config::Config& config, StatusBoard& board, const StopSignal& stop);
  /// Ends it; waits no longer than a server may take to answer after a stop.
  ~SlotWatch();
  SlotWatch(const SlotWatch&) = delete;
  SlotWatch& operator=(const SlotWatch&) = delete;

 private:
  void loop();
  void look();

  const config::Config& config_;
  StatusBoard& board_;
  StopSignal over_;
  std::unique_ptr<pg::Connection> connection_;
  WalAlarm alarm_;
  std::thread thread_;
};

}  // namespace tailrace::pipeline
