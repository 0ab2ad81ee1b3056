#pragma once
// IndexBuilder: makes indexes and keys side by side, each in a transaction of its own: while tables are copied,
// those of tables that are, on as many connections as readers of the copy have become free; then all others.

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/stop.h"
#include "target/postgres/bookkeeping.h"

namespace tailrace::target::postgres {

class IndexBuilder {
 public:
  using Doing = std::function<void(const std::string& what)>;

  /// `books` is borrowed, for the words of its statements alone. `doing`: told by finish() how far it is; or
  /// empty.
  IndexBuilder(std::string conninfo, std::string subscription, const Bookkeeping& books, Doing doing);
  /// What is not made yet stays pending.
  ~IndexBuilder();

  /// What may be made once its table is copied.
  void expect(const std::vector<Bookkeeping::Pending>& indexes);
  /// What was expected of it is not wanted any more: it is made anew, and so are its indexes.
  void forget(Oid table);
  /// `table` is copied. Like expect(), by the thread that calls finish().
  void allow(Oid table);
  /// One more connection may work from now on until finish(). From any thread.
  void lend();

  /// Makes all that is still to be made of `pending`, and waits for it. Throws Error for the first that failed;
  /// returns early when a stop is requested.
  void finish(std::vector<Bookkeeping::Pending> pending, const StopSignal& stop);

 private:
  void tell(std::size_t all) const;
  void start_more();
  void work();
  bool build_next(pg::Connection& connection, bool& coming);

  const std::string conninfo_;
  const std::string subscription_;
  const Bookkeeping& books_;
  const Doing doing_;
  StopSignal leave_;
  std::mutex mutex_;  ///< for what follows
  std::condition_variable changed_;
  std::map<Oid, std::vector<Bookkeeping::Pending>> expected_;
  std::deque<Bookkeeping::Pending> ready_;
  std::set<std::int64_t> taken_;  ///< their numbers
  std::size_t allowed_ = 0;       ///< connections
  std::size_t working_ = 0;
  std::size_t coming_ = 0;  ///< of these: that have not looked for their first index yet
  std::exception_ptr failed_;
  std::vector<std::jthread> threads_;  ///< last, so that they end first
};

}  // namespace tailrace::target::postgres
