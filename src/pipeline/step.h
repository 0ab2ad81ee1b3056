#pragma once
// Step: whether a mirror is in step, and how far behind it is, told from what both ends answered last. The age
// of what is missing is taken by the source's clock. What is not known to be applied counts as missing: while
// an end does not answer, the lag grows from the last moment at which the mirror was known to be in step.

#include <chrono>
#include <deque>
#include <optional>

#include "base/lsn.h"

namespace tailrace::pipeline {

/// What the source said of itself.
struct SourceLook {
  std::chrono::steady_clock::time_point asked;
  PgTimestamp time;  ///< of its clock, read before the position
  Lsn flushed;       ///< the end of its log, as far as it is flushed
};

/// Not thread-safe.
class Step {
 public:
  using Clock = std::chrono::steady_clock;

  void saw_source(const SourceLook& look);
  /// It answered what it was asked at this time.
  void saw_target(Clock::time_point asked);
  /// Everything that commits before `position` is in the target.
  void reached(Lsn position);
  /// The last source transaction that is in the target committed then.
  void applied(PgTimestamp commit_time);

  struct Judgement {
    double lag_seconds = -1;  ///< 0: nothing is known to be missing; -1: it is not known what is there
    bool in_step = false;     ///< both ends answer now, and nothing is missing
    bool source_answers = false;
    bool target_answers = false;
  };
  Judgement judge(Clock::time_point now);

 private:
  void advance();

  std::deque<SourceLook> looks_;  ///< those that are not reached yet, earliest first
  std::optional<SourceLook> newest_;
  std::optional<Clock::time_point> target_asked_;
  Lsn reached_;
  PgTimestamp known_;  ///< what committed before, by the source's clock, is in the target; 0: nothing is known
};

}  // namespace tailrace::pipeline
