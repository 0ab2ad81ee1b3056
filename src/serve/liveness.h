#pragma once
// Liveness: whether the threads that the mirror lives by still move. Restarting helps those who do not; it
// helps nobody who waits for a server, so that is no reason here.

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/lsn.h"
#include "base/pulse.h"

namespace tailrace::serve {

/// Looks on its own thread until destroyed. Thread-safe.
class Liveness {
 public:
  Liveness();
  ~Liveness();
  Liveness(const Liveness&) = delete;
  Liveness& operator=(const Liveness&) = delete;

  static constexpr std::chrono::seconds patience{30};

  /// Empty while every thread moved within `limit`; else a sentence.
  std::string standstill(std::chrono::milliseconds limit = patience) const;
  /// When the one that moved longest ago did so.
  PgTimestamp last_beat() const;

 private:
  void loop();
  std::optional<PulseWatch::Silence> longest() const;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool done_ = false;
  PulseWatch watch_;
  std::thread thread_;
};

}  // namespace tailrace::serve
