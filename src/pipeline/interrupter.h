#pragma once
// Interrupter: while it lives, a stop does not wait long for what the target waits for: a lock of somebody who
// may keep it for hours. What was given to the target and is not committed comes again with the next start.

#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/stop.h"
#include "target/target.h"

namespace tailrace::pipeline {

class Interrupter {
 public:
  /// Borrows both.
  Interrupter(target::Target& target, const StopSignal& stop);

 private:
  void loop(const std::stop_token& end);

  target::Target& target_;
  const StopSignal& stop_;
  std::mutex mutex_;
  std::condition_variable_any ended_;
  std::jthread thread_;  ///< last, so that it ends first
};

}  // namespace tailrace::pipeline
