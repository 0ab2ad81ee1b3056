#pragma once
// BoundedQueue: hands items from one thread to another, bounded by the bytes that they hold. An item larger
// than the bound is let in alone, so one huge item never deadlocks. Thread-safe.

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <utility>

namespace tailrace {

template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  /// False when the item does not fit now; it is then left untouched.
  bool try_push(T& item, std::size_t bytes) {
    {
      std::lock_guard lock(mutex_);
      if (closed_) return true;  // the consumer is gone; its error is reported by pop's side
      if (bytes_ != 0 && bytes_ + bytes > max_bytes_) return false;
      bytes_ += bytes;
      items_.emplace_back(std::move(item), bytes);
    }
    // Not before: who is woken would wait for the lock.
    ready_.notify_one();
    return true;
  }

  /// Waits until the item fits, the queue is closed, or the time is over; false in the last case.
  bool push_for(T& item, std::size_t bytes, std::chrono::milliseconds wait) {
    {
      std::unique_lock lock(mutex_);
      room_.wait_for(lock, wait, [&] { return closed_ || bytes_ == 0 || bytes_ + bytes <= max_bytes_; });
    }
    return try_push(item, bytes);
  }

  /// Waits for an item; empty when the time is over or the queue is closed and drained. Rethrows the error
  /// with which the producer closed, once everything before it was taken.
  std::optional<T> pop_for(std::chrono::milliseconds wait) {
    std::unique_lock lock(mutex_);
    waits_ = true;
    ready_.wait_for(lock, wait, [&] { return closed_ || !items_.empty(); });
    waits_ = false;
    return take();
  }

  std::optional<T> try_pop() {
    std::unique_lock lock(mutex_);
    return take();
  }

  void close(std::exception_ptr error = nullptr) {
    std::lock_guard lock(mutex_);
    closed_ = true;
    if (!error_) error_ = std::move(error);
    ready_.notify_all();
    room_.notify_all();
  }

  bool closed() const {
    std::lock_guard lock(mutex_);
    return closed_;
  }
  bool empty() const {
    std::lock_guard lock(mutex_);
    return items_.empty();
  }
  std::size_t bytes() const {
    std::lock_guard lock(mutex_);
    return bytes_;
  }
  /// True while pop_for() waits for an item, and none was pushed since.
  bool awaited() const {
    std::lock_guard lock(mutex_);
    return waits_ && items_.empty();
  }

 private:
  std::optional<T> take() {
    if (items_.empty()) {
      if (error_) std::rethrow_exception(error_);
      return std::nullopt;
    }
    auto [item, bytes] = std::move(items_.front());
    items_.pop_front();
    bytes_ -= bytes;
    room_.notify_one();
    return std::move(item);
  }

  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::condition_variable room_;
  std::deque<std::pair<T, std::size_t>> items_;
  std::size_t bytes_ = 0;
  std::size_t max_bytes_;
  bool closed_ = false;
  bool waits_ = false;
  std::exception_ptr error_;
};

}  // namespace tailrace
