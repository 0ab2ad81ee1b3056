#pragma once
// FlushWatch: which commits at the target no crash takes back. They are made with synchronous_commit = off, and
// durable once the target's log was flushed beyond them (PostgreSQL documentation: "Asynchronous Commit").

#include <chrono>
#include <deque>

#include "pg/connection.h"
#include "pg/wal_pages.h"
#include "target/postgres/lane.h"

namespace tailrace::target::postgres {

/// One thread. Borrows the connection.
class FlushWatch {
 public:
  explicit FlushWatch(pg::Connection& connection)
      : connection_(connection), pages_(pg::WalPages::read(connection)) {}

  /// The target's state up to `position` of the source is flushed.
  void begin_at(Lsn position);
  /// A commit up to `position` landed there.
  void committed(Landed landed, Lsn position);
  /// As far as is known.
  Lsn durable() const { return durable_; }
  bool all_durable() const { return unflushed_.empty(); }
  /// Asks the target, if that was not done just now.
  void look();

 private:
  using Clock = std::chrono::steady_clock;
  struct Commit {
    Lsn at_target;  ///< once the target flushed up to here ...
    Lsn position;   ///< ... this position of the source is durable
  };

  void flushed(Lsn flushed);

  pg::Connection& connection_;
  pg::WalPages pages_;
  std::deque<Commit> unflushed_;
  Clock::time_point looked_{};
  Lsn durable_;
};

}  // namespace tailrace::target::postgres
