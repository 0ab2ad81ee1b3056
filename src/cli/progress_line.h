#pragma once
// ProgressLine: shows what a command does to whoever waits for it, on standard error: a line that is drawn
// again on a terminal, else one in the log now and then.

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "base/stop.h"

namespace tailrace::cli {

/// Until destroyed.
class ProgressLine {
 public:
  using Ask = std::function<std::optional<std::string>()>;

  /// `ask` is called on a thread of its own; what it throws only means that nothing is shown. `component`, and
  /// how often, where there is no terminal.
  ProgressLine(Ask ask, std::string component, std::chrono::milliseconds log_every);
  /// "waiting for the running tailrace, 3.0 s": of what says nothing itself.
  explicit ProgressLine(const std::string& doing);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

 private:
  void loop();

  Ask ask_;
  std::string component_;
  std::chrono::milliseconds log_every_;
  StopSignal done_;
  std::thread thread_;
};

}  // namespace tailrace::cli
