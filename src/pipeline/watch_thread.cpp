#include "pipeline/watch_thread.h"

#include "base/log.h"
#include "pipeline/open_options.h"
#include "pipeline/published_tables.h"

namespace tailrace::pipeline {
namespace {

constexpr int connect_seconds = 2;

/// A list of hosts, or an address that moves, may lead elsewhere the next time, where transactions have other
/// numbers.
std::string which_server(pg::Connection& connection) {
  return connection
      .query("select pg_catalog.pg_postmaster_start_time(), pg_catalog.pg_is_in_recovery()",
             "asking which server it is")
      .str(0, 0);
}

}  // namespace

WatchThread::WatchThread(const config::Config& config, DefinitionWatch& watch, pg::Connection& lent,
                         const StopSignal& stop)
    : config_(config), watch_(watch), lent_(lent), server_(which_server(lent)), over_(&stop), thread_([this] {
        loop();
      }) {}

WatchThread::~WatchThread() {
  {
    std::lock_guard lock(mutex_);
    over_.request();
  }
  changed_.notify_all();
  thread_.join();
}

void WatchThread::begin(DefinitionWatch::Start start, std::uint64_t ticket) {
  {
    std::lock_guard lock(mutex_);
    start_ = std::move(start);
    wanted_ = true;
  }
  ticket_ = ticket;
  looks_ = true;
  changed_.notify_all();
}

std::optional<WatchThread::Ended> WatchThread::serve(Applier& applier) {
  if (!looks_) return std::nullopt;
  std::unique_lock lock(mutex_);
  if (what_ != nullptr) {
    // Whoever wants it waits. What it throws ends the session, and with it the look.
    (*what_)(applier);
    what_ = nullptr;
    lock.unlock();
    changed_.notify_all();
    return std::nullopt;
  }
  if (!ended_) return std::nullopt;
  looks_ = false;
  if (failed_) std::rethrow_exception(std::exchange(failed_, nullptr));
  auto ended = *std::exchange(ended_, std::nullopt);
  ended.ticket = ticket_;
  return ended;
}

void WatchThread::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return wanted_ || over_.requested(); });
    if (over_.requested()) return;
    wanted_ = false;
    lock.unlock();
    Ended ended;
    std::exception_ptr failed;
    try {
      ended.postponed = !look();
      ended.whole = true;
      failing_ = false;
    } catch (const StopRequested&) {
      return;
    } catch (const Error& error) {
      // Rows come all the same. Where the source is away, those who read them say so.
      if (error.retry() == Retry::transient || error.retry() == Retry::in_doubt) {
        log::write(std::exchange(failing_, true) ? log::Level::debug : log::Level::warn, "source",
                   fmt::format("the catalogs are looked at again later: {}", error.what()), error);
        reader_.reset();
        connection_.reset();
      } else {
        failed = std::current_exception();
      }
    } catch (...) {
      failed = std::current_exception();
    }
    ended.undecided = watch_.undecided();
    lock.lock();
    ended_ = ended;
    failed_ = failed;
  }
}

/// False: see DefinitionWatch::look().
bool WatchThread::look() {
  auto start = std::exchange(start_, {});
  if (has_reader()) return watch_.look(*reader_, start, [this](const auto& what) { meet(what); });
  bool judged = false;
  meet([&](Applier& applier) {
    CatalogReader lent(lent_, catalog(config_, lent_));
    judged = watch_.look(lent, start, [&](const auto& what) { what(applier); });
  });
  return judged;
}

/// Where a server has no place for one more connection, the lent one must do.
bool WatchThread::has_reader() {
  if (reader_) return true;
  try {
    auto connection = std::make_unique<pg::Connection>(
        pg::Connection::open(config_.source, {pg::Mode::sql, config_.name + " catalogs", connect_seconds}));
    connection->leave_on(over_);
    connection->set_patience(catalog_patience);
    if (which_server(*connection) != server_) return false;
    // Not more than one processor of the source's. Who gives up waiting without telling it leaves a process
    // there that waits on.
    connection->query("set jit = off; set max_parallel_workers_per_gather = 0; set lock_timeout = '20s'",
                      "preparing to read catalogs");
    connection_ = std::move(connection);
    reader_.emplace(*connection_, catalog(config_, *connection_));
    return true;
  } catch (const Error& error) {
    log::debug("source", "{}", error.what());
    return false;
  }
}

void WatchThread::meet(const std::function<void(Applier&)>& what) {
  std::unique_lock lock(mutex_);
  what_ = &what;
  changed_.wait(lock, [&] { return what_ == nullptr || over_.requested(); });
  if (what_ == nullptr) return;
  what_ = nullptr;
  throw StopRequested();
}

}  // namespace tailrace::pipeline
