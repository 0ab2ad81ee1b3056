#pragma once
// Pulse: whether the threads that the program lives by still do anything. Each says that it passed by; whoever
// looks now and then finds one that stands still where nothing outside can be the reason. A server, a disk or
// another thread may keep a thread waiting for as long as they like: that is said too, and is no standstill.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace tailrace {

namespace detail {
struct Heart {
  std::atomic<std::uint64_t> beats{0};
  std::atomic<int> waits{0};
};
extern thread_local Heart* heart;
}  // namespace detail

/// Made and destroyed by the thread that it is for. One that stands inside of another changes nothing.
class WorkingThread {
 public:
  explicit WorkingThread(const char* name);
  ~WorkingThread();
  WorkingThread(const WorkingThread&) = delete;
  WorkingThread& operator=(const WorkingThread&) = delete;

 private:
  detail::Heart heart_;
  bool outermost_ = false;
};

/// This thread passed here. Costs next to nothing, also where it is no WorkingThread.
inline void beat() noexcept {
  auto* heart = detail::heart;
  if (heart != nullptr)
    heart->beats.store(heart->beats.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

/// While it lives, this thread waits for somebody else: a server, DuckDB, another thread that is watched
/// itself.
class Waiting {
 public:
  Waiting() noexcept : heart_(detail::heart) {
    if (heart_ != nullptr) heart_->waits.fetch_add(1, std::memory_order_relaxed);
  }
  ~Waiting() {
    if (heart_ == nullptr) return;
    heart_->waits.fetch_sub(1, std::memory_order_relaxed);
    beat();
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  detail::Heart* heart_;
};

/// Not thread-safe. Knows only what it saw when it looked: look about once a second.
class PulseWatch {
 public:
  using Clock = std::chrono::steady_clock;

  struct Silence {
    std::string thread;  ///< the name of the one that has been still for longest
    Clock::duration since{};
  };

  void look(Clock::time_point now = Clock::now());
  /// Of the last look; nothing while no thread is to be watched.
  std::optional<Silence> longest() const { return longest_; }

 private:
  struct Seen {
    std::uint64_t beats = 0;
    Clock::time_point moved;
  };

  std::map<std::uint64_t, Seen> seen_;
  std::optional<Silence> longest_;
};

}  // namespace tailrace
