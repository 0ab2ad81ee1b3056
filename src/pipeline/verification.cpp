#include "pipeline/verification.h"

#include <algorithm>

#include "base/log.h"
#include "pipeline/mending.h"
#include "pipeline/published_tables.h"
#include "schema/reading.h"
#include "schema/same_table.h"
#include "source/catalog_marks.h"
#include "source/slot_waits.h"

namespace tailrace::pipeline {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto longest_hold = 5s;
constexpr auto longest_snapshot = 60s;
constexpr int most_meetings = 10;
constexpr int most_rounds = 10;

/// What has the source's rows must have its name too, or whoever looks there by name finds something else.
void compare_names(const schema::Table& table, const target::TargetView& view, verify::TableReport& report) {
  for (const auto& record : view.tables()) {
    if (record.oid != table.oid) continue;
    if (record.schema == table.schema && record.name == table.name && !record.is_moved()) return;
    report.equal = false;
    report.differences.push_back(
        {table.qualified(), "its name", table.qualified(),
         record.is_moved() ? record.target_schema + "." + record.target_table : record.qualified()});
  }
}

}  // namespace

void RunningApplier::set(Applier* applier) {
  std::lock_guard lock(mutex_);
  applier_ = applier;
  changed_.notify_all();
}

void RunningApplier::with(const std::function<void(Applier&)>& action, const std::function<bool()>& give_up) {
  std::unique_lock lock(mutex_);
  while (applier_ == nullptr) {
    if (give_up()) throw StopRequested();
    changed_.wait_for(lock, 100ms);
  }
  action(*applier_);
}

void RunningApplier::withdraw(const std::shared_ptr<Barrier>& barrier) {
  std::lock_guard lock(mutex_);
  if (applier_ != nullptr) applier_->withdraw(barrier);
}

/// Both sides at one position: the source as a transaction sees it, the target as a view of it.
struct Verification::Meeting {
  pg::Connection source;
  std::unique_ptr<target::TargetView> view;
  std::vector<schema::Table> tables;  ///< those that are published
  Lsn lsn;
  Clock::time_point since;
};

Verification::Verification(const config::Config& config, RunningApplier& applier, StatusBoard& board,
                           const StopSignal& engine_stop, const StopSignal& stop)
    : config_(config),
      applier_(applier),
      board_(board),
      engine_stop_(engine_stop),
      stop_(stop),
      guard_(config.source, config.name + " verify", stop) {}

Verification::~Verification() {
  board_.update([](Status& status) { status.verify.reset(); });
}

/// Both sides were at one position while `act` ran, and the source's transaction still is.
std::unique_ptr<Verification::Meeting> Verification::meet(const Act& act) {
  for (int attempt = 1;; ++attempt) {
    try {
      return meet_once(act);
    } catch (const BarrierPassed& passed) {
      if (attempt == most_meetings) throw Error(Retry::transient, passed.what(), "Try again");
    } catch (const std::future_error&) {
      // The applier that was asked is gone: its session was over, by a lost connection or a changed definition.
      if (attempt == most_meetings)
        throw Error(Retry::transient, "following was interrupted each time while the two sides met",
                    "Try again");
    } catch (const target::RestartFromCheckpoint& restart) {
      throw Error(Retry::transient, restart.what(), "Try again");
    }
  }
}

