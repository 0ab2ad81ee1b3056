#pragma once
// Speed: how fast a run gets on, smoothed, and the time that its copy still takes.

#include <chrono>
#include <optional>

#include "pipeline/status.h"

namespace tailrace::serve {

/// Looks at the status now and then; one thread.
class Speed {
 public:
  void observe(const pipeline::Status& status);
  /// Rows of the copy, else changes; -1 unknown.
  double per_second() const { return per_second_; }
  /// Until the copy is done; -1 unknown.
  double seconds_left() const { return left_; }

 private:
  using Clock = std::chrono::steady_clock;

  std::optional<Clock::time_point> started_, last_;
  bool copying_ = false;
  std::int64_t last_count_ = 0;
  double first_fraction_ = 0;
  double per_second_ = -1;
  double left_ = -1;
};

}  // namespace tailrace::serve
