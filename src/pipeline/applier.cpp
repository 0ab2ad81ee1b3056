#include "pipeline/applier.h"

#include <algorithm>

#include "base/log.h"
#include "pipeline/evolution.h"
#include "source/publication.h"

namespace tailrace::pipeline {
namespace {

constexpr std::size_t most_tables_a_commit = 200;
constexpr int most_attempts = 100;

}  // namespace

Applier::Applier(target::Target& target, std::string source, std::string publication, StatusBoard& board)
    : target_(target), source_(std::move(source)), publication_(std::move(publication)), board_(board) {
  auto checkpoint = target_.checkpoint();
  TAILRACE_CHECK(checkpoint.has_value());
  checkpoint_ = *checkpoint;
  durable_ = checkpoint_.lsn.value;
  for (auto& record : target_.tables()) tables_[record.oid].record = std::move(record);
  std::map<std::string, std::size_t> listed;
  Status status = board_.read();
  for (std::size_t i = 0; i < status.tables.size(); ++i) {
    listed[status.tables[i].schema + "." + status.tables[i].name] = i;
  }
  for (auto& [oid, table] : tables_) {
    auto found = listed.find(table.record.schema + "." + table.record.name);
    table.status_index = found != listed.end() ? found->second : status.tables.size();
  }
}

void Applier::apply(const std::vector<std::shared_ptr<const ChangeBatch>>& batches) {
  if (!began_) wait_while_held();
  ++call_;
  for (int attempt = 0;; ++attempt) {
    try {
      return apply_once(batches, attempt > 0);
    } catch (const target::NeedsRowOrder& order) {
      if (began_ && began_call_ != call_) {
        // An earlier part of the transaction is lost with it.
        throw target::RestartFromCheckpoint(order.what());
      }
      if (attempt == most_attempts)
        throw Error(Retry::fatal, fmt::format("no order of changes fits: {}", order.what()));
      roll_back();
    }
  }
}

/// Everything in hand goes; what was committed stays.
void Applier::roll_back() {
  target_.rollback();
  began_ = changed_ = inside_ = false;
  transactions_ = changes_ = 0;
  for (auto& [oid, table] : tables_) {
    table.fold.reset();
    table.run.entries.clear();
    table.prepared = nullptr;
    table.counts = {};
    table.counted = table.rows_changed = false;
  }
  touched_.clear();
  counted_.clear();
  changed_tables_.clear();
  for (auto& record : target_.tables()) tables_[record.oid].record = std::move(record);
}

/// `again`: part of the batches may be in the target already.
void Applier::apply_once(const std::vector<std::shared_ptr<const ChangeBatch>>& batches, bool again) {
  progress_ = checkpoint_.lsn;
  bool whole = true;
  for (const auto& batch : batches) {
    by_index_.assign(batch->relations.size(), nullptr);
    bool may_reshape_tables = may_reshape(*batch);
    for (const auto& transaction : batch->transactions) {
      if (again && transaction.commit_lsn < checkpoint_.lsn) continue;
      if (barrier_waits() && transaction.begins && whole) {
        meet_barriers(progress_, transaction.commit_lsn);
        // A commit in between changes nothing for by_index_: tables stay where they are.
      }
      if (transaction.begins) inside_ = false;
      if (may_reshape_tables && transaction.begins && whole && reshapes(*batch, transaction)) {
        flush();
        commit(progress_, checkpoint_.commit_time);
      }
      add(*batch, transaction);
      whole = transaction.ends;
      if (transaction.ends) {
        ++transactions_;
        inside_ = false;
        progress_ = std::max(progress_, transaction.end_lsn);
        last_commit_ = transaction.commit_lsn;
        checkpoint_.commit_time = transaction.commit_time;
        // What a target holds of an open transaction it holds per table.
        if (target_.wants_single_transactions() ||
            touched_.size() + changed_tables_.size() > most_tables_a_commit) {
          flush();
          commit(progress_, checkpoint_.commit_time);
        }
      }
    }
    if (whole) progress_ = std::max(progress_, batch->progress);
  }
  flush();
  if (!whole) return;
  commit(progress_, checkpoint_.commit_time);
  if (barrier_waits()) meet_barriers(progress_, Lsn{});
}

/// Looks once a batch, so that a transaction need not be looked through in the common case.
bool Applier::may_reshape(const ChangeBatch& batch) {
  reshaping_.assign(batch.relations.size(), false);
  std::map<Oid, const Relation*> prepared;
  bool any = false;
  for (std::size_t i = 0; i < batch.relations.size(); ++i) {
    const auto& relation = batch.relations[i];
    auto table = tables_.find(relation->oid);
    if (table == tables_.end()) continue;
    auto [earlier, first] = prepared.try_emplace(relation->oid, table->second.prepared.get());
    bool other = earlier->second != nullptr && earlier->second != relation.get();
    earlier->second = relation.get();
    if (other) reshaping_[i] = any = true;
  }
  return any;
}

bool Applier::reshapes(const ChangeBatch& batch, const TransactionSpan& transaction) const {
  auto begin = batch.changes.begin() + static_cast<std::ptrdiff_t>(transaction.first_change);
  return std::any_of(begin, begin + static_cast<std::ptrdiff_t>(transaction.change_count),
                     [&](const auto& change) {
                       return change.kind != ChangeKind::message && change.kind != ChangeKind::truncate &&
                              reshaping_[change.index];
                     });
}

void Applier::add(const ChangeBatch& batch, const TransactionSpan& transaction) {
  time_in_hand_ = transaction.commit_time;
  auto end = transaction.first_change + transaction.change_count;
  for (auto i = transaction.first_change; i < end; ++i) {
    const Change& change = batch.changes[i];
    if (change.kind == ChangeKind::message) continue;
    if (change.kind == ChangeKind::truncate) {
      add_truncate(batch, batch.truncates[change.index], transaction.commit_lsn);
      continue;
    }
    Table* table = table_for(batch, change.index);
    if (covers(*table, transaction.commit_lsn)) continue;
    const auto& relation = batch.relations[change.index];
    if (table->prepared != relation) [[unlikely]]
      prepare(*table, relation);
    if (!table->fold && table->run.entries.empty()) {
      touched_.push_back(table);
      table->run.relation = relation;
      if (!target_.needs_row_order(table->record.oid)) table->fold.emplace(relation);
    }
    if (table->fold) {
      table->fold->add(change);
    } else {
      table->run.entries.push_back({&change, transaction.commit_lsn, transaction.commit_time});
    }
    inside_ = true;
    ++changes_;
  }
}

void Applier::add_truncate(const ChangeBatch& batch, const Truncate& truncate, Lsn commit_lsn) {
  if (truncate_together(batch, truncate, commit_lsn)) return;
  for (std::uint32_t index : truncate.relations) {
    Table* table = table_for(batch, index);
    if (covers(*table, commit_lsn)) continue;
    if (table->prepared != batch.relations[index]) prepare(*table, batch.relations[index]);
    if (!table->fold) {
      table->fold.emplace(batch.relations[index]);
      touched_.push_back(table);
    }
    table->fold->truncate();
    inside_ = true;
    ++changes_;
  }
}

/// Where foreign keys tie tables, none of them can be emptied alone.
bool Applier::truncate_together(const ChangeBatch& batch, const Truncate& truncate, Lsn commit_lsn) {
  if (!target_.truncates_together()) return false;
  std::vector<Oid> oids;
  for (std::uint32_t index : truncate.relations) {
    Table* table = table_for(batch, index);
    if (covers(*table, commit_lsn)) continue;
    if (table->prepared != batch.relations[index]) prepare(*table, batch.relations[index]);
    oids.push_back(table->record.oid);
    if (!std::exchange(table->counted, true)) counted_.push_back(table);
    ++table->counts.truncates;
    ++changes_;
  }
  if (oids.empty()) return true;
  flush();
  begin();
  target_.truncate(oids, truncate);
  changed_ = inside_ = true;
  return true;
}

Applier::Table* Applier::table_for(const ChangeBatch& batch, std::uint32_t relation) {
  Table*& table = by_index_[relation];
  if (table == nullptr) table = &find_table(*batch.relations[relation]);
  return table;
}

Applier::Table& Applier::find_table(const Relation& relation) {
  if (auto found = tables_.find(relation.oid); found != tables_.end()) return found->second;
  if (relation.schema == "tailrace") {
    // What a tailrace that writes into the source's database notes there; see read_publication().
    Table& table = tables_[relation.oid];
    table.ignored = true;
    return table;
  }
  // A table that joined the publication since this run began is copied; one that left it again, or is gone,
  // has nothing left to mirror.
  catalog();
  auto publication = source::read_publication(*connection_, publication_);
  bool published = publication && std::any_of(publication->tables.begin(), publication->tables.end(),
                                              [&](const auto& table) { return table.oid == relation.oid; });
  if (published)
    throw target::RestartFromCheckpoint(fmt::format("{} is new and will be copied", relation.qualified()));
  log::info("apply", "changes of {} are left out: it is not published any more", relation.qualified());
  Table& table = tables_[relation.oid];
  table.ignored = true;
  return table;
}

schema::Catalog& Applier::catalog() {
  if (!catalog_) {
    connection_.emplace(pg::Connection::open(source_, {pg::Mode::sql, "tailrace catalog"}));
    connection_->set_patience(std::chrono::seconds(30));
    catalog_.emplace(*connection_);
  }
  return *catalog_;
}

void Applier::prepare(Table& table, const std::shared_ptr<const Relation>& relation) {
  // What was folded for the older shape goes first.
  flush();
  auto plan = plan_evolution(table.record, *relation, catalog());
  if (auto* anew = std::get_if<CopyAnew>(&plan)) copy_anew(table, anew->reason);
  auto& evolution = std::get<target::Evolution>(plan);
  bool recorded = evolution.filenode == table.record.filenode && evolution.columns == table.record.columns;
  if (!evolution.empty() || !recorded) {
    if (!evolution.empty()) make_room_for_evolution(table);
    begin();
    target_.evolve(table.record.oid, evolution);
    changed_ = true;
    if (!evolution.empty())
      log::info("apply", "{} changed its definition at the source; the target follows", relation->qualified());
    read_record(table);
    for (const auto& added : evolution.added_columns) {
      if (added.value) rows_changed(table);
    }
  }
  table.prepared = relation;
}

/// DuckDB commits no transaction in which a table's rows were changed before its definition was. Between source
/// transactions a commit comes in between (apply() sees to it before one begins; this is for what came in
/// several batches); inside of one, which must not be torn, the table is copied anew.
void Applier::make_room_for_evolution(Table& table) {
  if (!table.rows_changed) return;
  if (inside_) copy_anew(table, "its rows and then its definition changed in one transaction");
  commit(progress_, checkpoint_.commit_time);
}

void Applier::copy_anew(const Table& table, const std::string& reason) {
  if (began_) target_.rollback();
  began_ = false;
  target_.mark_for_copy(table.record.oid, reason);
  throw target::RestartFromCheckpoint(
      fmt::format("{}.{} must be copied anew: {}", table.record.schema, table.record.name, reason));
}

void Applier::rows_changed(Table& table) {
  if (!std::exchange(table.rows_changed, true)) changed_tables_.push_back(&table);
}

void Applier::begin() {
  if (began_) return;
  target_.begin();
  began_ = true;
  began_call_ = call_;
}

void Applier::flush() {
  for (Table* table : touched_) {
    if (!std::exchange(table->counted, true)) counted_.push_back(table);
    try {
      bool changed = table->fold ? flush_fold(*table) : flush_run(*table);
      if (changed) rows_changed(*table);
    } catch (Error& error) {
      error.with_context("applying to " + table->record.schema + "." + table->record.name);
      throw;
    }
  }
  touched_.clear();
}

bool Applier::flush_fold(Table& table) {
  TableBatch batch = std::move(*table.fold).finish();
  table.fold.reset();
  batch.commit_time = time_in_hand_;
  table.counts.inserts += batch.inserts;
  table.counts.updates += batch.updates;
  table.counts.deletes += batch.removes;
  table.counts.truncates += batch.truncates;
  if (batch.empty()) return false;
  begin();
  changed_ = true;
  target_.apply(table.record.oid, batch);
  return true;
}

bool Applier::flush_run(Table& table) {
  RowRun run = std::exchange(table.run, {});
  for (const auto& entry : run.entries) {
    auto kind = entry.change->kind;
    ++(kind == ChangeKind::insert   ? table.counts.inserts
       : kind == ChangeKind::update ? table.counts.updates
                                    : table.counts.deletes);
  }
  begin();
  changed_ = true;
  target_.apply_in_order(table.record.oid, run);
  return true;
}

void Applier::commit(Lsn progress, PgTimestamp time) {
  if (!began_ && progress == checkpoint_.lsn) return;
  begin();
  Checkpoint next = checkpoint_;
  next.lsn = progress;
  next.commit_time = time;
  target_.commit(next);
  checkpoint_ = std::move(next);
  began_ = false;
  for (Table* table : changed_tables_) table->rows_changed = false;
  changed_tables_.clear();
  refresh_durable();
  auto conflicts = target_.take_conflicts();
  board_.update([&](Status& status) {
    status.applied = progress;
    status.last_commit_time = time;
    status.transactions += transactions_;
    status.changes += changes_;
    if (changed_) ++status.commits;
    for (Table* table : counted_) {
      if (table->status_index >= status.tables.size()) continue;
      auto& entry = status.tables[table->status_index];
      entry.inserts += table->counts.inserts;
      entry.updates += table->counts.updates;
      entry.deletes += table->counts.deletes;
      entry.truncates += table->counts.truncates;
      entry.note = table->record.note;
    }
  });
  if (!conflicts.empty()) show_conflicts(conflicts);
  for (Table* table : counted_) {
    table->counts = {};
    table->counted = false;
  }
  counted_.clear();
  transactions_ = changes_ = 0;
  changed_ = false;
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
  if (durable() < checkpoint_.lsn) durable_.store(target_.durable().value, std::memory_order_release);
}

void Applier::request(std::shared_ptr<Barrier> barrier) {
  std::lock_guard lock(barrier_mutex_);
  barriers_.push_back(std::move(barrier));
  barrier_waits_ = true;
  held_until_ = {};
  held_changed_.notify_all();
}

void Applier::hold(std::chrono::steady_clock::time_point until) {
  std::lock_guard lock(barrier_mutex_);
  held_until_ = until;
  held_changed_.notify_all();
}

void Applier::wait_while_held() {
  std::unique_lock lock(barrier_mutex_);
  while (std::chrono::steady_clock::now() < held_until_) held_changed_.wait_until(lock, held_until_);
}

/// `progress`: what the target would hold after a commit now. `next_commit`: of the transaction to come,
/// invalid if there is none in hand; it lets a barrier be met before the stream's own position reaches it.
void Applier::meet_barriers(Lsn progress, Lsn next_commit) {
  std::lock_guard lock(barrier_mutex_);
  auto reached = [&](const std::shared_ptr<Barrier>& barrier) {
    return progress >= barrier->lsn || (next_commit.valid() && next_commit >= barrier->lsn);
  };
  auto late = [&](const std::shared_ptr<Barrier>& barrier) { return last_commit_ >= barrier->lsn; };
  if (std::ranges::any_of(barriers_, [&](const auto& barrier) { return reached(barrier) && !late(barrier); })) {
    flush();
    commit(progress, checkpoint_.commit_time);
  }
  std::erase_if(barriers_, [&](const std::shared_ptr<Barrier>& barrier) {
    if (!reached(barrier)) return false;
    if (late(barrier)) {
      barrier->view.set_exception(std::make_exception_ptr(BarrierPassed()));
      return true;
    }
    try {
      barrier->view.set_value(target_.view());
    } catch (...) {
      barrier->view.set_exception(std::current_exception());
    }
    return true;
  });
  barrier_waits_ = !barriers_.empty();
}

void Applier::evolve(Oid oid, const target::Evolution& evolution) {
  TAILRACE_CHECK(!began_);
  begin();
  target_.evolve(oid, evolution);
  target_.commit(checkpoint_);
  began_ = false;
  if (auto found = tables_.find(oid); found != tables_.end()) {
    read_record(found->second);
    found->second.prepared = nullptr;
  }
}

void Applier::read_record(Table& table) {
  for (auto& record : target_.tables()) {
    if (record.oid == table.record.oid) {
      table.record = std::move(record);
      return;
    }
  }
}

}  // namespace tailrace::pipeline
