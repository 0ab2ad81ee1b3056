#include "pipeline/feedback.h"

namespace tailrace::pipeline {

void Feedback::set_durable(Lsn lsn) {
  durable_.store(lsn.value, std::memory_order_release);
  if (commits_wait()) more_durable_.ring();
}

void Feedback::want_position(Waiter waiter, bool wanted) {
  auto bit = static_cast<unsigned>(waiter);
  if (wanted)
    waiters_.fetch_or(bit, std::memory_order_acq_rel);
  else
    waiters_.fetch_and(~bit, std::memory_order_acq_rel);
}

}  // namespace tailrace::pipeline
