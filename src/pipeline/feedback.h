#pragma once
// Feedback: what a sink of the source's changes tells their reader: what is durable there, and whether somebody
// waits for the stream's position or for our acknowledgement. The reader knows nothing else of it.

#include <atomic>

#include "base/lsn.h"
#include "base/wake_up.h"

namespace tailrace::pipeline {

/// Thread-safe.
class Feedback {
 public:
  Feedback() = default;
  Feedback(const Feedback&) = delete;
  Feedback& operator=(const Feedback&) = delete;

  /// Everything that ends at or before this is durable downstream.
  Lsn durable() const { return {durable_.load(std::memory_order_acquire)}; }
  /// Of the last commit that is durable: positions rise. Rings where commits wait.
  void set_durable(Lsn lsn);

  /// Why a stream that brings nothing more is to show its position.
  enum class Waiter : unsigned {
    barrier = 1,  ///< somebody wants to look at the target at a position
    end = 2,      ///< the run ends at one
  };
  void want_position(Waiter waiter, bool wanted);
  bool wants_position(Waiter waiter) const {
    return (waiters_.load(std::memory_order_acquire) & static_cast<unsigned>(waiter)) != 0;
  }
  bool position_wanted() const { return waiters_.load(std::memory_order_acquire) != 0; }

  /// Commits at the source wait for our acknowledgement (synchronous_standby_names): each is to be durable, and
  /// acknowledged, as soon as can be.
  enum class Awaited : unsigned char {
    no,
    among_others,  ///< another standby may answer for us
    alone,         ///< until we do, a commit that waits is seen by nobody
  };
  void set_commits_wait(Awaited awaited) { commits_wait_.store(awaited, std::memory_order_release); }
  Awaited awaited() const { return commits_wait_.load(std::memory_order_acquire); }
  bool commits_wait() const { return awaited() != Awaited::no; }
  /// Rung, while they do, when more became durable.
  const WakeUp& more_durable() const { return more_durable_; }

 private:
  std::atomic<std::uint64_t> durable_{0};
  std::atomic<unsigned> waiters_{0};
  std::atomic<Awaited> commits_wait_{Awaited::no};
  WakeUp more_durable_;
};

}  // namespace tailrace::pipeline
