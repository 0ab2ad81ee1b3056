#pragma once
// Measures: what is counted and timed for those who watch from outside, where a copy of the whole status for
// each event would cost too much. Lock-free but for what happens rarely.

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/lsn.h"

namespace tailrace::pipeline {

/// Of durations, in fixed buckets. Thread-safe; a reader may see an event in the sum before its bucket.
class Histogram {
 public:
  /// Upper bounds in seconds; there is one bucket more, for what is longer.
  static constexpr std::array<double, 15> bounds{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                 0.5,   1,      2.5,   5,    10,    60,   600};

  void observe(double seconds) noexcept;

  struct Counts {
    std::array<std::uint64_t, bounds.size() + 1> in{};  ///< each bucket alone
    double seconds = 0;
    std::uint64_t all() const;
  };
  Counts read() const noexcept;

 private:
  std::array<std::atomic<std::uint64_t>, bounds.size() + 1> in_{};
  std::atomic<std::uint64_t> micros_{0};
};

/// What the last comparisons of source and target found.
struct Compared {
  std::int64_t differences = 0;  ///< listed by the reports, over all tables: there may be more
  PgTimestamp last_success;      ///< when one last ended without any; 0: none has
};

class Measures {
 public:
  Histogram commit_duration;  ///< of the target's commits, until the target said that they are done
  Histogram
      end_to_end_latency;  ///< from a transaction's commit at the source, by its clock, until it is durable

  void received(std::uint64_t bytes) noexcept { received_.fetch_add(bytes, std::memory_order_relaxed); }
  std::uint64_t bytes_received() const noexcept { return received_.load(std::memory_order_relaxed); }

  void copied(std::uint64_t bytes) noexcept { copied_.fetch_add(bytes, std::memory_order_relaxed); }
  std::uint64_t bytes_copied() const noexcept { return copied_.load(std::memory_order_relaxed); }

  void failed(Retry how) noexcept { errors_.at(static_cast<std::size_t>(how)).fetch_add(1); }
  std::uint64_t errors(Retry how) const noexcept { return errors_.at(static_cast<std::size_t>(how)); }

  /// Of one table, by the comparison that just ended.
  void compared(const std::string& table, std::int64_t differences);
  void compared_whole(bool equal);
  /// Nothing before the first comparison.
  std::optional<Compared> last_compared() const;

 private:
  std::atomic<std::uint64_t> received_{0};
  std::atomic<std::uint64_t> copied_{0};
  std::array<std::atomic<std::uint64_t>, 4> errors_{};
  mutable std::mutex mutex_;
  std::map<std::string, std::int64_t> differences_;
  PgTimestamp last_success_;
};

}  // namespace tailrace::pipeline
