#include "base/log.h"
#include "pipeline/applier.h"
#include "pipeline/evolution.h"
#include "pipeline/unsaid_changes.h"

// A large transaction that is applied while it is in progress at the source, beside the others.
//
// Why that is exact: a part of it is applied after every transaction that had committed when the source wrote
// the part, and what commits between the part and its own commit cannot have touched the same rows, for the
// source still had them locked. It becomes visible by its commit, in its place among the others. Whatever is
// out of the common (a definition that is not the target's, a table whose changes need the source's order, an
// error) gives it up: then it comes again, whole, after its commit.

namespace tailrace::pipeline {

void Applier::end_ahead() {
  ahead_->transaction->give_up();
  target_.give_up_ahead();
  ahead_.reset();
}

void Applier::apply_ahead(const std::shared_ptr<const ChangeBatch>& batch) {
  auto& transaction = *batch->ahead;
  const auto& span = batch->transactions.front();
  if (!transaction.open()) return;
  if (span.ends) return commit_ahead(transaction, span);
  // What is refused is refused after its commit.
  if (checks_text_) return transaction.give_up();
  if (span.begins) ahead_ = Ahead{batch->ahead, {}, {}, 0};
  // What committed before it.
  if (began_ || !touched_.empty()) {
    flush(true);
    commit(progress_, Pace::go_on);
  }
  try {
    add_ahead(batch);
  } catch (const Error& error) {
    // Of a transaction that may yet be rolled back, or left out: what is wrong is told after its commit.
    if (error.retry() == Retry::transient || error.retry() == Retry::in_doubt) throw;
    log::debug("apply", "a transaction is applied after its commit: {}", error.message());
    end_ahead();
  }
}

void Applier::add_ahead(const std::shared_ptr<const ChangeBatch>& part) {
  for (const auto& described : part->leaves) {
    auto found = tables_.find(part->relations[described.relation]->oid);
    // It is noted with the rows, after the commit.
    if (found != tables_.end() && storage_with_leaf(found->second.record, described.leaf)) return end_ahead();
  }
  std::map<Table*, TableFold> folds;
  std::vector<TableFold*> by_index(part->relations.size(), nullptr);
  for (const auto& change : part->changes) {
    TableFold*& fold = by_index[change.index];
    if (fold == nullptr) {
      auto* table = ahead_table(*part, change.index);
      if (table == nullptr) return end_ahead();
      auto [made, fresh] = folds.try_emplace(table, part->relations[change.index]);
      // Described in two ways within one part: it changed its definition itself.
      if (!fresh) return end_ahead();
      fold = &made->second;
    }
    fold->add(change);
  }
  ahead_->changes += static_cast<std::int64_t>(part->changes.size());
  for (auto& [table, fold] : folds) {
    TableBatch batch = std::move(fold).finish();
    auto& counts = ahead_->counts[table];
    counts.inserts += batch.inserts;
    counts.updates += batch.updates;
    counts.deletes += batch.removes;
    if (!batch.empty()) target_.apply_ahead(ahead_->transaction, table->record.oid, std::move(batch), part);
  }
}

/// Null where it is not certain yet what will have to be done with its changes.
Applier::Table* Applier::ahead_table(const ChangeBatch& part, std::uint32_t index) {
  const auto& relation = part.relations[index];
  auto found = tables_.find(relation->oid);
  if (found == tables_.end()) return nullptr;
  auto& table = found->second;
  // It commits after all that committed so far; whether a later copy holds it is not known.
  if (table.ignored || !table.record.copied || part.progress < table.record.copied_at) return nullptr;
  return fits(table, relation) ? &table : nullptr;
}

bool Applier::fits(const Table& table, const std::shared_ptr<const Relation>& relation) {
  if (table.prepared && *table.prepared == *relation) return true;
  if (ahead_->fitting.contains(relation)) return true;
  auto plan = plan_evolution(table.record, *relation, catalog());
  const auto* evolution = std::get_if<target::Evolution>(&plan);
  bool fitting = evolution != nullptr && evolution->empty() && evolution->storage == table.record.storage &&
                 evolution->columns == table.record.columns;
  if (fitting) ahead_->fitting.insert(relation);
  return fitting;
}

void Applier::commit_ahead(AheadTransaction& transaction, const TransactionSpan& span) {
  // It comes again after its commit, where the end is looked for.
  if (between_.left_out.wants(span.commit_lsn) || is_beyond_end(span)) return end_ahead();
  if (barrier_waits()) meet_barriers(progress_, span.commit_lsn);
  flush(true);
  commit(progress_);
  Checkpoint next = checkpoint_;
  next.lsn = span.end_lsn;
  next.commit_time = span.commit_time;
  times_.add(span.commit_time);
  times_.commit(next.lsn, true);
  if (!target_.commit_ahead(transaction, next)) {
    times_.roll_back();
    return ahead_.reset();
  }
  checkpoint_ = next;
  progress_ = span.end_lsn;
  time_ = span.commit_time;
  last_commit_ = span.commit_lsn;
  Underway commit{next.lsn, next.commit_time, given_, before_call_, 1, ahead_->changes, true, {}, {}};
  commit.last_commit = last_commit_;
  commit.counts.assign(ahead_->counts.begin(), ahead_->counts.end());
  ahead_.reset();
  underway_.push_back(std::move(commit));
  note_committed();
  give_up_skips();
  transaction.commit();
}

}  // namespace tailrace::pipeline
