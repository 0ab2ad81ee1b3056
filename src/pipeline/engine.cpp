#include "pipeline/engine.h"

#include <thread>

#include "base/log.h"
#include "base/sql_text.h"
#include "pipeline/published_tables.h"
#include "pipeline/session.h"
#include "schema/catalog.h"
#include "target/open_target.h"
#include "verify/comparison.h"

namespace tailrace::pipeline {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr int most_restarts_a_minute = 20;
constexpr auto longest_hold = 5s;
constexpr int most_meetings = 10;

target::OpenOptions open_options(const config::Config& config) {
  target::OpenOptions out;
  out.kind = config.target.kind;
  out.path = config.target.path;
  out.name = config.name;
  out.memory_bytes = static_cast<std::int64_t>(config.limits.duckdb_memory);
  out.conflicts = config.conflicts;
  out.make_structure = config.schema == config::Schema::copy;
  out.keep_rows = !config.snapshot.enabled;
  out.in_loop = config.origin == config::Origin::none;
  return out;
}

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
  bool established = false;
  while (!stop_.requested()) {
    try {
      auto target = target::open(open_options(config_));
      established = established || target->checkpoint().has_value();
      if (!std::exchange(marked, true)) mark_for_copy(*target, recopy);
      try {
        attempt(*target);
      } catch (...) {
        established = established || target->checkpoint().has_value();
        throw;
      }
      if (stop_.requested()) target->tidy();
    } catch (Error& error) {
      if (!wait_before_retry(error, established || source_has_slot(error))) {
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

/// A target that is away cannot say whether it was set up; the source's slot can.
bool Engine::source_has_slot(const Error& error) const {
  if (error.retry() != Retry::transient || config_.target.kind != "postgres") return false;
  try {
    auto source = pg::Connection::open(config_.source, {pg::Mode::sql, config_.name});
    auto rows = source.query(fmt::format("select from pg_catalog.pg_replication_slots where slot_name = {}",
                                         quote_literal(config_.slot.name)),
                             "looking for the slot");
    return rows.rows() > 0;
  } catch (const Error&) {
    // The source is away too: nothing is known.
    return false;
  }
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
    } catch (const StopRequested&) {
      return;
    } catch (const target::RestartFromCheckpoint& restart) {
      log::info("run", "going back to the checkpoint: {}", restart.what());
      if (Clock::now() - since > 1min) {
        since = Clock::now();
        restarts = 0;
      }
      if (++restarts > most_restarts_a_minute) {
        throw Error(Retry::transient, fmt::format("the target was prepared anew {} times in a minute; last: {}",
                                                  restarts, restart.what()));
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

/// Both sides at one position: the source as a transaction sees it, the target as a view of it.
struct Engine::Meeting {
  std::unique_ptr<pg::Connection> exporter;
  std::unique_ptr<pg::Connection> source;
  std::unique_ptr<target::TargetView> view;
  Lsn lsn;
};

Engine::Meeting Engine::meet(const StopSignal& stop) {
  auto give_up = [&] { return stop.requested() || stop_.requested(); };
  auto with_applier = [&](const auto& action) {
    std::unique_lock lock(applier_mutex_);
    while (applier_ == nullptr) {
      if (give_up()) throw Error(Retry::needs_operator, "the comparison was stopped");
      applier_changed_.wait_for(lock, 100ms);
    }
    action(*applier_);
  };
  Meeting out;
  out.exporter = std::make_unique<pg::Connection>(
      pg::Connection::open(config_.source, {pg::Mode::replication, config_.name + " verify"}));
  out.exporter->leave_on(stop);
  // A slot's consistent point is not known before it is there. So that the target does not run past it, the
  // applier is held meanwhile, but not for as long as a long transaction at the source may make it take.
  with_applier([](Applier& applier) { applier.hold(Clock::now() + longest_hold); });
  auto name = fmt::format("{}_verify_{}", config_.slot.name.substr(0, 40), out.exporter->backend_pid());
  auto slot = source::create_slot(*out.exporter, name, {true, false, true});
  out.lsn = slot.consistent_point;
  auto barrier = std::make_shared<Barrier>();
  barrier->lsn = slot.consistent_point;
  auto reached = barrier->view.get_future();
  with_applier([&](Applier& applier) { applier.request(barrier); });
  barrier.reset();  // the applier's is the only one left: when that goes, the promise is broken and we know
  out.source = std::make_unique<pg::Connection>(
      pg::Connection::open(config_.source, {pg::Mode::sql, config_.name + " verify"}));
  source::import_snapshot(*out.source, slot.snapshot);
  while (reached.wait_for(100ms) != std::future_status::ready) {
    if (give_up()) throw Error(Retry::needs_operator, "the comparison was stopped");
  }
  out.view = reached.get();
  return out;
}

VerifyReport Engine::compare(const StopSignal& stop) {
  VerifyReport report;
  try {
    std::optional<Meeting> meeting;
    for (int attempt = 1; !meeting; ++attempt) {
      try {
        meeting = meet(stop);
      } catch (const BarrierPassed&) {
        if (attempt == most_meetings) throw;
      }
    }
    report.lsn = meeting->lsn;
    auto publication = source::read_publication(*meeting->source, config_.publication.name);
    if (!publication)
      throw Error(Retry::needs_operator, fmt::format("publication {} is gone", config_.publication.name));
    report.equal = true;
    for (const auto& table : schema::Catalog(*meeting->source).tables(wanted_tables(*publication))) {
      report.tables.push_back(verify::compare_table(*meeting->source, table, *meeting->view, stop));
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
    report = engine.compare(stop);
    leave.request();
  }
  if (failed) std::rethrow_exception(failed);
  return report;
}

void snapshot(const config::Config& config, StatusBoard& board, const StopSignal& stop) {
  auto target = target::open(open_options(config));
  if (!target->tables().empty() || target->checkpoint()) {
    throw Error(Retry::needs_operator, fmt::format("{} holds a mirror already", config.target.url()),
                "A snapshot needs a new file, or another --name; to go on following, use 'tailrace run'");
  }
  try {
    copy_once(config, *target, board, stop);
  } catch (const StopRequested&) {
    return;
  }
  if (!stop.requested()) target->tidy();
}

}  // namespace tailrace::pipeline
