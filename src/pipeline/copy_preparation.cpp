#include "pipeline/copy_preparation.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/pulse.h"
#include "pipeline/open_options.h"
#include "source/lock_waits.h"
#include "source/slot_waits.h"

namespace tailrace::pipeline {
namespace {

using namespace std::chrono_literals;

// Reading pg_locks stops every lock of the server for a moment: who keeps one for long is asked for less often.
constexpr auto look_first_after = 100ms;
constexpr auto look_at_least_every = 1000ms;
// The first may be unlucky; then another is, if the table changes all the time.
constexpr int hasty_attempts = 2;

}  // namespace

CopySnapshot take_snapshot_by_slot(const config::Config& config, StatusBoard& board, const StopSignal& stop) {
  pg::ConnectOptions options;
  options.mode = pg::Mode::replication;
  options.application_name = config.name + " snapshot";
  auto exporter = std::make_unique<pg::Connection>(pg::Connection::open(config.source, options));
  exporter->leave_on(stop);
  std::string name = fmt::format("{}_copy_{}", config.slot.name.substr(0, 40), exporter->backend_pid());
  auto created = source::create_slot_telling(
      *exporter, name, {true, false, true}, {config.source, config.name, [&](const std::string& what) {
                                               board.update([&](Status& status) { status.waiting_for = what; });
                                             }});
  return {std::move(exporter), created.snapshot, created.consistent_point};
}

CopyPreparation::CopyPreparation(const config::Config& config, std::set<Oid> tables, StatusBoard& board,
                                 const StopSignal& stop)
    : config_(config), wanted_(std::move(tables)), board_(board), over_(&stop), thread_([this] { loop(); }) {}

CopyPreparation::~CopyPreparation() {
  {
    std::lock_guard lock(mutex_);
    over_.request();
  }
  changed_.notify_all();
  thread_.join();
  // Whoever it told of is not waited for any more.
  board_.update([](Status& status) { status.waiting_for.clear(); });
}

void CopyPreparation::loop() {
  WorkingThread working("copy preparation");
  try {
    std::unique_ptr<pg::Connection> connection;
    for (;;) {
      if (!connection) {
        connection = open_source(config_, pg::Mode::sql);
        connection->leave_on(over_);
      }
      for (auto wait = look_first_after; !choose_tables(*connection);
           wait = std::min(wait * 2, look_at_least_every)) {
        if (!over_.sleep(wait)) return;
      }
      take_snapshot();
      std::unique_lock lock(mutex_);
      Waiting waiting;
      changed_.wait(lock, [this] { return state_ != State::ready || over_.requested(); });
      if (over_.requested()) return;
    }
  } catch (const StopRequested&) {
    return;
  } catch (...) {
    std::lock_guard lock(mutex_);
    error_ = std::current_exception();
    state_ = State::failed;
    changed_.notify_all();
  }
}

/// Those that nobody has locked; false: there is none.
bool CopyPreparation::choose_tables(pg::Connection& connection) {
  auto locked = source::locked_tables(connection, wanted_);
  auto free = wanted_;
  std::string who;
  for (const auto& [table, what] : locked) {
    free.erase(table);
    if (who.empty()) who = what;
  }
  if (locked.size() > 1) who += fmt::format("; and for {} more tables", locked.size() - 1);
  if (told(who)) board_.update([&](Status& status) { status.waiting_for = who; });
  if (free.empty()) return false;
  std::lock_guard lock(mutex_);
  tables_ = std::move(free);
  state_ = State::snapshot;
  return true;
}

/// Whether that is news, which the log has too.
bool CopyPreparation::told(const std::string& what) {
  if (std::exchange(told_, what) == what) return false;
  if (!what.empty()) log::info("copy", "a copy waits for {}", what);
  return true;
}

void CopyPreparation::take_snapshot() {
  auto taken = take_snapshot_by_slot(config_, board_, over_);
  std::lock_guard lock(mutex_);
  snapshot_ = std::move(taken);
  state_ = State::ready;
  changed_.notify_all();
}

CopyPreparation::State CopyPreparation::state() const {
  std::lock_guard lock(mutex_);
  return state_;
}

std::set<Oid> CopyPreparation::tables() const {
  std::lock_guard lock(mutex_);
  return tables_;
}

bool CopyPreparation::is_for(Oid table) const {
  std::lock_guard lock(mutex_);
  return state_ != State::locked && tables_.contains(table);
}

Lsn CopyPreparation::lsn() const {
  std::lock_guard lock(mutex_);
  return snapshot_.lsn;
}

bool CopyPreparation::wants_patience() const {
  std::lock_guard lock(mutex_);
  return attempts_ >= hasty_attempts && state_ == State::snapshot;
}

void CopyPreparation::wait_for(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, time, [this] { return state_ != State::snapshot; });
}

void CopyPreparation::again() {
  {
    std::lock_guard lock(mutex_);
    snapshot_ = {};
    state_ = State::locked;
    ++attempts_;
  }
  changed_.notify_all();
}

CopySnapshot CopyPreparation::take() {
  std::lock_guard lock(mutex_);
  if (error_) std::rethrow_exception(error_);
  return std::move(snapshot_);
}

}  // namespace tailrace::pipeline
