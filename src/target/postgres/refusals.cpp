#include "target/postgres/refusals.h"

#include "target/postgres/names.h"

#include <algorithm>

#include "base/log.h"
#include "target/postgres/emptying.h"
#include "target/postgres/lost_rights.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* emptying = "emptying tables";
// Their rows are remembered, so that later changes of them wait too.
constexpr std::int64_t most_alone = 10'000;
constexpr const char* rows_are_unclear =
    "; since then its replica identity, or the stream's format, became another, so that it is not known which "
    "changes are of the rows that wait";

std::string at_source(const std::string& what, Lsn commit_lsn, const std::string& words) {
  return fmt::format("{} (of the source's transaction at {}): {}", what, commit_lsn.str(), words);
}

bool is_partitioned(pg::Connection& connection, const TableRecord& table) {
  return own_table(connection, table).kind == 'p';
}

}  // namespace

/// The first change from there on that must wait behind one of its row in quarantine, or may have to.
std::size_t Refusals::waits_from(const TableRecord& table, const RowRun& run, std::size_t from) {
  if (!kept_.any_of(table.oid)) return run.entries.size();
  auto waits = [&](const auto& entry) {
    return kept_.has_row_of(table, *run.relation, *entry.change) != KeptChanges::SameRow::no;
  };
  while (from < run.entries.size() && !waits(run.entries[from])) ++from;
  return from;
}

void Refusals::apply(const TableRecord& table, const TablePlan& plan, const RowRun& run) {
  std::size_t next = 0;
  std::size_t waits = waits_from(table, run, 0);
  while (next < run.entries.size()) {
    if (next == waits) {
      auto same = kept_.has_row_of(table, *run.relation, *run.entries[next].change);
      kept_.record(table, run, next, next + 1, nullptr);
      ++next;
      if (bool unclear = same == KeptChanges::SameRow::cannot_tell; unclear || too_many(table)) {
        hold(table, kept_.all().at(table.oid).error + (unclear ? rows_are_unclear : ""));
        return kept_.record(table, run, next, run.entries.size(), nullptr);
      }
      waits = waits_from(table, run, next);
      continue;
    }
    auto refusal = apply_carefully(session_, conflicts_, plan, run, next, waits);
    if (!refusal) {
      next = waits;
      continue;
    }
    // Not of the change: the next one would be refused as well.
    if (refusal->sqlstate == insufficient_privilege) check_rights_on(session_.direct(), table);
    const auto& entry = run.entries[refusal->entry];
    auto what = describe(*entry.change, *run.relation, plan.key);
    if (on_error_ == OnError::stop) throw stop_error(what, refusal->words, refusal->sqlstate, entry.commit_lsn);
    refusal->words = at_source(what, entry.commit_lsn, refusal->words);
    next = refusal->entry + 1;
    kept_.record(table, run, refusal->entry, next, &*refusal);
    keep_back(table, refusal->words);
    if (kept_.held(table.oid)) return kept_.record(table, run, next, run.entries.size(), nullptr);
    waits = waits_from(table, run, next);
  }
}

bool Refusals::too_many(const TableRecord& table) const {
  return kept_.all().at(table.oid).changes >= most_alone;
}

void Refusals::hold(const TableRecord& table, const std::string& error) {
  auto name = table.qualified();
  log::write(log::Level::warn, "target",
             fmt::format("{}: {}; all later changes of the table are kept in tailrace.quarantine with it until "
                         "'tailrace replay'",
                         name, error),
             {{"table", name}, {"remedy", "tailrace replay"}});
  kept_.hold(table, error);
}

/// A change of the table is in quarantine now.
void Refusals::keep_back(const TableRecord& table, const std::string& error) {
  if (after_ == AfterQuarantine::hold || too_many(table)) return hold(table, error);
  // There may be many; they are counted in the status.
  auto level = kept_.all().at(table.oid).changes == 1 ? log::Level::warn : log::Level::debug;
  auto name = table.qualified();
  log::write(level, "target", fmt::format("{}: {}; it is kept in tailrace.quarantine", name, error),
             {{"table", name}, {"remedy", "tailrace replay"}});
}

void Refusals::truncate(const std::vector<const TableRecord*>& tables, const Truncate& how,
                        const ChangePlace& place) {
  // A table of which changes wait keeps its rows until their turn comes; and once it waits to be emptied,
  // everything later waits behind that.
  std::vector<const TableRecord*> flowing;
  for (const TableRecord* table : tables) {
    if (!kept_.any_of(table->oid)) {
      flowing.push_back(table);
      continue;
    }
    kept_.record_truncate(*table, how, place, nullptr);
    if (!kept_.held(table->oid)) hold(*table, kept_.all().at(table->oid).error);
  }
  if (!flowing.empty()) truncate_together(flowing, how, place);
}

void Refusals::truncate_together(const std::vector<const TableRecord*>& tables, const Truncate& how,
                                 const ChangePlace& place) {
  auto& connection = session_.direct();
  std::vector<EmptiedTable> emptied;
  for (const TableRecord* table : tables)
    emptied.push_back({table->target_name, is_partitioned(connection, *table)});
  connection.query("savepoint tailrace_truncate", emptying);
  Refusal refusal;
  bool lacks_right = false;
  try {
    empty_tables(connection, emptied, how.restart_identity);
    connection.query("release tailrace_truncate", emptying);
    return;
  } catch (const Error& error) {
    if (!about_a_change(error)) throw;
    lacks_right = error.sqlstate() == insufficient_privilege;
    refusal = {0, error.sqlstate(), server_words(error)};
  }
  connection.query("rollback to tailrace_truncate; release tailrace_truncate", emptying);
  if (lacks_right) {
    for (const TableRecord* table : tables) check_rights_on(connection, *table);
  }
  std::string names;
  for (const TableRecord* table : tables) names += (names.empty() ? "" : ", ") + table->qualified();
  auto what = "the TRUNCATE of " + names;
  Lsn commit_lsn = place.transaction->commit_lsn;
  if (on_error_ == OnError::stop) throw stop_error(what, refusal.words, refusal.sqlstate, commit_lsn);
  refusal.words = at_source(what, commit_lsn, refusal.words);
  for (const TableRecord* table : tables) {
    kept_.record_truncate(*table, how, place, &refusal);
    hold(*table, refusal.words);  // whatever is to come next: it is of any row
  }
}

}  // namespace tailrace::target::postgres
