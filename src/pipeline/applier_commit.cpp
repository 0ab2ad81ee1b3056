#include "base/log.h"
#include "pipeline/applier.h"

// What is committed, and told of it.

namespace tailrace::pipeline {
namespace {

/// What only the commit finds out, of the one transaction in it.
Error refusal_of(const target::CommitRefused& refused, Lsn commit_lsn) {
  Error out(
      Retry::needs_operator,
      fmt::format("the source's transaction at {} is refused at its end: {}", commit_lsn.str(), refused.what()),
      target::bad_change_remedy(commit_lsn));
  out.with_sqlstate(refused.sqlstate());
  return out;
}

void show_kept_back(const target::Quarantine& quarantine, Oid table, TableStatus& status) {
  const auto& all = quarantine.kept_back();
  auto found = all.find(table);
  bool held = found != all.end() && found->second.held;
  if (status.state == TableState::held) return;
  // It is not followed any more.
  if (status.state == TableState::stopped && status.last_error.empty()) return;
  status.state = held ? TableState::stopped : TableState::streaming;
  status.quarantined = found != all.end() ? found->second.changes : 0;
  status.last_error = found != all.end() ? found->second.error : "";
}

}  // namespace

void Applier::commit(Lsn progress, Pace pace) {
  if (!began_ && progress == checkpoint_.lsn) {
    if (pace == Pace::wait) target_.settle();
    return note_committed();
  }
  begin();
  Checkpoint next = checkpoint_;
  next.lsn = progress;
  next.commit_time = time_;
  // What holds a position alone comes seldom, and is for those who look at the slot. After the last nothing
  // else would take it along.
  target_.hurry(feedback_.commits_wait() || !changed_ || ending_);
  times_.commit(progress, changed_);
  try {
    if (pace == Pace::wait) {
      target_.commit(next);
    } else {
      target_.commit_soon(next);
    }
  } catch (const target::CommitRefused& refused) {
    throw refusal_of(refused, last_commit_);
  }
  checkpoint_ = std::move(next);
  began_ = false;
  Underway commit{progress, time_, given_, before_call_, transactions_, changes_, changed_, {}, {}};
  commit.to_tell = std::exchange(to_tell_, {});
  commit.last_commit = last_commit_;
  for (Table* table : counted_) {
    commit.counts.emplace_back(table, table->counts);
    table->counts = {};
    table->counted = false;
  }
  underway_.push_back(std::move(commit));
  for (Table* table : changed_tables_) table->rows_changed = false;
  changed_tables_.clear();
  counted_.clear();
  transactions_ = changes_ = 0;
  changed_ = false;
  note_committed();
  if (underway_.empty()) give_up_skips();
}

/// Tells of commits that arrived.
void Applier::note_committed() {
  Lsn arrived = underway_.empty() ? Lsn{} : target_.checkpoint()->lsn;
  while (!underway_.empty() && underway_.front().lsn <= arrived) {
    const Underway& commit = underway_.front();
    arrived_commit_ = commit.last_commit;
    times_.arrived(commit.lsn);
    for (const auto& line : commit.to_tell) log::warn("apply", "{}", line);
    const auto* quarantine = target_.quarantine();
    board_.update([&](Status& status) {
      status.applied = commit.lsn;
      status.last_commit_time = commit.time;
      status.transactions += commit.transactions;
      status.changes += commit.changes;
      if (commit.changed) ++status.commits;
      for (const auto& [table, counts] : commit.counts) {
        if (table->status_index >= status.tables.size()) continue;
        auto& entry = status.tables[table->status_index];
        entry.inserts += counts.inserts;
        entry.updates += counts.updates;
        entry.deletes += counts.deletes;
        entry.truncates += counts.truncates;
        entry.note = table->record.note;
        if (quarantine != nullptr) show_kept_back(*quarantine, table->record.oid, entry);
      }
    });
    board_.judge_by([&](Step& step) { step.applied(commit.time); });
    bool left_out = !commit.to_tell.empty();
    underway_.pop_front();
    if (left_out) show_bad_changes();
    if (auto conflicts = target_.take_conflicts(); !conflicts.empty()) show_conflicts(conflicts);
  }
  if (names_changed_) show_names();
  refresh_durable();
  measure();
}

/// A table may have another name by now, and so may one that had to make room for it.
void Applier::show_names() {
  names_changed_ = false;
  auto records = target_.tables();
  board_.update([&](Status& status) {
    for (const auto& record : records) {
      auto found = tables_.find(record.oid);
      if (found == tables_.end() || found->second.status_index >= status.tables.size()) continue;
      auto& entry = status.tables[found->second.status_index];
      entry.schema = record.schema;
      entry.name = record.name;
      entry.target_name = record.target_name;
    }
  });
}

void Applier::show_conflicts(const std::map<Oid, ConflictCounts>& conflicts) {
  board_.update([&](Status& status) {
    for (const auto& [oid, counts] : conflicts) {
      auto index = tables_.at(oid).status_index;
      for (std::size_t kind = 0; kind < counts.size(); ++kind) {
        status.conflicts[kind] += counts[kind];
        if (index < status.tables.size()) status.tables[index].conflicts[kind] += counts[kind];
      }
    }
  });
}

void Applier::refresh_durable() {
  // Asked also when all is durable: a target that is gone says so here, though nothing is to be applied.
  Lsn now = target_.durable();
  if (now == feedback_.durable()) return;
  feedback_.set_durable(now);
  board_.judge_by([&](Step& step) { step.reached(now); });
}

void Applier::show_bad_changes() {
  auto* quarantine = target_.quarantine();
  auto* book = target_.skips();
  std::vector<target::SkipNote> notes;
  if (book != nullptr) notes = book->read();
  board_.update([&](Status& status) {
    status.skips.clear();
    for (const auto& note : notes) status.skips.push_back({note.commit_lsn, note.state, note.left_out});
    for (const auto& [oid, table] : tables_) {
      if (quarantine == nullptr || table.status_index >= status.tables.size()) continue;
      show_kept_back(*quarantine, oid, status.tables[table.status_index]);
    }
  });
}

}  // namespace tailrace::pipeline