std::unique_ptr<Verification::Meeting> Verification::meet_once(const Act& act) {
  auto give_up = [this] { return given_up(); };
  auto exporter = pg::Connection::open(config_.source, {pg::Mode::replication, config_.name + " verify"});
  exporter.leave_on(stop_);
  auto out = std::make_unique<Meeting>(
      pg::Connection::open(config_.source, {pg::Mode::sql, config_.name + " verify"}));
  out->source.leave_on(stop_);
  // A slot's consistent point is not known before it is there. So that the target does not run past it, the
  // applier is held meanwhile, but not for as long as a long transaction at the source may make it take.
  applier_.with([](Applier& applier) { applier.hold(Clock::now() + longest_hold); }, give_up);
  auto name = fmt::format("{}_verify_{}", config_.slot.name.substr(0, 40), exporter.backend_pid());
  auto told = [this](const std::string& what) {
    board_.update([&](Status& status) {
      if (!status.verify) status.verify.emplace();
      status.verify->waiting_for = what;
    });
  };
  auto slot = source::create_slot_telling(exporter, name, {true, false, true},
                                          {config_.source, config_.name + " verify", told});
  // Once a transaction has taken over the snapshot, the slot can go.
  source::import_snapshot(out->source, slot.snapshot);
  auto barrier = std::make_shared<Barrier>();
  barrier->lsn = out->lsn = slot.consistent_point;
  std::promise<void> shown;
  barrier->act = [&, may_act = shown.get_future().share()](target::Target& target,
                                                           const Checkpoint& checkpoint) {
    may_act.get();
    act(*out, target, checkpoint);
  };
  auto reached = barrier->done.get_future();
  std::weak_ptr<Barrier> remembered = barrier;
  // The applier's is then the only one left: when that goes, the promise is broken and we know.
  applier_.with([&](Applier& applier) { applier.request(std::move(barrier)); }, give_up);
  auto withdraw = [&] {
    if (auto left = remembered.lock()) applier_.withdraw(left);
  };
  // Meanwhile: the longer it takes, the likelier somebody alters a table.
  try {
    out->tables = published(out->source, exporter);
    shown.set_value();
  } catch (...) {
    shown.set_exception(std::current_exception());
    withdraw();
    throw;
  }
  while (reached.wait_for(100ms) != std::future_status::ready) {
    if (!given_up()) continue;
    withdraw();
    throw StopRequested();
  }
  reached.get();
  out->since = Clock::now();
  return out;
}

/// What is done under one snapshot, under as many as it takes to find the tables as the snapshot shows them.
template <typename Action>
auto Verification::under_newer_snapshots(const Action& action) {
  for (int attempt = 1;; ++attempt) {
    try {
      return action();
    } catch (const schema::TableAltered& altered) {
      if (attempt == most_meetings) throw Error(Retry::transient, altered.what(), "Try again");
      log::info("verify", "{}; the two sides meet again", altered.what());
      meeting_.reset();
    }
  }
}

void Verification::meet_to_compare() {
  meeting_.reset();
  meeting_ =
      meet([](Meeting& meeting, target::Target& target, const Checkpoint&) { meeting.view = target.view(); });
}

/// As `source` sees them. `now`: outside of its transaction.
std::vector<schema::Table> Verification::published(pg::Connection& source, pg::Connection& now) const {
  auto shown = source::catalog_marks(source, config_.publication.names);
  auto publication = source::read_publications(source, config_.publication.names);
  if (!source::is_as_shown(shown, source::catalog_marks(now, config_.publication.names)))
    throw schema::TableAltered("tables of the source were altered while the two sides met");
  if (!publication)
    throw Error(Retry::needs_operator,
                fmt::format("publication {} is gone", config::publication_names(config_)));
  std::erase_if(publication->tables, [&](const auto& table) { return !shown.tables.contains(table.oid); });
  return schema::Catalog(source).tables(wanted_tables(*publication));
}

void Verification::run(const VerifyRequest& request, verify::Report& report) {
  if (request.repair && config_.origin == config::Origin::none) {
    throw Error(
        Retry::needs_operator,
        "with origin: none the target's own writes may be on their way to the source still, so --repair "
        "could undo them",
        "Without --repair the rows that differ are named; mend them by hand, at one of both databases");
  }
  under_newer_snapshots([&] { meet_to_compare(); });
  std::vector<std::pair<Oid, std::string>> wanted;
  for (const auto& table : meeting_->tables) {
    auto named = std::ranges::find(request.tables, table.qualified()) != request.tables.end();
    if (named || request.tables.empty()) wanted.emplace_back(table.oid, table.qualified());
  }
  for (const auto& name : request.tables) {
    if (std::ranges::find(wanted, name, &std::pair<Oid, std::string>::second) == wanted.end()) {
      throw Error(Retry::needs_operator, fmt::format("no table {} is published", name),
                  "Write it as SCHEMA.TABLE, as 'tailrace status' lists it");
    }
  }
  refuse_code_of_others(wanted);
  pace_ = VerifyPace(meeting_->tables, wanted);
  std::int64_t done = 0;
  for (const auto& [oid, name] : wanted) {
    board_.update([&](Status& status) {
      VerifyStatus now;
      now.table = name;
      now.tables_done = done++;
      now.tables = static_cast<std::int64_t>(wanted.size());
      now.seconds_left = pace_.seconds_left();
      status.verify = now;
    });
    auto found = under_newer_snapshots([&] { return compare(oid); });
    bool mends = request.repair && !found.report.equal && !found.keys.empty();
    report.tables.push_back(mends ? repair(oid, std::move(found)) : std::move(found.report));
    report.lsn = report.tables.back().lsn;
    pace_.done(oid);
  }
  report.equal = std::ranges::all_of(report.tables, &verify::TableReport::equal);
}

