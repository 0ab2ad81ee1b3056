#include "target/postgres/careful_run.h"

#include <algorithm>

#include "target/postgres/row_writer.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* applying_changes = "applying changes";
// What a refusal makes us do again.
constexpr std::size_t most_at_once = 200;
constexpr const char* unique_violation = "23505";

void apply_some(ApplySession& session, const TablePlan& plan, const RowRun& run, std::size_t from,
                std::size_t to) {
  RowWriter writer(session, plan, run.entries[from].place.transaction->commit_time);
  for (std::size_t i = from; i < to; ++i) {
    session.at_entry(i);
    writer.change(*run.entries[i].change, run.entries[i].commit_lsn);
  }
  session.settle();
}

/// Rows of the target are looked at first, so that the policy for conflicts has its say.
void apply_one_with_care(ApplySession& session, ConflictHandling& conflicts, const TablePlan& plan,
                         const RowRun& run, std::size_t entry) {
  session.at_entry(entry);
  try {
    conflicts.apply(session, plan, {run.relation, {run.entries[entry]}});
    session.settle();
  } catch (RowMissing& missing) {
    missing.entry = entry;
    throw;
  }
}

std::optional<Refusal> try_some(ApplySession& session, ConflictHandling& conflicts, const TablePlan& plan,
                                const RowRun& run, std::size_t from, std::size_t to, bool with_care) {
  try {
    if (with_care) {
      apply_one_with_care(session, conflicts, plan, run, from);
    } else {
      apply_some(session, plan, run, from, to);
    }
    return std::nullopt;
  } catch (const RefusedByPolicy& refused) {
    return Refusal{from, "", refused.message()};
  } catch (const ConstraintFailed& failed) {
    if (failed.table != plan.oid) throw;
    return Refusal{failed.entry, failed.error.sqlstate(), server_words(failed.error)};
  } catch (const RowMissing& missing) {
    if (missing.table != plan.oid) throw;
    return Refusal{missing.entry, "", "the target does not have that row"};
  }
}

/// A row is not there, or one is in the way: what a look at the target's rows may resolve.
bool may_be_conflict(const Refusal& refusal) {
  return refusal.sqlstate.empty() || refusal.sqlstate == unique_violation;
}

}  // namespace

std::optional<Refusal> apply_carefully(ApplySession& session, ConflictHandling& conflicts,
                                       const TablePlan& plan, const RowRun& run, std::size_t from,
                                       std::size_t to) {
  std::size_t done = from;
  std::size_t limit = to;  // up to the one that was refused, to apply what comes before it
  while (done < to) {
    // What is looked at is counted, so it is not done twice.
    bool with_care = conflicts.with_care(plan.oid);
    std::size_t end = std::min(done + (with_care ? 1 : most_at_once), limit);
    session.direct().query("savepoint tailrace_careful", applying_changes);
    auto refusal = try_some(session, conflicts, plan, run, done, end, with_care);
    if (!refusal) {
      session.direct().query("release tailrace_careful", applying_changes);
      done = end;
      if (done == limit) limit = to;
      continue;
    }
    session.direct().query("rollback to tailrace_careful; release tailrace_careful", applying_changes);
    TAILRACE_CHECK(refusal->entry >= done && refusal->entry < end);
    limit = refusal->entry;
    if (limit > done) continue;
    if (with_care || !may_be_conflict(*refusal)) return refusal;
    // The policy has its say before the quarantine.
    conflicts.take_care(plan.oid, refusal->words);
    limit = to;
  }
  return std::nullopt;
}

}  // namespace tailrace::target::postgres
