#include "target/postgres/index_builder.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <system_error>
#include <utility>

#include "base/log.h"

namespace tailrace::target::postgres {
namespace {

using namespace std::chrono_literals;

// Building an index keeps a core busy, and so does each of the target's own parallel workers.
constexpr std::size_t most_connections = 2;
// Beside other builds, workers for a small table cost more than they bring: half as much again for 40 MB.
constexpr const char* settings = "set min_parallel_table_scan_size = '128MB'";

}  // namespace

IndexBuilder::IndexBuilder(std::string conninfo, std::string subscription, const Bookkeeping& books,
                           Doing doing)
    : conninfo_(std::move(conninfo)),
      subscription_(std::move(subscription)),
      books_(books),
      doing_(std::move(doing)) {}

IndexBuilder::~IndexBuilder() {
  leave_.request();
}

void IndexBuilder::expect(const std::vector<Bookkeeping::Pending>& indexes) {
  std::lock_guard lock(mutex_);
  for (const auto& index : indexes) {
    // A number that is given again was one of an index that is made, and struck off.
    taken_.erase(index.number);
    expected_[index.statement.table].push_back(index);
  }
}

void IndexBuilder::forget(Oid table) {
  std::lock_guard lock(mutex_);
  expected_.erase(table);
}

void IndexBuilder::allow(Oid table) {
  std::lock_guard lock(mutex_);
  auto found = expected_.extract(table);
  if (!found) return;
  std::ranges::move(found.mapped(), std::back_inserter(ready_));
  start_more();
}

void IndexBuilder::lend() {
  std::lock_guard lock(mutex_);
  allowed_ = std::min(allowed_ + 1, most_connections);
  start_more();
}

void IndexBuilder::finish(std::vector<Bookkeeping::Pending> pending, const StopSignal& stop) {
  std::unique_lock lock(mutex_);
  expected_.clear();
  auto known = [&](const Bookkeeping::Pending& index) {
    return taken_.contains(index.number) ||
           std::ranges::any_of(ready_, [&](const auto& ready) { return ready.number == index.number; });
  };
  for (auto& index : pending) {
    if (index.parallel && !known(index)) ready_.push_back(std::move(index));
  }
  if (!ready_.empty()) log::info("target", "making {} indexes and keys", ready_.size());
  auto all = taken_.size() + ready_.size();
  allowed_ = most_connections;
  start_more();
  while (working_ != 0 && !stop.requested()) {
    tell(all);
    changed_.wait_for(lock, 100ms);
  }
  if (stop.requested()) leave_.request();
  auto done = std::exchange(threads_, {});
  auto failed = std::exchange(failed_, nullptr);
  taken_.clear();
  ready_.clear();
  allowed_ = 0;
  lock.unlock();
  done.clear();
  if (failed && !stop.requested()) std::rethrow_exception(failed);
}

/// With the mutex held.
void IndexBuilder::tell(std::size_t all) const {
  auto made = all - std::min(all, ready_.size() + working_);
  if (doing_) doing_(fmt::format("making indexes and keys: {} of {} are there", made, all));
}

/// With the mutex held.
void IndexBuilder::start_more() {
  // Each of those that come takes one.
  while (ready_.size() > coming_ && working_ < allowed_ && !failed_) {
    try {
      threads_.emplace_back([this] { work(); });
      ++working_;
      ++coming_;
    } catch (const std::system_error& error) {
      if (working_ > 0) return;
      failed_ = std::make_exception_ptr(
          Error(Retry::transient, fmt::format("no thread can be started to make indexes: {}", error.what())));
    }
  }
}

void IndexBuilder::work() {
  std::exception_ptr failed;
  bool coming = true;
  try {
    auto connection = pg::Connection::open(conninfo_, {pg::Mode::sql, subscription_ + " structure"});
    connection.leave_on(leave_);
    connection.query(settings, "preparing to make indexes");
    while (build_next(connection, coming)) {
    }
    return;
  } catch (const StopRequested&) {
    log::debug("target", "left an index to be made later");
  } catch (...) {
    failed = std::current_exception();
  }
  std::lock_guard lock(mutex_);
  if (failed && !failed_) failed_ = failed;
  if (coming) --coming_;
  --working_;
  changed_.notify_all();
}

/// False: there is nothing to do, and this thread counts as working no more.
bool IndexBuilder::build_next(pg::Connection& connection, bool& coming) {
  Bookkeeping::Pending index;
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(coming, false)) --coming_;
    if (ready_.empty() || failed_ || leave_.requested()) {
      --working_;
      changed_.notify_all();
      return false;
    }
    index = std::move(ready_.front());
    ready_.pop_front();
    taken_.insert(index.number);
  }
  schema::run_structure(connection, {index.statement, books_.done(index)}, schema::Missing::left_out);
  return true;
}

}  // namespace tailrace::target::postgres
