#pragma once
// StopSignal: asks every thread to finish what it holds and leave. Set once, from a signal handler or thread.

#include <atomic>
#include <chrono>
#include <exception>
#include <thread>

namespace tailrace {

/// Thrown by what cannot go on waiting because a stop was requested.
class StopRequested : public std::exception {
 public:
  const char* what() const noexcept override { return "a stop was requested"; }
};

class StopSignal {
 public:
  StopSignal() = default;
  /// A part of something larger, which is borrowed and whose stop is this one's too.
  explicit StopSignal(const StopSignal* whole) : whole_(whole) {}

  void request() noexcept { requested_.store(true, std::memory_order_release); }
  bool requested() const noexcept {
    return requested_.load(std::memory_order_acquire) || (whole_ != nullptr && whole_->requested());
  }

  /// Sleeps for `time` or until a stop is requested; false in the latter case.
  bool sleep(std::chrono::milliseconds time) const {
    auto deadline = std::chrono::steady_clock::now() + time;
    while (!requested()) {
      auto left = deadline - std::chrono::steady_clock::now();
      if (left <= std::chrono::milliseconds(0)) return true;
      std::this_thread::sleep_for(
          std::min<std::chrono::steady_clock::duration>(left, std::chrono::milliseconds(50)));
    }
    return false;
  }

 private:
  std::atomic<bool> requested_{false};
  const StopSignal* whole_ = nullptr;
};

}  // namespace tailrace
