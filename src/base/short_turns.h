#pragma once
// ShortTurns: while it lives, the kernel gives the thread that made it short turns, and so gives it one sooner
// when it wakes. For threads that pass on small things and wait: on a busy machine they would wait behind what
// computes. They get no more of the processor than before.
//
// Linux 6.12 and later, sched_setattr(2): sched_runtime of a thread of the ordinary policy. Others ignore it.

#include <cstdint>

namespace tailrace {

/// Made and destroyed by one thread, which it is for. Threads that this one starts meanwhile inherit it.
/// Without effect where the kernel does not know it, or forbids it, or the thread has another policy.
class ShortTurns {
 public:
  ShortTurns() noexcept;
  ~ShortTurns();
  ShortTurns(const ShortTurns&) = delete;
  ShortTurns& operator=(const ShortTurns&) = delete;

 private:
  std::uint64_t before_ = 0;  ///< nanoseconds; 0: nothing was changed
};

}  // namespace tailrace
