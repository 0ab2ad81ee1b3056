#pragma once
// VerifyProgress: shows how far a comparison is to whoever waits for it, on standard error: a line that is
// drawn again on a terminal, else one now and then.

#include <functional>
#include <optional>

#include "base/stop.h"
#include "pipeline/status.h"

#include <thread>

namespace tailrace::cli {

/// Until destroyed.
class VerifyProgress {
 public:
  using Ask = std::function<std::optional<pipeline::VerifyStatus>()>;

  /// `ask` is called on a thread of its own; what it throws only means that nothing is shown.
  explicit VerifyProgress(Ask ask);
  ~VerifyProgress();
  VerifyProgress(const VerifyProgress&) = delete;
  VerifyProgress& operator=(const VerifyProgress&) = delete;

 private:
  void loop();

  Ask ask_;
  StopSignal done_;
  std::thread thread_;
};

}  // namespace tailrace::cli
