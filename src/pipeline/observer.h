#pragma once
// Observer: while a mirror streams, asks both ends several times a second where they are, on connections and
// threads of its own, so that what is shown is of now also while the runner waits for one of them. Where a
// server has no place for one more connection, somebody else may look for it.

#include <atomic>
#include <memory>
#include <thread>

#include "base/stop.h"
#include "config/config.h"
#include "pg/connection.h"
#include "pg/wal_pages.h"
#include "pipeline/feedback.h"
#include "pipeline/status.h"
#include "target/target_probe.h"

namespace tailrace::pipeline {

class Observer {
 public:
  /// All are borrowed. Ends with `over`, or when this is destroyed. `feedback`: is told whether commits at the
  /// source wait for us, for we are listed in its synchronous_standby_names.
  Observer(const config::Config& config, std::unique_ptr<target::TargetProbe> probe, StatusBoard& board,
           Feedback& feedback, const StopSignal& over);
  ~Observer();
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

  /// It has a connection to the source.
  bool sees_source() const { return sees_source_.load(std::memory_order_acquire); }
  /// Asks the source by another connection.
  void look(pg::Connection& source);

 private:
  void watch_source();
  void watch_target();

  const config::Config& config_;
  std::unique_ptr<target::TargetProbe> probe_;
  StatusBoard& board_;
  Feedback& feedback_;
  StopSignal over_;
  std::atomic<bool> sees_source_{false};
  std::jthread target_thread_;
  std::jthread source_thread_;
};

}  // namespace tailrace::pipeline
