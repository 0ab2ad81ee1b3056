#include "serve/speed.h"

#include <algorithm>

#include "serve/status_view.h"

namespace tailrace::serve {

void Speed::observe(const pipeline::Status& status) {
  bool copying = status.state == pipeline::RunState::copying;
  auto copy = copy_progress(status);
  std::int64_t count = copying ? copy.rows : status.changes;
  auto now = Clock::now();
  if (copying != copying_ || !started_) {
    copying_ = copying;
    started_ = last_ = now;
    first_fraction_ = copy.fraction;
    last_count_ = count;
    per_second_ = left_ = -1;
    return;
  }
  double seconds = std::chrono::duration<double>(now - *last_).count();
  if (seconds < 0.05) return;
  double current = std::max(0.0, static_cast<double>(count - last_count_) / seconds);
  // A memory of some five seconds, whatever the distance between two looks.
  double weight = std::min(1.0, seconds / 5);
  per_second_ = per_second_ < 0 ? current : per_second_ + weight * (current - per_second_);
  last_ = now;
  last_count_ = count;
  double gained = copy.fraction - first_fraction_;
  double elapsed = std::chrono::duration<double>(now - *started_).count();
  left_ = copying && gained > 0.01 && elapsed > 2 ? elapsed * (1 - copy.fraction) / gained : -1;
}

}  // namespace tailrace::serve
