#include "pipeline/applier.h"

#include <algorithm>
#include <functional>

#include "base/log.h"
#include "pipeline/evolution.h"
#include "pipeline/raw_text.h"
#include "pipeline/unsaid_changes.h"
#include "source/publication.h"
#include "source/visibility.h"

namespace tailrace::pipeline {
namespace {

constexpr std::size_t most_tables_a_commit = 200;
// Each brings at least one table, or the commits, one step further towards the order of the source.
constexpr int most_attempts = 500;
constexpr auto patience_with_visibility = std::chrono::seconds(2);
// While commits wait for us, this one most likely does too. Another standby may answer for us; if there is
// none, who did not wait is seen at once.
constexpr auto patience_among_standbys = std::chrono::milliseconds(20);
constexpr auto patience_when_awaited = std::chrono::milliseconds(1);
constexpr auto patience_with_a_snapshot = std::chrono::milliseconds(100);

}  // namespace

Applier::Applier(target::Target& target, std::string source, std::vector<std::string> publications,
                 StatusBoard& board)
    : target_(target),
      source_(std::move(source)),
      publications_(std::move(publications)),
      board_(board),
      times_(board.measures()) {
  auto checkpoint = target_.checkpoint();
  TAILRACE_CHECK(checkpoint.has_value());
  checkpoint_ = *checkpoint;
  feedback_.set_durable(target_.durable());
  // A barrier before it is one that was passed.
  last_commit_ = arrived_commit_ = Lsn{checkpoint_.lsn.value - 1};
  for (auto& record : target_.tables()) tables_[record.oid].record = std::move(record);
  std::map<std::pair<std::string, std::string>, std::size_t> listed;
  Status status = board_.read();
  for (std::size_t i = 0; i < status.tables.size(); ++i) {
    const auto& entry = status.tables[i];
    listed[{entry.schema + "." + entry.name, entry.target_name}] = i;
  }
  for (auto& [oid, table] : tables_) {
    auto found = listed.find({table.record.qualified(), table.record.target_name});
    table.status_index = found != listed.end() ? found->second : status.tables.size();
  }
  read_skips();
}

void Applier::apply(const std::vector<std::shared_ptr<const ChangeBatch>>& batches) {
  if (ended_) return;
  if (!began_) wait_while_held();
  given_ = std::make_shared<const Batches>(batches);
  apply_given();
}

void Applier::settle() {
  TAILRACE_CHECK(!began_);
  if (underway_.empty()) return;
  given_ = std::make_shared<const Batches>();
  apply_given();
}

/// Again and again, until the target takes it in some order.
void Applier::apply_given() {
  ++call_;
  before_call_ = between_;
  for (int attempt = 0;; ++attempt) {
    try {
      apply_once(attempt > 0);
      if (given_->empty()) {
        target_.settle();
        note_committed();
      }
      return;
    } catch (const target::RowsMissing& missing) {
      copy_if_unsaid(missing.table());
      throw;
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

/// Everything in hand goes, and so do commits that did not arrive; their changes are in hand again, before the
/// others. What was committed stays.
void Applier::roll_back() {
  target_.rollback();
  note_committed();
  Batches again;
  const Batches* last = nullptr;
  for (const auto& commit : underway_) {
    if (std::exchange(last, commit.batches.get()) == commit.batches.get() || commit.batches == given_) continue;
    again.insert(again.end(), commit.batches->begin(), commit.batches->end());
  }
  again.insert(again.end(), given_->begin(), given_->end());
  given_ = std::make_shared<const Batches>(std::move(again));
  if (!underway_.empty()) before_call_ = underway_.front().before;
  underway_.clear();
  times_.roll_back();
  if (auto committed = target_.checkpoint()) checkpoint_ = *committed;
  last_commit_ = arrived_commit_;
  began_ = changed_ = inside_ = false;
  transactions_ = changes_ = 0;
  between_ = before_call_;
  to_tell_.clear();
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
  read_records();
}

/// `again`: part of the batches may be in the target already.
void Applier::apply_once(bool again) {
  progress_ = checkpoint_.lsn;
  time_ = checkpoint_.commit_time;
  bool whole = true;
  bool beyond = false;
  bool beyond_position = false;
  for (const auto& batch : *given_) {
    if (beyond) break;
    if (ahead_ && !ahead_->transaction->open()) end_ahead();
    if (batch->ahead) {
      TAILRACE_CHECK(whole);
      apply_ahead(batch);
      progress_ = std::max(progress_, batch->progress);
      continue;
    }
    by_index_.assign(batch->relations.size(), nullptr);
    bool may_reshape_tables = may_reshape(*batch);
    for (const auto& transaction : batch->transactions) {
      if (again && transaction.commit_lsn < checkpoint_.lsn) continue;
      if (transaction.begins && whole && is_beyond_end(transaction)) {
        beyond = true;
        beyond_position = end_position_.valid() && transaction.commit_lsn >= end_position_;
        break;
      }
      if (barrier_waits() && transaction.begins && whole) {
        meet_barriers(progress_, transaction.commit_lsn);
        // A commit in between changes nothing for by_index_: tables stay where they are.
      }
      if (transaction.begins) inside_ = false;
      if (may_reshape_tables && transaction.begins && whole && reshapes(*batch, transaction)) {
        flush(true);
        commit(progress_);
      }
      if (transaction.begins) between_.position = 0;
      if (!batch->leaves.empty()) note_leaves(*batch, transaction);
      if (between_.left_out.wants(transaction.commit_lsn)) {
        leave_out(*batch, transaction);
      } else {
        add(*batch, transaction);
      }
      whole = transaction.ends;
      if (transaction.ends) {
        ++transactions_;
        times_.add(transaction.commit_time);
        inside_ = false;
        progress_ = std::max(progress_, transaction.end_lsn);
        last_commit_ = transaction.commit_lsn;
        time_ = transaction.commit_time;
        // What a target holds of an open transaction it holds per table.
        bool alone = target_.one_transaction_a_commit();
        if (alone || has_many_tables()) {
          flush(!alone);
          commit(progress_, alone ? Pace::wait : Pace::go_on);
        }
      }
    }
    if (whole && !beyond) progress_ = std::max(progress_, batch->progress);
  }
  flush(whole);
  if (!whole) return;
  // All that commits before the end is in hand, and the checkpoint says no more than that.
  bool there = end_position_.valid() && (progress_ >= end_position_ || beyond_position);
  if (there) progress_ = std::max(end_position_, checkpoint_.lsn);
  ending_ = there || beyond;
  bool more = !given_->empty() && !given_->back()->caught_up && !barrier_waits();
  commit(progress_, more && !ending_ ? Pace::go_on : Pace::wait);
  if (barrier_waits()) meet_barriers(progress_, Lsn{});
  ended_ = ending_;
}

bool Applier::has_many_tables() {
  if (touched_.size() + changed_tables_.size() > most_tables_a_commit) return true;
  columns_in_hand_.clear();
  for (const auto& tables : {std::cref(touched_), std::cref(changed_tables_)})
    for (const Table* table : tables.get()) columns_in_hand_[table->record.oid] = table->record.columns.size();
  return target_.is_much(columns_in_hand_);
}

bool Applier::is_beyond_end(const TransactionSpan& transaction) const {
  return (end_position_.valid() && transaction.commit_lsn >= end_position_) ||
         (end_time_.micros != 0 && transaction.commit_time > end_time_);
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

/// A leaf that nobody has recorded may be gone before anybody looks: the books know of it as soon as the target
/// has rows of it.
void Applier::note_leaves(const ChangeBatch& batch, const TransactionSpan& transaction) {
  auto end = transaction.first_change + transaction.change_count;
  for (const auto& [relation, leaf, change] : batch.leaves) {
    if (change < transaction.first_change || change >= end) continue;
    auto found = tables_.find(batch.relations[relation]->oid);
    if (found == tables_.end() || covers(found->second, transaction.commit_lsn)) continue;
    Table& table = found->second;
    auto storage = storage_with_leaf(table.record, leaf);
    if (!storage) continue;
    // Until the catalogs show it, a look would take it for one that went.
    xid_in_hand_ = transaction.xid;
    catalog();
    flush();
    begin();
    target::Evolution noted;
    noted.columns = table.record.columns;
    noted.storage = *storage;
    target_.evolve(table.record.oid, noted);
    changed_ = true;
    table.record.storage = std::move(noted.storage);
    reshaped_.insert(table.record.oid);
  }
}

void Applier::add(const ChangeBatch& batch, const TransactionSpan& transaction) {
  time_in_hand_ = transaction.commit_time;
  xid_in_hand_ = transaction.xid;
  auto end = transaction.first_change + transaction.change_count;
  for (auto i = transaction.first_change; i < end; ++i) {
    const Change& change = batch.changes[i];
    ChangePlace place{&transaction, between_.position++};
    if (change.kind == ChangeKind::message) continue;
    if (change.kind == ChangeKind::truncate) {
      add_truncate(batch, batch.truncates[change.index], place);
      continue;
    }
    Table* table = table_for(batch, change.index);
    if (covers(*table, transaction.commit_lsn)) continue;
    const auto& relation = batch.relations[change.index];
    if (checks_text_) [[unlikely]]
      pipeline::check_text(*relation, change, transaction.commit_lsn);
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
      table->run.entries.push_back({&change, transaction.commit_lsn, place});
    }
    inside_ = true;
    ++changes_;
  }
}

/// The transaction must not be applied; nothing of it is lost from sight.
void Applier::leave_out(const ChangeBatch& batch, const TransactionSpan& transaction) {
  begin();
  between_.left_out.add(batch, transaction);
  if (!transaction.ends) return;
  auto what = between_.left_out.finish(transaction.commit_lsn);
  target_.skips()->use(transaction.commit_lsn, what);
  changed_ = true;
  to_tell_.push_back(fmt::format("the source's transaction at {} was left out, as 'tailrace skip' says: {}",
                                 transaction.commit_lsn.str(), what));
}

void Applier::read_skips() {
  if (auto* book = target_.skips()) between_.left_out = LeftOut(book->read());
  give_up_skips();
}

void Applier::give_up_skips() {
  // An attempt that begins again after this commit must not find them either.
  before_call_.left_out.take_missed(checkpoint_.lsn);
  auto all_missed = between_.left_out.take_missed(checkpoint_.lsn);
  for (Lsn missed : all_missed) {
    log::write(
        log::Level::warn, "apply",
        fmt::format("no transaction committed at {}: 'tailrace skip' left out nothing there", missed.str()),
        {{"lsn", missed.str()}});
    target_.skips()->give_up(missed);
  }
  if (!all_missed.empty()) show_bad_changes();
}

void Applier::add_truncate(const ChangeBatch& batch, const Truncate& truncate, const ChangePlace& place) {
  if (truncate_together(batch, truncate, place)) return;
  Lsn commit_lsn = place.transaction->commit_lsn;
  for (std::uint32_t index : truncate.relations) {
    Table* table = table_for(batch, index);
    if (covers(*table, commit_lsn)) continue;
    if (table->prepared != batch.relations[index]) prepare(*table, batch.relations[index]);
    if (!table->fold) {
      table->fold.emplace(batch.relations[index]);
      touched_.push_back(table);
    }
    table->fold->truncate();
    truncated_by_[table->record.oid] = place.transaction->xid;
    inside_ = true;
    ++changes_;
  }
}

/// Where foreign keys tie tables, none of them can be emptied alone.
bool Applier::truncate_together(const ChangeBatch& batch, const Truncate& truncate, const ChangePlace& place) {
  if (!target_.truncates_together()) return false;
  Lsn commit_lsn = place.transaction->commit_lsn;
  std::vector<Oid> oids;
  for (std::uint32_t index : truncate.relations) {
    Table* table = table_for(batch, index);
    if (covers(*table, commit_lsn)) continue;
    if (table->prepared != batch.relations[index]) prepare(*table, batch.relations[index]);
    oids.push_back(table->record.oid);
    truncated_by_[table->record.oid] = place.transaction->xid;
    if (!std::exchange(table->counted, true)) counted_.push_back(table);
    ++table->counts.truncates;
    ++changes_;
  }
  if (oids.empty()) return true;
  flush();
  begin();
  target_.truncate(oids, truncate, place);
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
  auto publication = source::read_publications(*connection_, publications_, source::Filters::as_stored);
  bool published = publication && std::any_of(publication->tables.begin(), publication->tables.end(),
                                              [&](const auto& table) { return table.oid == relation.oid; });
  if (published && !leaves_new_tables_)
    throw target::RestartFromCheckpoint(fmt::format("{} is new and will be copied", relation.qualified()));
  if (published) {
    log::info("apply",
              "changes of {} are left out: it was made since this run began, and the next one copies it",
              relation.qualified());
  } else if (seen_) {
    log::info("apply", "changes of {} are left out: it is not published any more", relation.qualified());
  } else {
    pass_over_unseen(relation);
  }
  Table& table = tables_[relation.oid];
  table.ignored = true;
  return table;
}

/// That it was published is proven by the change itself. A look copies it, once the catalogs show it.
void Applier::pass_over_unseen(const Relation& relation) {
  if (!hold_unseen_) {
    log::info("apply", "changes of {} are left out until the catalogs show it: then it is copied",
              relation.qualified());
    return;
  }
  if (began_ || !underway_.empty()) target_.rollback();
  began_ = false;
  auto name = relation.qualified();
  hold_unseen_(relation, fmt::format("{} was made or published by a transaction whose commit waited for this "
                                     "mirror, so that its definition could not be read before its rows came",
                                     name));
  throw target::RestartFromCheckpoint(fmt::format("{} is not seen in the catalogs yet", name));
}

void Applier::pass_over(Table& table, Lsn commit_lsn) {
  if (preparation_ != nullptr && preparation_->is_for(table.record.oid)) {
    // Where it changes all the time, the snapshot would always be older than the last change.
    if (preparation_->wants_patience() && std::exchange(waited_call_, call_) != call_)
      preparation_->wait_for(patience_with_a_snapshot);
    if (preparation_->state() == CopyPreparation::State::ready && commit_lsn >= preparation_->lsn() &&
        may_copy())
      throw CopyIsDue();
  }
  table.passed_over = std::max(table.passed_over, commit_lsn);
}

/// The target may not know them yet.
void Applier::await_copy(CopyPreparation& preparation, const std::vector<schema::Table>& tables) {
  preparation_ = &preparation;
  for (const auto& table : tables) {
    auto [entry, added] = tables_.try_emplace(table.oid);
    if (!added) continue;
    entry->second.record.oid = table.oid;
    entry->second.record.schema = table.schema;
    entry->second.record.name = table.name;
  }
}

bool Applier::may_copy() const {
  return std::ranges::all_of(preparation_->tables(), [&](Oid oid) {
    auto found = tables_.find(oid);
    return found == tables_.end() || found->second.passed_over < preparation_->lsn();
  });
}

bool Applier::catalogs_lag() {
  if (unseen_.empty()) return false;
  std::erase_if(unseen_, [&](Xid xid) { return source::is_visible(*connection_, xid); });
  bool lag = !unseen_.empty();
  if (!lag) board_.update([](Status& status) { status.catalogs_lag = false; });
  return lag;
}

schema::Catalog& Applier::catalog() {
  if (!catalog_) {
    connection_.emplace(pg::Connection::open(source_, {pg::Mode::sql, "tailrace catalog"}));
    connection_->set_patience(std::chrono::seconds(30));
    catalog_.emplace(*connection_, labels_);
  }
  // The catalogs are to be those of the change that is looked at, or later.
  if (std::exchange(visible_, xid_in_hand_) == xid_in_hand_) return *catalog_;
  seen_ = source::await_visible(*connection_, xid_in_hand_, [this]() -> std::chrono::milliseconds {
    switch (feedback_.awaited()) {
      case Feedback::Awaited::alone: return patience_when_awaited;
      case Feedback::Awaited::among_others: return patience_among_standbys;
      case Feedback::Awaited::no: break;
    }
    return patience_with_visibility;
  });
  if (seen_ || !unseen_.insert(xid_in_hand_).second) return *catalog_;
  ++lags_;
  board_.update([](Status& status) { status.catalogs_lag = true; });
  return *catalog_;
}

void Applier::prepare(Table& table, const std::shared_ptr<const Relation>& relation) {
  auto plan = plan_evolution(table.record, *relation, catalog());
  if (auto* anew = std::get_if<CopyAnew>(&plan)) copy_anew(table, anew->reason);
  auto& evolution = std::get<target::Evolution>(plan);
  bool recorded = evolution.storage == table.record.storage && evolution.columns == table.record.columns;
  // What was folded for the older shape goes first; and everything, where a commit may come in between.
  if (table.fold || !table.run.entries.empty() || !evolution.empty() || !recorded) flush();
  if (!evolution.empty() || !recorded) {
    if (!evolution.empty()) make_room_for_evolution(table);
    begin();
    target_.evolve(table.record.oid, evolution);
    changed_ = true;
    names_changed_ = true;
    if (!evolution.empty())
      log::info("apply", "{} changed its definition at the source; the target follows", relation->qualified());
    read_records();
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
  commit(progress_);
}

void Applier::copy_anew(const Table& table, const std::string& reason) {
  if (began_ || !underway_.empty()) target_.rollback();
  began_ = false;
  target_.mark_for_copy(table.record.oid, reason);
  throw target::RestartFromCheckpoint(
      fmt::format("{}.{} must be copied anew: {}", table.record.schema, table.record.name, reason));
}

/// Rows that are not there may have come or gone at the source without a word in the stream.
void Applier::copy_if_unsaid(Oid oid) {
  auto found = tables_.find(oid);
  if (found == tables_.end()) return;
  auto now = catalog().tables({{oid, {}, "", ""}}, schema::Catalog::Detail::definition);
  if (now.empty()) return;
  if (auto reason = reason_to_copy(found->second.record, now.front())) copy_anew(found->second, *reason);
  auto unsaid = unsaid_changes(found->second.record, now.front(), truncated_by(oid));
  if (!unsaid.reason && catalog().began_empty(oid, unsaid.newcomers).size() < unsaid.newcomers.size())
    unsaid.reason = "a partition came with rows";
  if (unsaid.reason) copy_anew(found->second, *unsaid.reason);
  // What a partition brought, it may have taken along again before anybody looked.
  if (now.front().partitioned) copy_anew(found->second, "rows of it may have come or gone with a partition");
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

void Applier::flush(bool whole) {
  for (Table* table : touched_) {
    if (!std::exchange(table->counted, true)) counted_.push_back(table);
    try {
      bool changed = table->fold ? flush_fold(*table, whole) : flush_run(*table);
      if (changed) rows_changed(*table);
    } catch (Error& error) {
      error.with_context("applying to " + table->record.schema + "." + table->record.name);
      throw;
    }
  }
  touched_.clear();
}

bool Applier::flush_fold(Table& table, bool whole) {
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
  if (whole) {
    target_.take(table.record.oid, std::move(batch), given_);
  } else {
    target_.apply(table.record.oid, batch);
  }
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

void Applier::evolve(Oid oid, const target::Evolution& evolution) {
  settle();
  begin();
  try {
    target_.evolve(oid, evolution);
    target_.commit(checkpoint_);
  } catch (const target::NeedsRowOrder& order) {
    // A deadlock with somebody there: the next session comes to it again.
    target_.rollback();
    began_ = false;
    throw target::RestartFromCheckpoint(order.what());
  }
  began_ = false;
  if (auto found = tables_.find(oid); found != tables_.end()) {
    read_records();
    found->second.prepared = nullptr;
  }
  show_names();
}

void Applier::note_storage(const std::map<Oid, std::string>& storage) {
  settle();
  target_.note_storage(storage);
  for (const auto& [oid, noted] : storage) {
    if (auto found = tables_.find(oid); found != tables_.end()) found->second.record.storage = noted;
  }
}

std::optional<Xid> Applier::truncated_by(Oid table) const {
  auto found = truncated_by_.find(table);
  return found == truncated_by_.end() ? std::nullopt : std::optional(found->second);
}

const target::TableRecord* Applier::record(Oid table) const {
  auto found = tables_.find(table);
  return found == tables_.end() || found->second.record.oid == 0 ? nullptr : &found->second.record;
}

void Applier::visit_records(const std::function<void(const target::TableRecord&)>& visit) const {
  for (const auto& [oid, table] : tables_) {
    if (table.record.oid != 0) visit(table.record);
  }
}

/// Of all tables: another one may have had to give up its name.
void Applier::read_records() {
  std::vector<const Table*> changed;
  for (auto& record : target_.tables()) {
    auto& table = tables_[record.oid];
    if (!is_same(table.record, record)) {
      reshaped_.insert(record.oid);
      changed.push_back(&table);
    }
    table.record = std::move(record);
  }
  if (changed.empty()) return;
  board_.update([&](Status& status) {
    for (const auto* table : changed) {
      if (table->status_index >= status.tables.size()) continue;
      auto& entry = status.tables[table->status_index];
      entry.schema = table->record.schema;
      entry.name = table->record.name;
      entry.target_name = table->record.target_name;
    }
  });
}

}  // namespace tailrace::pipeline
