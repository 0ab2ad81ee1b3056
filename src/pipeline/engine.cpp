#include "pipeline/engine.h"

#include <thread>

#include "base/log.h"
#include "pipeline/session.h"
#include "schema/catalog.h"
#include "target/open_target.h"
#include "verify/comparison.h"

namespace tailrace::pipeline {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr int most_restarts_a_minute = 20;

}  // namespace

void Engine::mark_for_copy(target::Target& target, const std::vector<std::string>& tables) {
  for (const auto& name : tables) {
    bool found = false;
    for (const auto& record : target.tables()) {
      if (record.schema + "." + record.name != name) continue;
      target.mark_for_copy(record.oid, "asked for");
      found = true;
    }
    if (!found) {
      throw Error(Retry::needs_operator, fmt::format("the target has no table {} to copy anew", name),
                  "Write it as SCHEMA.TABLE, as 'tailrace status' lists it");
    }
  }
}

void Engine::run(const std::vector<std::string>& recopy) {
  bool marked = false;
  while (!stop_.requested()) {
    bool established = false;
    try {
      auto target = target::open(config_.target.kind, config_.target.path, static_cast<std::int64_t>(config_.limits.duckdb_memory));
      established = target->checkpoint().has_value();
      if (!std::exchange(marked, true)) mark_for_copy(*target, recopy);
      try {
        attempt(*target);
      } catch (...) {
        established = established || target->checkpoint().has_value();
        throw;
      }
      if (stop_.requested()) target->tidy();
    } catch (Error& error) {
      if (!wait_before_retry(error, established)) {
        board_.update([&](Status& status) {
          status.state = RunState::failed;
          status.message = error.what();
        });
        throw;
      }
    }
  }
  board_.update([](Status& status) { status.state = RunState::stopped; });
}

/// Sessions follow one another at once while each ends only because the target was prepared for the next.
void Engine::attempt(target::Target& target) {
  auto since = Clock::now();
  int restarts = 0;
  for (;;) {
    try {
      Session session(config_, target, board_, stop_, [this](Applier* applier) {
        std::lock_guard lock(applier_mutex_);
        applier_ = applier;
        if (applier != nullptr) backoff_ = 0ms;
        applier_changed_.notify_all();
      });
      session.run();
      return;
    } catch (const target::RestartFromCheckpoint& restart) {
      log::info("run", "going back to the checkpoint: {}", restart.what());
      if (Clock::now() - since > 1min) {
        since = Clock::now();
        restarts = 0;
      }
      if (++restarts > most_restarts_a_minute) {
        throw Error(Retry::transient, fmt::format("the target was prepared anew {} times in a minute; last: {}", restarts,
                                                  restart.what()));
      }
    }
  }
}

/// The one place where retry or stop is decided.
bool Engine::wait_before_retry(const Error& error, bool established) {
  bool may_retry = error.retry() == Retry::transient || error.retry() == Retry::in_doubt;
  // Before anything is set up, somebody is watching: a wrong address is better said than waited for.
  if (!may_retry || !established || stop_.requested()) return false;
  backoff_ = std::clamp(backoff_ * 2, config_.connect.backoff_min, config_.connect.backoff_max);
  log::warn("run", "{}; trying again in {:.1f} s", error.what(), static_cast<double>(backoff_.count()) / 1000);
  board_.update([&](Status& status) {
    status.state = RunState::reconnecting;
    status.message = error.what();
    ++status.reconnects;
  });
  return stop_.sleep(backoff_) || true;
}

VerifyReport Engine::compare(const StopSignal& stop) {
  VerifyReport report;
  try {
    auto replication = pg::Connection::open(config_.source, {pg::Mode::replication, config_.name + " verify"});
    auto slot = source::create_slot(replication, fmt::format("{}_verify_{}", config_.slot.name.substr(0, 40), replication.backend_pid()),
                                    {true, false, true});
    auto source = pg::Connection::open(config_.source, {pg::Mode::sql, config_.name + " verify"});
    source.query("begin isolation level repeatable read read only; set transaction snapshot " + pg::quote_literal(slot.snapshot),
                 "importing the snapshot");
    report.lsn = slot.consistent_point;
    auto barrier = std::make_shared<Barrier>();
    barrier->lsn = slot.consistent_point;
    auto reached = barrier->view.get_future();
    {
      std::unique_lock lock(applier_mutex_);
      while (applier_ == nullptr) {
        if (stop.requested() || stop_.requested()) throw Error(Retry::needs_operator, "the comparison was stopped");
        applier_changed_.wait_for(lock, 100ms);
      }
      applier_->request(barrier);
    }
    barrier.reset();  // the applier's is the only one left: when that goes, the promise is broken and we know
    while (reached.wait_for(100ms) != std::future_status::ready) {
      if (stop.requested() || stop_.requested()) throw Error(Retry::needs_operator, "the comparison was stopped");
    }
    auto view = reached.get();
    auto publication = source::read_publication(source, config_.publication.name);
    if (!publication) throw Error(Retry::needs_operator, fmt::format("publication {} is gone", config_.publication.name));
    std::vector<schema::Catalog::Wanted> wanted;
    for (const auto& table : publication->tables) wanted.push_back({table.oid, table.columns, table.row_filter});
    report.equal = true;
    for (const auto& table : schema::Catalog(source).tables(wanted)) {
      report.tables.push_back(verify::compare_table(source, table, *view, stop));
      report.equal = report.equal && report.tables.back().equal;
    }
  } catch (const std::future_error&) {
    report.error = "the connection to the source was lost while comparing; try again";
  } catch (const std::exception& error) {
    report.error = error.what();
  }
  if (!report.error.empty()) report.equal = false;
  return report;
}

VerifyReport verify(const config::Config& config, const StopSignal& stop) {
  StatusBoard board;
  StopSignal leave;
  Engine engine(config, board, leave);
  std::exception_ptr failed;
  VerifyReport report;
  {
    std::jthread following([&] {
      try {
        engine.run();
      } catch (...) {
        failed = std::current_exception();
        leave.request();
      }
    });
    report = engine.compare(stop.requested() ? stop : leave);
    leave.request();
  }
  if (failed) std::rethrow_exception(failed);
  return report;
}

void snapshot(const config::Config& config, StatusBoard& board, const StopSignal& stop) {
  auto target = target::open(config.target.kind, config.target.path, static_cast<std::int64_t>(config.limits.duckdb_memory));
  if (!target->tables().empty() || target->checkpoint()) {
    throw Error(Retry::needs_operator, fmt::format("{} holds a mirror already", config.target.path),
                "A snapshot needs a new file; to go on following, use 'tailrace run'");
  }
  copy_once(config, *target, board, stop);
  if (!stop.requested()) target->tidy();
}

}  // namespace tailrace::pipeline
