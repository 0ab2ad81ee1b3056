#include "pipeline/measures.h"

#include <algorithm>
#include <numeric>

namespace tailrace::pipeline {

void Histogram::observe(double seconds) noexcept {
  // Clocks of two machines may say that it was there before it was made.
  seconds = std::max(seconds, 0.0);
  auto bucket = static_cast<std::size_t>(std::ranges::lower_bound(bounds, seconds) - bounds.begin());
  in_.at(bucket).fetch_add(1, std::memory_order_relaxed);
  micros_.fetch_add(static_cast<std::uint64_t>(seconds * 1e6), std::memory_order_relaxed);
}

Histogram::Counts Histogram::read() const noexcept {
  Counts out;
  for (std::size_t i = 0; i < in_.size(); ++i) out.in.at(i) = in_.at(i).load(std::memory_order_relaxed);
  out.seconds = static_cast<double>(micros_.load(std::memory_order_relaxed)) / 1e6;
  return out;
}

std::uint64_t Histogram::Counts::all() const {
  return std::accumulate(in.begin(), in.end(), std::uint64_t{0});
}

void Measures::compared(const std::string& table, std::int64_t differences) {
  std::lock_guard lock(mutex_);
  differences_[table] = differences;
}

void Measures::compared_whole(bool equal) {
  std::lock_guard lock(mutex_);
  if (equal) last_success_ = PgTimestamp::now();
}

std::optional<Compared> Measures::last_compared() const {
  std::lock_guard lock(mutex_);
  if (differences_.empty()) return std::nullopt;
  Compared out{0, last_success_};
  for (const auto& [table, differences] : differences_) out.differences += differences;
  return out;
}

}  // namespace tailrace::pipeline
