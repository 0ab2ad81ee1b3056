#include "target/postgres/lane.h"

#include <chrono>
#include <thread>

#include "base/log.h"
#include "target/postgres/fence.h"
#include "target/postgres/origins.h"
#include "target/postgres/row_writer.h"

namespace tailrace::target::postgres {

namespace {

constexpr auto origin_patience = std::chrono::seconds(10);
constexpr auto ask_again = std::chrono::milliseconds(50);
constexpr auto stages_serve = std::chrono::hours(1);

}  // namespace

Lane::Lane(const ApplyOptions& options, int number) : session_(options) {
  enter_fence(session_.direct(), options.subscription);
  set_up_origin(options.subscription, number);
}

/// Marks what we write as replicated, so that it can be told from what others write, and is not sent back in a
/// circle.
void Lane::set_up_origin(const std::string& subscription, int number) {
  auto name = apply_origin(subscription, number);
  std::string why;
  auto outcome = use_origin(session_.direct(), name, why);
  // Whoever had the subscription before may be dead without its server process having noticed.
  auto until = std::chrono::steady_clock::now() + origin_patience;
  while (outcome == OriginOutcome::busy && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(ask_again);
    outcome = use_origin(session_.direct(), name, why);
  }
  if (outcome == OriginOutcome::busy) check_name_is_free(session_.direct(), subscription);
  if (outcome == OriginOutcome::busy) throw Error(Retry::transient, why, "Try again in a moment");
  if (outcome == OriginOutcome::refused) why_no_origin_ = why;
}

void Lane::begin(bool deferrable) {
  // Nothing vacuums a temporary table: one that stayed would hold back the database's freezing.
  if (stages_.age() > stages_serve) stages_.forget(session_.direct());
  session_.send("begin", {});
  // What the source checked at the end of a statement or of its transaction is checked at the end here.
  if (deferrable) session_.send("set constraints all deferred", {});
}

void Lane::write(const TablePlan& plan, const TableBatch& batch, const SetChanges& changes) {
  if (changes.count() == 0) return;
  SetWriter(session_, stages_, plan, batch).write(changes);
}

void Lane::write(const TablePlan& plan, const RowRun& run) {
  if (run.entries.empty()) return;
  RowWriter writer(session_, plan, run.entries.front().place.transaction->commit_time);
  for (const auto& entry : run.entries) writer.change(*entry.change, entry.commit_lsn);
}

Landed Lane::commit(const Checkpoint& checkpoint, const std::string& advance_sql, CommitHow how) {
  auto lsn = checkpoint.lsn.str();
  auto micros = std::to_string(checkpoint.commit_time.micros);
  session_.send(advance_sql, {{lsn.c_str(), 0, false}, {micros.c_str(), 0, false}});
  // What is written here from now on is later than what it is written over, also if the source's clock is
  // ahead.
  if (how.by_time) {
    auto time = checkpoint.commit_time.str();
    session_.send(
        "select pg_catalog.pg_sleep(extract(epoch "
        "from $1::pg_catalog.timestamptz + interval '2 microseconds' - "
        "pg_catalog.clock_timestamp())::pg_catalog.float8)",
        {{time.c_str(), 0, false}});
  }
  if (has_origin()) {
    auto time = checkpoint.commit_time.str();
    session_.send(
        "select pg_catalog.pg_replication_origin_xact_setup($1::pg_catalog.pg_lsn, "
        "$2::pg_catalog.timestamptz)",
        {{lsn.c_str(), 0, false}, {time.c_str(), 0, false}});
  }
  // Not `on`: the target's own standbys may be those that wait for us.
  if (how.flushed) session_.send("set local synchronous_commit = local", {});
  session_.send("commit", {});
  session_.note_commit();
  session_.send("select pg_catalog.pg_current_wal_insert_lsn(), pg_catalog.pg_current_wal_flush_lsn()", {});
  auto row = session_.settle_with_row();
  return {Lsn::parse(row.at(0)).value(), Lsn::parse(row.at(1)).value()};
}

bool Lane::any_waits(const std::vector<int>& backends) {
  auto list = fmt::format("{{{}}}", fmt::join(backends, ","));
  auto rows = session_.ask(
      "select exists (select from pg_catalog.pg_locks where not granted and pid = any($1::int[]) "
      "and locktype not in ('extend', 'page', 'spectoken'))",
      {{list.c_str(), 0, false}});
  return rows.at(0).at(0) == "t";
}

bool Lane::rollback() noexcept {
  session_.abandon();
  try {
    auto& connection = session_.direct();
    connection.query("rollback", "undoing");
    stages_.forget(connection);
    return true;
  } catch (const std::exception& error) {
    // The next use of the connection fails with the same cause and is reported there.
    log::debug("target", "undoing failed: {}", error.what());
    return false;
  }
}

}  // namespace tailrace::target::postgres
