#include "target/postgres/flush_watch.h"

#include <algorithm>

namespace tailrace::target::postgres {
namespace {

// Each asking is a round trip.
constexpr auto ask_every = std::chrono::milliseconds(20);

}  // namespace

void FlushWatch::begin_at(Lsn position) {
  durable_ = position;
  unflushed_.clear();
}

void FlushWatch::committed(Landed landed, Lsn position) {
  unflushed_.push_back({pages_.end_of_record(landed.end), position});
  flushed(landed.flushed);
}

void FlushWatch::flushed(Lsn flushed) {
  while (!unflushed_.empty() && unflushed_.front().at_target <= flushed) {
    durable_ = std::max(durable_, unflushed_.front().position);
    unflushed_.pop_front();
  }
}

void FlushWatch::look() {
  auto now = Clock::now();
  if (unflushed_.empty() || now - looked_ < ask_every) return;
  looked_ = now;
  auto row = connection_.query("select pg_catalog.pg_current_wal_flush_lsn()", "reading the target's position");
  flushed(row.lsn(0, 0));
}

}  // namespace tailrace::target::postgres
