#pragma once
// AheadTransaction: a transaction that is applied ahead: while it is in progress at the source. Its parts and
// its commit refer to it, and its fate goes back the way that they came: to the reader, which keeps the
// transaction until it is known.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "base/lsn.h"

namespace tailrace {

/// Thread-safe.
class AheadTransaction {
 public:
  enum class Fate {
    open,
    committed,
    given_up,  ///< nothing of it is or will be in the target; it may come again, whole
  };

  explicit AheadTransaction(Xid xid) : xid_(xid) {}

  Xid xid() const { return xid_; }
  /// These count while it is open.
  void commit() { end(Fate::committed); }
  void give_up() { end(Fate::given_up); }

  Fate fate() const { return fate_.load(std::memory_order_acquire); }
  bool open() const { return fate() == Fate::open; }
  /// Waits so long for its end.
  Fate wait_for(std::chrono::milliseconds time) const {
    std::unique_lock lock(mutex_);
    ended_.wait_for(lock, time, [&] { return !open(); });
    return fate();
  }

 private:
  void end(Fate fate) {
    std::lock_guard lock(mutex_);
    if (open()) fate_.store(fate, std::memory_order_release);
    ended_.notify_all();
  }

  const Xid xid_;
  mutable std::mutex mutex_;
  mutable std::condition_variable ended_;
  std::atomic<Fate> fate_ = Fate::open;
};

}  // namespace tailrace