void Verification::refuse_code_of_others(const std::vector<std::pair<Oid, std::string>>& wanted) {
  if (config_.schema.trust_source) return;
  std::vector<Oid> oids;
  for (const auto& [oid, name] : wanted) oids.push_back(oid);
  auto judged = schema::judge_queries(meeting_->source, oids);
  if (!judged.refused.empty()) schema::refuse_to_query(meeting_->source, judged.refused);
}

/// What was judged may have changed when the table's turn comes.
verify::Around Verification::guarded(pg::Connection& source, const schema::Table& table) {
  if (config_.schema.trust_source) return {};
  auto judged = schema::judge_queries(source, {table.oid});
  if (!judged.refused.empty()) schema::refuse_to_query(source, judged.refused);
  if (judged.open_to_others.empty()) return {};
  return [this, table](const std::function<void()>& query) {
    auto refused = guard_.while_judged(table.schema, table.name, table.partitioned, query);
    if (refused) throw Error(*refused);
  };
}

verify::Comparison Verification::compare(Oid oid) {
  if (!meeting_ || Clock::now() - meeting_->since > longest_snapshot) meet_to_compare();
  auto table = std::ranges::find(meeting_->tables, oid, &schema::Table::oid);
  if (table == meeting_->tables.end())
    throw Error(Retry::transient, "a table left the publication while it was compared", "Try again");
  board_.update([&](Status& status) {
    status.verify->mending = false;
    status.verify->rows = 0;
    status.verify->estimated_rows = table->estimated_rows;
  });
  auto records = meeting_->view->tables();
  auto record = std::ranges::find(records, oid, &target::TableRecord::oid);
  if (record != records.end() && record->is_held()) {
    verify::Comparison out;
    out.report.table = table->qualified();
    out.report.lsn = meeting_->lsn;
    out.report.equal = false;
    out.report.held = record->held;
    return out;
  }
  pace_.begin(oid);
  auto counted = [this](std::int64_t rows) {
    pace_.count(rows);
    board_.update([&](Status& status) {
      status.verify->rows += rows;
      status.verify->rows_per_second = pace_.per_second();
      status.verify->seconds_left = pace_.seconds_left();
    });
  };
  auto out = verify::compare_table(meeting_->source, *table, *meeting_->view, stop_,
                                   guarded(meeting_->source, *table), counted);
  pace_.pause();
  out.report.lsn = meeting_->lsn;
  compare_names(*table, *meeting_->view, out.report);
  return out;
}

/// Mends and compares again, for as long as that gets on.
verify::TableReport Verification::repair(Oid oid, verify::Comparison found) {
  auto first = found.report;
  verify::Mended mended;
  for (int round = 0; round < most_rounds && !found.keys.empty(); ++round) {
    auto now = mend(oid, found.shape, std::move(found.keys));
    mended.inserted += now.inserted;
    mended.updated += now.updated;
    mended.deleted += now.deleted;
    found = under_newer_snapshots([&] { return compare(oid); });
    if (now.total() == 0) break;
  }
  if (found.report.equal) {
    found.report.differences = std::move(first.differences);
    found.report.differing = first.differing;
  }
  found.report.mended = mended;
  return std::move(found.report);
}

verify::Mended Verification::mend(Oid oid, const verify::RowShape& shape, std::vector<std::string> keys) {
  meeting_.reset();  // no snapshot is kept while the applier is waited for
  board_.update([](Status& status) { status.verify->mending = true; });
  Mending mending(shape, std::move(keys));
  while (!mending.done()) {
    auto work = [&](Meeting& meeting, target::Target& target, const Checkpoint& checkpoint) {
      auto table = std::ranges::find(meeting.tables, oid, &schema::Table::oid);
      if (table == meeting.tables.end())
        throw Error(Retry::transient, "a table left the publication while it was mended", "Try again");
      mending.work(meeting.source, *table, guarded(meeting.source, *table), target, checkpoint, stop_);
    };
    under_newer_snapshots([&] { meet(work); });
  }
  auto mended = mending.mended();
  log::info("verify", "mended at the target: {} rows inserted, {} updated, {} deleted", mended.inserted,
            mended.updated, mended.deleted);
  return mended;
}

}  // namespace tailrace::pipeline
