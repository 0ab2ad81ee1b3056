#include "pipeline/step.h"

#include <algorithm>

namespace tailrace::pipeline {
namespace {

using namespace std::chrono_literals;

// Both ends are asked several times in this time.
constexpr auto answers_within = 1500ms;
constexpr double fresh_seconds = 0.9;
// An hour's, at four a second. Of more, every other one of the older half goes: the lag is told the more
// coarsely, and never too small.
constexpr std::size_t most_looks = 16 << 10;

double seconds(std::int64_t micros) {
  return static_cast<double>(micros) / 1e6;
}

}  // namespace

void Step::saw_source(const SourceLook& look) {
  // After a failover, or a clock that was set back, what is known is of another time.
  if (newest_ && look.time < newest_->time) known_ = std::min(known_, look.time);
  while (!looks_.empty() && looks_.back().flushed > look.flushed) looks_.pop_back();
  newest_ = look;
  if (looks_.size() == most_looks) {
    std::deque<SourceLook> kept;
    for (std::size_t i = 0; i < looks_.size(); ++i) {
      if (i >= most_looks / 2 || i % 2 == 0) kept.push_back(looks_[i]);
    }
    looks_ = std::move(kept);
  }
  looks_.push_back(look);
}

void Step::saw_target(Clock::time_point asked) {
  target_asked_ = target_asked_ ? std::max(*target_asked_, asked) : asked;
}

void Step::reached(Lsn position) {
  reached_ = std::max(reached_, position);
}

void Step::applied(PgTimestamp commit_time) {
  known_ = std::max(known_, commit_time);
}

/// A look counts once its position is reached and the target has answered after it: before, what is there is
/// not known.
void Step::advance() {
  while (!looks_.empty() && target_asked_ && looks_.front().flushed <= reached_ &&
         looks_.front().asked <= *target_asked_) {
    known_ = std::max(known_, looks_.front().time);
    looks_.pop_front();
  }
}

Step::Judgement Step::judge(Clock::time_point now) {
  advance();
  Judgement out;
  if (!newest_) return out;
  out.source_answers = now - newest_->asked <= answers_within;
  out.target_answers = target_asked_ && now - *target_asked_ <= answers_within;
  if (known_.micros == 0) return out;
  auto elapsed = std::chrono::duration_cast<std::chrono::microseconds>(now - newest_->asked).count();
  double behind = std::max(seconds(newest_->time.micros + elapsed - known_.micros), 0.0);
  // The newest look may wait for the target's next answer alone.
  bool nothing_missing = looks_.empty() || looks_.back().flushed <= reached_;
  bool fresh = nothing_missing && behind <= fresh_seconds;
  out.lag_seconds = fresh ? 0 : behind;
  out.in_step = fresh && out.source_answers && out.target_answers;
  return out;
}

}  // namespace tailrace::pipeline
