#include "target/postgres/conflict_handling.h"

#include <algorithm>
#include <utility>

#include "target/postgres/deletions.h"
#include "target/postgres/names.h"

namespace tailrace::target::postgres {
namespace {

constexpr auto care_at_first = std::chrono::seconds(2);
constexpr auto care_at_most = std::chrono::minutes(5);
constexpr int most_tries = 10;
constexpr auto tidy_every = std::chrono::minutes(10);
constexpr int origins_of_rows_since = 140000;

}  // namespace

ConflictHandling::ConflictHandling(ConflictSettings settings, std::string subscription)
    : settings_(std::move(settings)), subscription_(std::move(subscription)), log_(settings_.log) {}

void ConflictHandling::check_server(pg::Connection& connection, bool has_origin) {
  bool remembers =
      connection.query("show track_commit_timestamp", "looking at the target's settings").get(0, 0) == "on";
  bool tells = connection.server_version() >= origins_of_rows_since;
  knows_times_ = remembers && tells && has_origin;
  if (knows_times_ || !by_time()) return;
  auto refuse = [](const std::string& what, const std::string& remedy) {
    throw Error(Retry::needs_operator, "a policy that decides conflicts by time is chosen, but " + what,
                remedy);
  };
  if (!tells) refuse("the target is older than PostgreSQL 14", "Choose another policy, or a newer target");
  if (!remembers)
    refuse("the target does not remember when rows were written",
           "Set track_commit_timestamp = on at the target, and restart it");
  refuse("the target's user may not use replication origins, or there is no place for one more",
         "Use a superuser there, or grant EXECUTE on the functions pg_replication_origin_*; raise "
         "max_replication_slots (max_active_replication_origins from PostgreSQL 18 on)");
}

void ConflictHandling::start(pg::Connection& connection, bool has_origin,
                             const std::vector<TableRecord>& tables) {
  check_server(connection, has_origin);
  if (knows_times_) writers_.load(connection, subscription_, source_);
  std::vector<TableRecord> others;
  for (const auto& record : tables) {
    auto rules = settings_.rules_for(record.schema, record.name);
    auto table = rules.by_time() ? find_own_table(connection, record) : std::nullopt;
    if (table)
      note_deletions(connection, *table);
    else
      others.push_back(record);
  }
  stop_noting_deletions(connection, subscription_, others);
}

void ConflictHandling::complete(TablePlan& plan, pg::Connection& connection) const {
  // Without a key, a row is any of those that look like it.
  if (!knows_times_ || plan.key.empty()) return;
  plan.own_rows = fmt::format(
      "coalesce((pg_catalog.pg_xact_commit_timestamp_origin(t.xmin)).roident = any({}), true)", writers_.own());
  auto rules = settings_.rules_for(plan.relation->schema, plan.relation->name);
  if (!rules.by_time()) return;
  std::vector<std::string> key;
  for (std::size_t i : plan.key) key.push_back(plan.columns[i]->name);
  auto primary = plan.table.primary_key;
  std::ranges::sort(key);
  std::ranges::sort(primary);
  if (!primary.empty() && key != primary) {
    throw Error(Retry::needs_operator,
                fmt::format("the replica identity of {} is not the primary key of the target's table, so that "
                            "conflicts cannot be decided by time",
                            plan.relation->qualified()),
                "Make both the same, or choose another policy (conflicts: in the configuration)");
  }
  note_deletions(connection, plan.table);
  plan.deletions = std::make_unique<DeletionNotes>();
  plan.deletions->relation = plan.table.oid;
  plan.deletions->later_wins = rules.policy == ConflictPolicy::last_update_wins;
  plan.deletions->foreign =
      fmt::format("(pg_catalog.pg_xact_commit_timestamp_origin(d.xmin)).roident <> all({})", writers_.own());
}

/// For longer each time, as long as one follows the other; and at least until a commit holds changes that were
/// applied so. (A transaction that comes in parts takes as long as it takes to come again.)
void ConflictHandling::take_care(Oid table, const std::string& reason) {
  auto now = Clock::now();
  auto [care, fresh] = care_.try_emplace(table);
  bool again = !fresh && now - care->second.until < care->second.length;
  care->second.length =
      again ? std::min<Clock::duration>(care->second.length * 2, care_at_most) : Clock::duration(care_at_first);
  care->second.reason = reason;
  indexes_.erase(table);
  care->second.until = now + care->second.length;
  care->second.pending = true;
}

bool ConflictHandling::with_care(Oid table) const {
  auto care = care_.find(table);
  return care != care_.end() && (care->second.pending || Clock::now() < care->second.until);
}

std::string ConflictHandling::reason(Oid table) const {
  return with_care(table) ? care_.at(table).reason : "";
}

bool ConflictHandling::another_try(Oid table) {
  auto care = care_.find(table);
  return care != care_.end() && ++care->second.tries <= most_tries;
}

void ConflictHandling::apply(ApplySession& session, const TablePlan& plan, const RowRun& run) {
  CarefulSettings settings{settings_.rules_for(plan.relation->schema, plan.relation->name), settings_.record,
                           knows_times_, subscription_, source_};
  used_.insert(plan.oid);
  auto& indexes = indexes_[plan.oid];
  if (indexes.of != plan.relation) indexes = {plan.relation, unique_indexes(session.direct(), plan)};
  CarefulWriter writer(session, plan, settings, indexes.list, writers_, log_);
  for (const auto& entry : run.entries) writer.change(entry);
}

void ConflictHandling::committed() {
  log_.committed();
  for (auto& [table, care] : care_) {
    care.tries = 0;
    if (!used_.contains(table) || !std::exchange(care.pending, false)) continue;
    care.until = std::max(care.until, Clock::now() + care.length);
  }
  used_.clear();
}

void ConflictHandling::rolled_back() {
  log_.rolled_back();
  used_.clear();
}

void ConflictHandling::tidy(pg::Connection& connection) {
  if (!by_time() || Clock::now() - tidied_ < tidy_every) return;
  forget_deletions(connection, settings_.keep_deletions);
  tidied_ = Clock::now();
}

}  // namespace tailrace::target::postgres
