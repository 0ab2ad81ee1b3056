#include "target/postgres/postgres_target.h"

#include <algorithm>

#include "target/postgres/lost_rights.h"
#include "target/postgres/postgres_mirror.h"
#include "target/postgres/target_user.h"

namespace tailrace::target {
namespace postgres {
namespace {

// Sorted by key, more changes do not lie much closer together, and the connections would share them out less
// evenly. What is staged of so many bytes has room in the usual temp_buffers.
constexpr Target::Worth enough{.bytes = 8 << 20, .changes = 50'000};
/// Until it is open, nobody could tell that it waits: for a lock on tailrace's own tables, above all.
constexpr auto opening_patience = std::chrono::seconds(60);
constexpr const char* deadlock = "40P01";
constexpr const char* unique_violation = "23505";

/// What is asked, and told, before tailrace makes tables of its own, which takes a while.
pg::Connection& looked_at(pg::Connection& connection, const PostgresOptions& options) {
  connection.set_patience(opening_patience);
  // Nothing that somebody hangs on our own tables while we run has our rights.
  take_replica_role(connection, "preparing to keep books");
  check_books(connection);
  check_rights_on_books(connection);
  bool set_up = is_set_up(connection, options.subscription);
  // A standby of the source itself is told as that.
  if (options.before_writing) options.before_writing(connection, set_up);
  check_writable(connection, set_up);
  if (!options.found_empty || options.structure != StructureMode::copy) return connection;
  auto tables = connection.query(
      "select exists (select from pg_catalog.pg_class where oid >= 16384 "
      "and relkind in ('r', 'p', 'v', 'm', 'f', 'S') and relnamespace <> "
      "coalesce(pg_catalog.to_regnamespace('tailrace')::pg_catalog.oid, 0)) or exists ("
      "select from pg_catalog.pg_type "
      "where "
      "oid >= 16384 and typtype in ('e', 'd', 'r')) or exists (select from pg_catalog.pg_proc where oid >= "
      "16384)",
      "looking for the target's tables");
  if (!tables.flag(0, 0)) options.found_empty(structure_options(connection, options));
  return connection;
}

/// Before anything else of the subscription is touched.
Bookkeeping& locked(Bookkeeping& books) {
  books.lock();
  return books;
}

}  // namespace

PostgresTarget::PostgresTarget(const PostgresOptions& options)
    : options_(options),
      books_connection_(pg::Connection::open(options.conninfo, {pg::Mode::sql, options.subscription})),
      books_(looked_at(books_connection_, options), options.subscription),
      hidden_(books_connection_, options.subscription),
      indexes_(options.conninfo, options.subscription, books_, options.doing),
      lanes_({options.conninfo, options.subscription, options.lz4}, options.connections,
             locked(books_).advance_sql()),
      copies_(options.conninfo, options.subscription, books_connection_.server_version()),
      conflicts_(options.conflicts, options.subscription),
      kept_(books_connection_, lanes_.alone().session(), options.subscription),
      refusals_(lanes_.alone().session(), kept_, conflicts_, options),
      skip_notes_(books_connection_, lanes_.alone().session(), options.subscription) {
  options_.found_empty = nullptr;  // nobody listens once this is open
  options_.before_writing = nullptr;
  // What is asked of every table is planned once.
  books_connection_.query("set plan_cache_mode = force_generic_plan", "preparing to keep books");
  make_conflict_tables(books_connection_);
  checkpoint_ = books_.read_checkpoint();
  records_ = books_.read_tables();
  structure_wanted_ = !made_.to_make_again().empty();
  // What was committed may not have been flushed by whoever committed it.
  if (checkpoint_) initialize(*checkpoint_);
  books_connection_.set_patience({});
  auto& lane = lanes_.alone();
  if (lane.has_origin()) {
    // A server has place for few origins, so copies take some only where it matters whose the rows are.
    auto times =
        lane.session().direct().query("show track_commit_timestamp", "looking at the target's settings");
    if (options_.in_loop || times.get(0, 0) == "on") copies_.mark();
    return;
  }
  // Not permitted, or no place for one more: tailrace needs none.
  log::write(
      options_.in_loop ? log::Level::warn : log::Level::info, "target",
      "changes are not marked with a replication origin, so whoever follows the target takes them for its "
      "own: " +
          lane.why_no_origin());
}

std::vector<TableRecord> PostgresTarget::tables() const {
  std::vector<TableRecord> out;
  for (const auto& [oid, record] : records_) {
    out.push_back(record);
    auto& note = out.back().note;
    if (auto reason = conflicts_.reason(oid); !reason.empty()) {
      note += fmt::format("{}applied with care: {}", note.empty() ? "" : "; ", reason);
      continue;
    }
    auto reason = row_orders_.reason(oid);
    if (reason.empty()) continue;
    note += fmt::format("{}applied row by row: {}", note.empty() ? "" : "; ", reason);
  }
  return out;
}

const std::shared_ptr<const TablePlan>& PostgresTarget::plan_for(
    Oid table, const std::shared_ptr<const Relation>& relation) {
  if (const auto* plan = plans_.find(table, relation)) return *plan;
  // What was altered in the open transaction only that sees.
  auto& catalogs = open_ ? lanes_.alone().session().direct() : books_connection_;
  return for_table(table, [&]() -> const std::shared_ptr<const TablePlan>& {
    // What a start finds is looked at when the first change comes.
    const auto& record = records_.at(table);
    if (!options_.trust_source && is_somebodys(catalogs, record.target_oid)) {
      if (auto own = find_own_table(catalogs, record)) refuse_code_of_others(catalogs, table, *own);
    }
    return plans_.make(records_.at(table), relation, catalogs);
  });
}

Target::Worth PostgresTarget::worth_a_commit() const {
  return enough;
}

void PostgresTarget::begin() {
  taken_.emplace();
  plans_.forget_old();
}

bool PostgresTarget::structure_is_complete() {
  books_connection_.set_patience(std::chrono::seconds(5));
  bool complete = books_.read_pending().empty();
  books_connection_.set_patience({});
  return complete;
}

/// The lane for the open transaction, once it cannot wait any longer: with what was taken so far applied.
Lane& PostgresTarget::alone() {
  if (open_) return lanes_.alone();
  settle();
  TAILRACE_CHECK(taken_.has_value());
  Group group = std::move(*taken_);
  taken_.reset();
  open_ = true;
  auto& lane = lanes_.alone();
  lane.begin(plans_.deferrable());
  for (const auto& work : group.works)
    lane.write(*work.plan, work.batch, SetChanges::of(*work.plan, work.batch));
  return lane;
}

template <typename Work>
void PostgresTarget::guarded(const Work& work) {
  try {
    work();
  } catch (const ConstraintFailed& failed) {
    if (failed.error.sqlstate() == insufficient_privilege) {
      check_rights_on_books(books_connection_);
      if (failed.table != 0) check_rights_on(books_connection_, records_.at(failed.table));
    }
    if (failed.table == 0) find_refused_commit(failed.error);
    follow_first(failed.table, failed.error);
    // The policy has its say before the quarantine.
    bool refused_in_order = needs_row_order(failed.table) || options_.on_error == OnError::quarantine;
    if (refused_in_order && failed.error.sqlstate() == unique_violation)
      look_closer(failed.table, server_words(failed.error));
    try_in_order(failed.table, server_words(failed.error));
  } catch (const RowOrderNeeded& needed) {
    row_orders_.keep(needed.table, needed.reason);
    throw NeedsRowOrder(needed.reason);
  } catch (const RowMissing& missing) {
    look_closer(missing.table, fmt::format("{} met a row that is not as the source has it", missing.change));
    try_in_order(missing.table, fmt::format("{} is of a row that the target does not have", missing.change));
  } catch (const RefusedByPolicy& refused) {
    if (options_.on_error == OnError::stop || row_orders_.careful(refused.table())) throw;
    row_orders_.keep(refused.table(), refused.message());
    row_orders_.keep_carefully(refused.table());
    throw NeedsRowOrder(refused.message());
  } catch (const Error& error) {
    // With somebody who writes to the same rows. Nothing is wrong with the changes, they just come again.
    if (error.sqlstate() == deadlock) throw NeedsRowOrder(error.message());
    if (error.sqlstate() == insufficient_privilege) check_rights_on_books(books_connection_);
    check_tables_again(error);
    throw;
  }
}

/// A table or a column went, or is another one: that is one table's trouble, and a start finds out whose.
/// Returns where a start since the last commit did not find any.
void PostgresTarget::check_tables_again(const Error& error) {
  constexpr std::string_view names_and_types = "42";
  if (!error.sqlstate().starts_with(names_and_types) || std::exchange(checked_again_, true)) return;
  rollback();
  throw RestartFromCheckpoint("the target's tables are looked at again: " + error.message());
}

/// The source may have got a partition, a type or an enum's label since the target's were made. Returns where
/// that is not what is missing.
void PostgresTarget::follow_first(Oid table, const Error& error) {
  bool partition = error.sqlstate() == "23514" && error.message().contains("no partition of relation");
  bool type = error.sqlstate() == "42704";
  bool label = error.sqlstate() == "22P02";
  if ((!partition && !type && !label) || options_.structure != StructureMode::copy) return;
  auto words = server_words(error);
  if (asked_.insert(table).second) {
    structure_wanted_ = true;
    rollback();
    throw RestartFromCheckpoint(words);
  }
  if (label && !error.message().contains("for enum")) return;
  if (partition) {
    // It went again, or left the table.
    rollback();
    asked_.erase(table);
    copy_for_a_partition(table, words);
  }
  const auto& record = records_.at(table);
  throw TableRefused(table, fmt::format("the target cannot follow {}: {}", record.qualified(), words),
                     "Make there what is missing");
}

/// What the target holds is not what the source expects: the same changes again, with care. Returns when care
/// did not help either.
void PostgresTarget::look_closer(Oid table, const std::string& reason) {
  if (conflicts_.with_care(table) && !conflicts_.another_try(table)) return;
  conflicts_.take_care(table, reason);
  throw NeedsRowOrder(reason);
}

/// Deferred constraints and triggers speak up at the commit, of whichever transaction.
void PostgresTarget::find_refused_commit(const Error& error) {
  if (one_transaction_a_commit()) throw CommitRefused(server_words(error), error.sqlstate());
  singly_until_ = given_until_;
  throw NeedsRowOrder(server_words(error));
}

/// The net effect may be refused where each change is not. Where they are refused too, savepoints tell which.
void PostgresTarget::try_in_order(Oid table, const std::string& reason) {
  bool refused_in_order = row_orders_.wanted(table);
  if (!refused_in_order) row_orders_.keep(table, reason);
  if (refused_in_order || options_.on_error == OnError::quarantine) row_orders_.keep_carefully(table);
  log::debug("target", "{} is applied row by row for a while: {}", records_.at(table).target_name, reason);
  throw NeedsRowOrder(reason);
}

bool PostgresTarget::needs_row_order(Oid table) const {
  return conflicts_.with_care(table) || kept_.any_of(table) || row_orders_.wanted(table);
}

void PostgresTarget::apply(Oid table, const TableBatch& batch) {
  guarded([&] {
    auto plan = plan_for(table, batch.relation);
    if (!plan->table.row_order.empty()) throw NeedsRowOrder(plan->table.row_order);
    alone().write(*plan, batch, SetChanges::of(*plan, batch));
  });
}

void PostgresTarget::take(Oid table, TableBatch batch, std::shared_ptr<const void> borrowed) {
  if (open_) return apply(table, batch);
  guarded([&] {
    auto plan = plan_for(table, batch.relation);
    if (!plan->table.row_order.empty()) throw NeedsRowOrder(plan->table.row_order);
    taken_->works.push_back({std::move(plan), std::move(batch), std::move(borrowed)});
  });
}

void PostgresTarget::apply_in_order(Oid table, const RowRun& run) {
  guarded([&] {
    auto& lane = alone();
    lane.session().compress_as_server();
    row_orders_.used(table);
    if (kept_.held(table)) return kept_.record(records_.at(table), run, 0, run.entries.size(), nullptr);
    auto plan = plan_for(table, run.relation);
    if (row_orders_.careful(table) || kept_.any_of(table))
      return refusals_.apply(records_.at(table), *plan, run);
    if (conflicts_.with_care(table)) return conflicts_.apply(lane.session(), *plan, run);
    lane.write(*plan, run);
  });
}

bool PostgresTarget::mend(Oid table, const RowRun& run) {
  guarded([&] {
    auto& session = alone().session();
    session.compress_as_server();
    write_mended_rows(session, *plan_for(table, run.relation), run);
  });
  return true;
}

void PostgresTarget::truncate(const std::vector<Oid>& tables, const Truncate& how, const ChangePlace& place) {
  std::vector<const TableRecord*> records;
  for (Oid table : tables) records.push_back(&records_.at(table));
  guarded([&] {
    alone().session().settle();
    restarted_ |= how.restart_identity;
    refusals_.truncate(records, how, place);
  });
}

void PostgresTarget::evolve(Oid table, const Evolution& evolution) {
  guarded([&] {
    auto& lane = alone();
    auto& connection = lane.session().direct();
    evolved_ = true;
    TAILRACE_CHECK(checkpoint_.has_value());
    Bookkeeping books(connection, options_.subscription);
    // Part of the open transaction, unlike other notes.
    auto changes = for_table(table, [&] {
      try {
        return evolve_table(connection, records_, table, evolution, checkpoint_->lsn, made_, ties_,
                            options_.trust_source);
      } catch (const Error& error) {
        follow_first(table, error);
        throw;
      }
    });
    for (Oid changed : changes) {
      books.put_table(records_.at(changed));
      plans_.forget(changed);
    }
    lanes_.forget_statements();
  });
}

void PostgresTarget::commit(const Checkpoint& checkpoint) {
  guarded([&] {
    given_until_ = checkpoint.lsn;
    auto landed = alone().commit(checkpoint, books_.advance_sql(),
                                 {.flushed = hurried_, .by_time = conflicts_.by_time()});
    row_orders_.committed();
    kept_.committed();
    conflicts_.committed();
    open_ = evolved_ = false;
    if (std::exchange(restarted_, false)) sequences_.look_again();
    note({checkpoint, landed});
    conflicts_.tidy(books_connection_);
  });
}

void PostgresTarget::commit_soon(const Checkpoint& checkpoint) {
  if (open_ || lanes_.count() == 1) return commit(checkpoint);
  guarded([&] {
    Group group = std::move(*taken_);
    taken_.reset();
    group.checkpoint = checkpoint;
    group.flushed = hurried_;
    given_until_ = checkpoint.lsn;
    group.deferrable = plans_.deferrable();
    lanes_.give(std::move(group));
  });
  for (const auto& committed : lanes_.committed()) note(committed);
}

void PostgresTarget::settle() {
  guarded([&] { lanes_.settle(); });
  for (const auto& committed : lanes_.committed()) note(committed);
}

void PostgresTarget::note(const Lanes::Committed& committed) {
  asked_.clear();
  checked_again_ = false;
  checkpoint_ = committed.checkpoint;
  flush_watch_.committed(committed.landed, committed.checkpoint.lsn);
}

Lsn PostgresTarget::durable() {
  if (!open_) {
    books_connection_.notice_loss("following");
    flush_watch_.look();
  }
  return flush_watch_.durable();
}

void PostgresTarget::apply_ahead(const std::shared_ptr<AheadTransaction>& transaction, Oid table,
                                 TableBatch batch, std::shared_ptr<const void> borrowed) {
  auto plan = plan_for(table, batch.relation);
  if (needs_row_order(table) || !plan->table.row_order.empty()) return transaction->give_up();
  ahead_.insert(table);
  lanes_.apply_ahead(transaction, {std::move(plan), std::move(batch), std::move(borrowed)},
                     plans_.deferrable());
}

bool PostgresTarget::commit_ahead(AheadTransaction& transaction, const Checkpoint& checkpoint) {
  TAILRACE_CHECK(!open_);
  settle();
  bool in_order = std::ranges::any_of(ahead_, [&](Oid table) { return needs_row_order(table); });
  ahead_.clear();
  if (in_order) transaction.give_up();
  std::optional<Landed> landed;
  try {
    if (transaction.open()) landed = lanes_.commit_ahead(checkpoint);
  } catch (const ConstraintFailed& failed) {
    // Refused, and then the connection was lost before it could be rolled back.
    throw Error(Retry::in_doubt, failed.error.message(), failed.error.remedy());
  }
  if (!landed) {
    transaction.give_up();
    give_up_ahead();
    return false;
  }
  note({checkpoint, *landed});
  return true;
}

void PostgresTarget::give_up_ahead() noexcept {
  lanes_.give_up_ahead();
  ahead_.clear();
}

void PostgresTarget::rollback() noexcept {
  give_up_ahead();
  lanes_.abandon();
  for (const auto& committed : lanes_.committed()) note(committed);
  taken_.reset();
  restarted_ = false;
  row_orders_.rolled_back();
  conflicts_.rolled_back();
  if (!std::exchange(open_, false) || !lanes_.alone().rollback()) return;
  try {
    kept_.forget_uncommitted();
    if (!std::exchange(evolved_, false)) return;
    made_.rolled_back();
    records_ = books_.read_tables();
    plans_.forget_all();
    lanes_.forget_statements();
  } catch (const std::exception& error) {
    // The next use of the connection fails with the same cause and is reported there.
    log::debug("target", "undoing failed: {}", error.what());
  }
}

void PostgresTarget::tidy() {
  settle();
  if (flush_watch_.all_durable() || !checkpoint_) return;
  durably([&] { books_.put_checkpoint(*checkpoint_); });
  flush_watch_.begin_at(checkpoint_->lsn);
}

/// By the books' connection, in its transaction.
void PostgresTarget::forget_kept(Oid table) {
  auto kept = kept_.remove(table);
  if (kept > 0) {
    log::info("target", "{} changes in quarantine of {} went with what they were of: the table begins anew",
              kept, records_.at(table).target_name);
  }
}

void PostgresTarget::note(Lsn commit_lsn) {
  TAILRACE_CHECK(checkpoint_.has_value());
  durably([&] { skip_notes_.note(commit_lsn, checkpoint_->lsn); });
}

bool PostgresTarget::take_back(Lsn commit_lsn) {
  bool gone = false;
  durably([&] { gone = skip_notes_.take_back(commit_lsn); });
  return gone;
}

void PostgresTarget::use(Lsn commit_lsn, const std::string& left_out) {
  guarded([&] {
    alone();
    skip_notes_.use(commit_lsn, left_out);
  });
}

void PostgresTarget::give_up(Lsn commit_lsn) {
  durably([&] { skip_notes_.give_up(commit_lsn); });
}

std::int64_t PostgresTarget::replay(Oid table, bool discard) {
  TAILRACE_CHECK(!open_ && checkpoint_.has_value());
  const auto& record = records_.at(table);
  try {
    begin();
    auto& session = alone().session();
    session.compress_as_server();
    ReplayCount count;
    if (discard) {
      kept_.read(record, [&](const auto& kept) { count = {count.changes + 1, kept.number}; });
    } else {
      restarted_ = true;  // by a TRUNCATE among them
      count = replay_kept(session, kept_, record,
                          [&](const auto& relation) -> const TablePlan& { return *plan_for(table, relation); });
    }
    kept_.release(table, count.last_number);
    commit(*checkpoint_);
    tidy();
    log::info("target", "{} changes in quarantine of {} were {}, and it flows again", count.changes,
              record.target_name, discard ? "dropped, as asked for" : "replayed");
    return count.changes;
  } catch (...) {
    rollback();
    throw;
  }
}

std::unique_ptr<TargetView> PostgresTarget::view() {
  return std::make_unique<PostgresView>(options_.conninfo, options_.subscription, options_.trust_source);
}

}  // namespace postgres

postgres::SequencesSet sync_sequences_postgres(const PostgresOptions& options, pg::Connection& source,
                                               const std::vector<Oid>& tables) {
  auto target = pg::Connection::open(options.conninfo, {pg::Mode::sql, options.subscription + " sequences"});
  postgres::check_books(target);
  return postgres::set_sequences_exactly(source, tables, target, ownership_of_sequences(options));
}

std::unique_ptr<Target> open_postgres(const PostgresOptions& options) {
  return std::make_unique<postgres::PostgresTarget>(options);
}

}  // namespace tailrace::target
