#pragma once
// VerifyProgress: shows how far a comparison is to whoever waits for it, on standard error: a line that is
// drawn again on a terminal, else one now and then.

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "base/stop.h"

namespace tailrace::cli {

/// Until destroyed.
class VerifyProgress {
 public:
  using Ask = std::function<std::optional<std::string>()>;

  /// `ask` is called on a thread of its own; what it throws only means that nothing is shown. `log_every`: how
  /// often where there is no terminal.
  VerifyProgress(Ask ask, std::chrono::milliseconds log_every);
  ~VerifyProgress();
  VerifyProgress(const VerifyProgress&) = delete;
  VerifyProgress& operator=(const VerifyProgress&) = delete;

 private:
  void loop();

  Ask ask_;
  std::chrono::milliseconds log_every_;
  StopSignal done_;
  std::thread thread_;
};

}  // namespace tailrace::cli
