#include "target/postgres/postgres_target.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "base/sql_text.h"
#include "target/postgres/apply_session.h"
#include "target/postgres/bookkeeping.h"
#include "target/postgres/conflict_handling.h"
#include "target/postgres/copy_writer.h"
#include "target/postgres/deletions.h"
#include "target/postgres/origins.h"
#include "target/postgres/postgres_view.h"
#include "target/postgres/row_writer.h"
#include "target/postgres/set_writer.h"
#include "target/postgres/structure_builder.h"
#include "target/postgres/table_evolution.h"

namespace tailrace::target {
namespace postgres {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto origin_patience = std::chrono::seconds(10);
constexpr const char* deadlock = "40P01";
constexpr const char* unique_violation = "23505";
constexpr auto row_order_at_first = std::chrono::seconds(1);
constexpr auto row_order_at_most = std::chrono::minutes(5);

/// A relation as the stream would describe the table: what is published of it.
std::shared_ptr<const Relation> relation_of(const schema::Table& table) {
  auto out = std::make_shared<Relation>();
  out->oid = table.oid;
  out->schema = table.schema;
  out->name = table.name;
  out->identity = table.identity;
  for (const auto& column : table.columns)
    out->columns.push_back({column.name, column.type->oid, column.typmod, column.is_key});
  return out;
}

class PostgresTarget : public Target {
 public:
  explicit PostgresTarget(const PostgresOptions& options);

  std::optional<Checkpoint> checkpoint() const override { return checkpoint_; }
  std::vector<TableRecord> tables() const override;

  void follows(const std::string& source) override { conflicts_.follows(source); }
  void check_tables(const std::vector<schema::Table>& tables) override;
  void prepare_structure(pg::Connection& source, const std::vector<schema::Table>& tables) override;
  void complete_structure(const StopSignal& stop) override;
  void create_table(const schema::Table& table) override;
  void drop_table(Oid table) override;
  void mark_for_copy(Oid table, const std::string& reason) override;
  void initialize(const Checkpoint& checkpoint) override;

  bool reads_binary(const schema::Table& table) const override;
  std::unique_ptr<CopyWriter> copy(Oid table, bool binary) override;
  void finish_copy(Oid table, Lsn snapshot, std::int64_t rows) override;

  void begin() override;
  void apply(Oid table, const TableBatch& batch) override;
  bool needs_row_order(Oid table) const override;
  void apply_in_order(Oid table, const RowRun& run) override;
  bool truncates_together() const override { return true; }
  bool wants_single_transactions() const override { return conflicts_.by_time(); }
  std::map<Oid, ConflictCounts> take_conflicts() override { return conflicts_.take_counts(); }
  void truncate(const std::vector<Oid>& tables, const Truncate& how) override;
  void evolve(Oid table, const Evolution& evolution) override;
  void commit(const Checkpoint& checkpoint) override;
  Lsn durable() override;
  void rollback() noexcept override;
  void tidy() override;
  std::unique_ptr<TargetView> view() override;

 private:
  struct RowOrder {
    std::string reason;
    Clock::time_point until;
    Clock::duration length = row_order_at_first;
  };
  struct Commit {
    Lsn at_target;  ///< once the target flushed up to here ...
    Lsn position;   ///< ... this position of the source is durable
  };

  template <typename Change>
  void durably(const Change& change);
  template <typename Work>
  void guarded(const Work& work);
  void look_closer(Oid table, const std::string& reason);
  void keep_row_order(Oid table, const std::string& reason);
  const TablePlan& plan_for(Oid table, const std::shared_ptr<const Relation>& relation);
  void set_up_origin();
  void note_flushed(Lsn flushed);
  std::unique_ptr<pg::Connection> idle_connection();
  std::unique_ptr<pg::Connection> copy_connection();

  PostgresOptions options_;
  pg::Connection books_connection_;  ///< for what is not part of applying
  Bookkeeping books_;
  ApplySession session_;
  Stages stages_;
  std::optional<Checkpoint> checkpoint_;
  std::map<Oid, TableRecord> records_;
  std::map<Oid, std::unique_ptr<TablePlan>> plans_;
  std::map<Oid, RowOrder> row_order_;
  ConflictHandling conflicts_;
  bool has_origin_ = false;
  bool marks_copies_ = false;
  bool deferrable_ = true;  ///< the target has constraints that can be checked late
  bool open_ = false;       ///< a transaction is
  bool evolved_ = false;    ///< and it altered tables
  std::deque<Commit> unflushed_;
  Lsn durable_;

  mutable std::mutex copy_mutex_;  ///< guards what copies on other threads use
  mutable pg::Connection catalog_connection_;
  std::map<Oid, std::pair<std::string, std::string>> copy_names_;  ///< table -> SQL name, column list
  std::vector<std::unique_ptr<pg::Connection>> idle_;
  std::atomic<int> copies_{0};  ///< under way
};

PostgresTarget::PostgresTarget(const PostgresOptions& options)
    : options_(options),
      books_connection_(pg::Connection::open(options.conninfo, {pg::Mode::sql, options.subscription})),
      books_(books_connection_, options.subscription),
      session_(options.conninfo, options.subscription + " apply"),
      conflicts_(options.conflicts, options.subscription),
      catalog_connection_(
          pg::Connection::open(options.conninfo, {pg::Mode::sql, options.subscription + " catalog"})) {
  books_.lock();
  make_conflict_tables(books_connection_);
  checkpoint_ = books_.read_checkpoint();
  records_ = books_.read_tables();
  // What was committed may not have been flushed by whoever committed it.
  if (checkpoint_) initialize(*checkpoint_);
  set_up_origin();
}

/// Marks what we write as replicated, so that it can be told from what others write, and is not sent back in a
/// circle.
void PostgresTarget::set_up_origin() {
  std::string why;
  auto name = apply_origin(options_.subscription);
  auto outcome = use_origin(session_.direct(), name, why);
  // Whoever had the subscription before may be dead without its server process having noticed.
  for (auto until = Clock::now() + origin_patience; outcome == OriginOutcome::busy && Clock::now() < until;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    outcome = use_origin(session_.direct(), name, why);
  }
  if (outcome == OriginOutcome::busy) throw Error(Retry::transient, why, "Try again in a moment");
  has_origin_ = outcome == OriginOutcome::used;
  if (has_origin_) {
    // A server has place for few origins, so copies take some only where it matters whose the rows are.
    auto times = session_.direct().query("show track_commit_timestamp", "looking at the target's settings");
    marks_copies_ = options_.in_loop || times.get(0, 0) == "on";
    return;
  }
  // Not permitted, or no place for one more: tailrace needs none.
  log::write(
      options_.in_loop ? log::Level::warn : log::Level::info, "target",
      "changes are not marked with a replication origin, so whoever follows the target takes them for its "
      "own: " +
          why);
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
    auto order = row_order_.find(oid);
    if (order == row_order_.end()) continue;
    note += fmt::format("{}applied row by row: {}", note.empty() ? "" : "; ", order->second.reason);
  }
  return out;
}

/// A transaction of its own that is flushed before it returns.
template <typename Change>
void PostgresTarget::durably(const Change& change) {
  books_connection_.query("begin; set local synchronous_commit = on", "writing to the target");
  try {
    change();
    books_connection_.query("commit", "writing to the target");
  } catch (...) {
    try {
      books_connection_.query("rollback", "undoing");
    } catch (const std::exception& error) {
      log::debug("target", "undoing failed as well: {}", error.what());
    }
    throw;
  }
}

void PostgresTarget::check_tables(const std::vector<schema::Table>& tables) {
  for (const auto& table : tables) {
    auto there = load_table(books_connection_, table.schema, table.name);
    if (!there && options_.structure == StructureMode::expect) {
      throw Error(Retry::needs_operator,
                  fmt::format("the target has no table {}, and schema: expect makes none", table.qualified()),
                  "Create it there, or use schema: copy");
    }
    if (!there) continue;
    TablePlan judged(table.oid, relation_of(table), *there);
    for (const auto& column : table.columns) check_fits(table, column, *there->find(column.name));
    if (records_.contains(table.oid) || options_.keep_rows) continue;
    auto rows = books_connection_.query(
        fmt::format("select exists (select from {} {})", there->kind == 'p' ? "" : "only", there->sql_name()),
        "looking at " + table.qualified());
    if (!rows.flag(0, 0)) continue;
    throw Error(Retry::needs_operator,
                fmt::format("the target's table {} holds rows already", table.qualified()),
                fmt::format("Empty it (TRUNCATE {}), or leave the table out: a copy would double its rows",
                            there->sql_name()));
  }
}

void PostgresTarget::prepare_structure(pg::Connection& source, const std::vector<schema::Table>& tables) {
  check_tables(tables);
  std::vector<Oid> missing;
  for (const auto& table : tables) {
    if (!load_table(books_connection_, table.schema, table.name)) missing.push_back(table.oid);
  }
  if (missing.empty()) return;
  log::info("target", "making {} tables, and what belongs to them, like the source's", missing.size());
  schema::StructureOptions how{options_.owners, options_.privileges, books_connection_.server_version()};
  auto structure = schema::read_structure(source, missing, how);
  auto first = structure.before_data;
  for (auto& note : books_.notes_of(structure)) first.push_back(std::move(note));
  schema::run_structure(books_connection_, first);
}

void PostgresTarget::complete_structure(const StopSignal& stop) {
  build_pending(books_connection_, books_, options_.conninfo, options_.subscription, stop);
  plans_.clear();
  if (stop.requested()) return;
  std::vector<TableRecord> tables;
  for (const auto& [oid, record] : records_) tables.push_back(record);
  conflicts_.start(books_connection_, has_origin_, tables);
}

void PostgresTarget::create_table(const schema::Table& table) {
  auto there = load_table(books_connection_, table.schema, table.name);
  if (!there) throw Error(Retry::fatal, fmt::format("the target lost its table {}", table.qualified()));
  auto relation = relation_of(table);
  TablePlan plan(table.oid, relation, *there);
  TableRecord record;
  record.oid = table.oid;
  record.schema = table.schema;
  record.name = table.name;
  record.target_name = there->sql_name();
  record.filenode = table.filenode;
  record.membership = table.membership;
  for (const auto& column : table.columns) {
    record.columns.push_back(
        {column.attnum, column.name, column.type->oid, column.typmod, column.is_key, column.version});
  }
  durably([&] {
    const char* only = there->kind == 'p' ? "" : "only";
    auto rows =
        books_connection_.query(fmt::format("select exists (select from {} {})", only, there->sql_name()),
                                "looking at " + table.qualified());
    if (rows.flag(0, 0) && !options_.keep_rows) {
      // TRUNCATE is refused where foreign keys point at the table; then its rows go one by one.
      books_connection_.query(fmt::format("set local session_replication_role = replica; savepoint emptying"),
                              "emptying a table");
      try {
        books_connection_.query(fmt::format("truncate {} {}", only, there->sql_name()), "emptying a table");
      } catch (const Error& error) {
        if (error.sqlstate() != "0A000") throw;
        books_connection_.query(fmt::format("rollback to emptying; delete from {} {}", only, there->sql_name()),
                                "emptying a table");
      }
    }
    forget_deletions_of(books_connection_, *there);
    books_.put_table(record);
  });
  records_.insert_or_assign(table.oid, record);
  std::lock_guard lock(copy_mutex_);
  copy_names_.insert_or_assign(table.oid, std::pair(plan.table.sql_name(), plan.column_list()));
}

/// The table at the target stays: whether its rows are still wanted, only its owner knows.
void PostgresTarget::drop_table(Oid table) {
  durably([&] { books_.remove_table(table); });
  records_.erase(table);
}

void PostgresTarget::mark_for_copy(Oid table, const std::string& reason) {
  auto record = records_.at(table);
  record.copied = false;
  durably([&] { books_.put_table(record); });
  records_.insert_or_assign(table, record);
  log::info("target", "{} will be copied anew: {}", record.target_name, reason);
}

void PostgresTarget::initialize(const Checkpoint& checkpoint) {
  durably([&] { books_.put_checkpoint(checkpoint); });
  checkpoint_ = checkpoint;
  durable_ = checkpoint.lsn;
  unflushed_.clear();
}

bool PostgresTarget::reads_binary(const schema::Table& table) const {
  std::lock_guard lock(copy_mutex_);
  auto there = load_table(catalog_connection_, table.schema, table.name);
  if (!there) return false;
  return std::ranges::all_of(table.columns, [&](const auto& column) {
    const auto* target = there->find(column.name);
    return target != nullptr && same_binary(column, *target, catalog_connection_.server_version());
  });
}

std::unique_ptr<pg::Connection> PostgresTarget::idle_connection() {
  std::lock_guard lock(copy_mutex_);
  if (idle_.empty()) return nullptr;
  auto out = std::move(idle_.back());
  idle_.pop_back();
  return out;
}

/// Where there is no origin left, it is waited for what another copy uses.
std::unique_ptr<pg::Connection> PostgresTarget::copy_connection() {
  if (auto idle = idle_connection()) return idle;
  auto out = std::make_unique<pg::Connection>(
      pg::Connection::open(options_.conninfo, {pg::Mode::sql, options_.subscription + " copy"}));
  out->query("set session_replication_role = replica; set synchronous_commit = off", "preparing to copy");
  std::string why;
  while (marks_copies_ && !use_copy_origin(*out, options_.subscription, why)) {
    if (copies_ == 0) {
      log::warn("target", "what is copied is not marked with a replication origin: {}", why);
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (auto idle = idle_connection()) return idle;
  }
  return out;
}

std::unique_ptr<CopyWriter> PostgresTarget::copy(Oid table, bool binary) {
  auto connection = copy_connection();
  std::pair<std::string, std::string> names;
  {
    std::lock_guard lock(copy_mutex_);
    names = copy_names_.at(table);
  }
  std::string sql = names.second.empty() ? fmt::format("copy {} from stdin", names.first)
                                         : fmt::format("copy {} ({}) from stdin", names.first, names.second);
  ++copies_;
  std::shared_ptr<void> counted(nullptr, [this](void*) { --copies_; });
  return std::make_unique<PostgresCopyWriter>(std::move(connection), sql + (binary ? " (format binary)" : ""),
                                              "copying into " + names.first, binary,
                                              [this, counted](std::unique_ptr<pg::Connection> used) {
                                                std::lock_guard lock(copy_mutex_);
                                                idle_.push_back(std::move(used));
                                              });
}

/// This commit is flushed, and with it all that the copy's connections committed before.
void PostgresTarget::finish_copy(Oid table, Lsn snapshot, std::int64_t rows) {
  auto record = records_.at(table);
  record.copied = true;
  record.copied_at = snapshot;
  record.rows_copied = rows;
  durably([&] { books_.put_table(record); });
  records_.insert_or_assign(table, record);
}

const TablePlan& PostgresTarget::plan_for(Oid table, const std::shared_ptr<const Relation>& relation) {
  auto found = plans_.find(table);
  if (found != plans_.end() && found->second->relation == relation) return *found->second;
  const auto& record = records_.at(table);
  auto there = load_table(session_.direct(), record.schema, record.name);
  if (!there) {
    throw Error(Retry::needs_operator,
                fmt::format("the target has no table {} any more", relation->qualified()),
                fmt::format("'tailrace run --recopy {}' makes and copies it anew", relation->qualified()));
  }
  if (!there->row_order.empty()) row_order_[table] = {there->row_order, Clock::time_point::max(), {}};
  auto late = session_.direct().query("select exists (select from pg_constraint where condeferrable)",
                                      "reading the target's catalogs");
  deferrable_ = late.flag(0, 0);
  auto plan = std::make_unique<TablePlan>(table, relation, std::move(*there));
  conflicts_.complete(*plan, session_.direct());
  return *plans_.insert_or_assign(table, std::move(plan)).first->second;
}

void PostgresTarget::begin() {
  open_ = true;
  session_.send("begin", {});
  // What the source checked at the end of a statement or of its transaction is checked at the end here.
  if (deferrable_) session_.send("set constraints all deferred", {});
}

template <typename Work>
void PostgresTarget::guarded(const Work& work) {
  auto named = [&](Oid table, const std::string& what, Lsn commit_lsn) {
    auto record = records_.find(table);
    std::string out = what;
    if (record != records_.end())
      out = fmt::format("{}.{}: {}", record->second.schema, record->second.name, what);
    return commit_lsn.valid() ? fmt::format("{} (the source's transaction at {})", out, commit_lsn.str()) : out;
  };
  try {
    work();
  } catch (const ConstraintFailed& failed) {
    if (failed.table != 0 && needs_row_order(failed.table) && failed.error.sqlstate() == unique_violation)
      look_closer(failed.table, failed.error.message());
    if (failed.table != 0 && !needs_row_order(failed.table)) {
      keep_row_order(failed.table, failed.error.message());
      throw NeedsRowOrder(failed.error.message());
    }
    Error error(Retry::needs_operator, named(failed.table, failed.error.message(), failed.commit_lsn),
                "Mend the target's row or constraint and start again: nothing of this transaction was applied");
    throw Error(error.with_sqlstate(failed.error.sqlstate()));
  } catch (const RowMissing& missing) {
    look_closer(missing.table, fmt::format("{} met a row that is not as the source has it", missing.what));
    throw Error(Retry::needs_operator,
                named(missing.table, fmt::format("{} is of a row that the target does not have", missing.what),
                      missing.commit_lsn),
                "Something else changed the target's table. 'tailrace verify' shows the differences; "
                "'tailrace run --recopy SCHEMA.TABLE' copies the table anew");
  } catch (const Error& error) {
    // With somebody who writes to the same rows. Nothing is wrong with the changes, they just come again.
    if (error.sqlstate() == deadlock) throw NeedsRowOrder(error.message());
    throw;
  }
}

/// What the target holds is not what the source expects: the same changes again, with care. Returns when care
/// did not help either.
void PostgresTarget::look_closer(Oid table, const std::string& reason) {
  if (conflicts_.with_care(table) && !conflicts_.another_try(table)) return;
  conflicts_.take_care(table, reason);
  throw NeedsRowOrder(reason);
}

/// For longer each time: where it happens often, trying set-wise first is wasted work.
void PostgresTarget::keep_row_order(Oid table, const std::string& reason) {
  auto [order, fresh] = row_order_.try_emplace(table);
  if (!fresh) order->second.length = std::min<Clock::duration>(order->second.length * 2, row_order_at_most);
  order->second.reason = reason;
  order->second.until = Clock::now() + order->second.length;
  log::debug("target", "{} is applied row by row for a while: {}", records_.at(table).target_name, reason);
}

bool PostgresTarget::needs_row_order(Oid table) const {
  if (conflicts_.with_care(table)) return true;
  auto order = row_order_.find(table);
  return order != row_order_.end() && Clock::now() < order->second.until;
}

void PostgresTarget::apply(Oid table, const TableBatch& batch) {
  guarded([&] {
    const auto& plan = plan_for(table, batch.relation);
    if (!plan.table.row_order.empty()) throw NeedsRowOrder(plan.table.row_order);
    try {
      SetWriter(session_, stages_, plan, batch).write();
    } catch (const NeedsRowOrder& order) {
      keep_row_order(table, order.what());
      throw;
    }
  });
}

void PostgresTarget::apply_in_order(Oid table, const RowRun& run) {
  guarded([&] {
    const auto& plan = plan_for(table, run.relation);
    if (conflicts_.with_care(table)) return conflicts_.apply(session_, plan, run);
    PgTimestamp commit_time = run.entries.empty() ? PgTimestamp{} : run.entries.front().commit_time;
    RowWriter writer(session_, plan, commit_time);
    for (const auto& entry : run.entries) writer.change(*entry.change, entry.commit_lsn);
  });
}

void PostgresTarget::truncate(const std::vector<Oid>& tables, const Truncate& how) {
  std::string list;
  for (Oid table : tables) {
    const auto& record = records_.at(table);
    auto there = load_table(session_.direct(), record.schema, record.name);
    bool partitioned = there && there->kind == 'p';
    list += fmt::format("{}{}{}", list.empty() ? "" : ", ", partitioned ? "" : "only ", record.target_name);
  }
  guarded([&] {
    session_.direct().query(
        fmt::format("truncate {}{}{}", list, how.restart_identity ? " restart identity" : "",
                    how.cascade ? " cascade" : ""),
        "emptying tables");
  });
}

void PostgresTarget::evolve(Oid table, const Evolution& evolution) {
  auto record = records_.at(table);
  auto& connection = session_.direct();
  evolved_ = true;
  evolve_table(connection, record, evolution);
  // Part of the open transaction, unlike other notes.
  Bookkeeping(connection, options_.subscription).put_table(record);
  records_.insert_or_assign(table, record);
  plans_.erase(table);
  session_.forget_statements();
}

void PostgresTarget::commit(const Checkpoint& checkpoint) {
  guarded([&] {
    auto lsn = checkpoint.lsn.str();
    auto micros = std::to_string(checkpoint.commit_time.micros);
    session_.send(books_.advance_sql(), {{lsn.c_str(), 0, false}, {micros.c_str(), 0, false}});
    // What is written here from now on is later than what it is written over, also if the source's clock is
    // ahead.
    if (conflicts_.by_time()) {
      auto time = checkpoint.commit_time.str();
      session_.send(
          "select pg_catalog.pg_sleep(extract(epoch from $1::timestamptz + interval '2 microseconds' - "
          "pg_catalog.clock_timestamp())::float8)",
          {{time.c_str(), 0, false}});
    }
    if (has_origin_) {
      auto time = checkpoint.commit_time.str();
      session_.send(
          "select pg_catalog.pg_replication_origin_xact_setup($1::pg_catalog.pg_lsn, $2::timestamptz)",
          {{lsn.c_str(), 0, false}, {time.c_str(), 0, false}});
    }
    session_.send("commit", {});
    session_.send("select pg_catalog.pg_current_wal_insert_lsn(), pg_catalog.pg_current_wal_flush_lsn()", {});
    auto row = [&] {
      try {
        return session_.settle_with_row();
      } catch (Error& error) {
        // Deferred triggers speak up now, of whichever transaction.
        error.with_context(fmt::format("committing the source's transactions up to {}", lsn));
        throw;
      } catch (ConstraintFailed& failed) {
        if (failed.table == 0)
          failed.error.with_context(fmt::format("committing the source's transactions up to {}", lsn));
        throw;
      }
    }();
    open_ = evolved_ = false;
    conflicts_.committed();
    checkpoint_ = checkpoint;
    unflushed_.push_back({Lsn::parse(row.at(0)).value(), checkpoint.lsn});
    note_flushed(Lsn::parse(row.at(1)).value());
    conflicts_.tidy(books_connection_);
  });
}

void PostgresTarget::note_flushed(Lsn flushed) {
  while (!unflushed_.empty() && unflushed_.front().at_target <= flushed) {
    durable_ = std::max(durable_, unflushed_.front().position);
    unflushed_.pop_front();
  }
}

Lsn PostgresTarget::durable() {
  if (unflushed_.empty() || open_) return durable_;
  auto row =
      session_.direct().query("select pg_catalog.pg_current_wal_flush_lsn()", "reading the target's position");
  note_flushed(row.lsn(0, 0));
  return durable_;
}

void PostgresTarget::rollback() noexcept {
  session_.abandon();
  open_ = false;
  conflicts_.rolled_back();
  try {
    auto& connection = session_.direct();
    connection.query("rollback", "undoing");
    stages_.forget(connection);
    if (std::exchange(evolved_, false)) {
      records_ = books_.read_tables();
      plans_.clear();
      session_.forget_statements();
    }
  } catch (const std::exception& error) {
    // The next use of the connection fails with the same cause and is reported there.
    log::debug("target", "undoing failed: {}", error.what());
  }
}

void PostgresTarget::tidy() {
  if (unflushed_.empty() || !checkpoint_) return;
  durably([&] { books_.put_checkpoint(*checkpoint_); });
  durable_ = checkpoint_->lsn;
  unflushed_.clear();
}

std::unique_ptr<TargetView> PostgresTarget::view() {
  return std::make_unique<PostgresView>(options_.conninfo, options_.subscription);
}

}  // namespace

bool remove_traces(const PostgresOptions& options) {
  constexpr const char* purpose = "removing tailrace's traces from the target";
  auto connection = pg::Connection::open(options.conninfo, {pg::Mode::sql, options.subscription});
  auto there = connection.query("select pg_catalog.to_regclass('tailrace.structure') is not null", purpose);
  if (!there.flag(0, 0)) return false;
  Bookkeeping books(connection, options.subscription);
  books.lock();
  bool ours = books.read_checkpoint().has_value() || !books.read_tables().empty();
  make_conflict_tables(connection);
  std::vector<TableRecord> tables;
  for (const auto& [oid, record] : books.read_tables()) tables.push_back(record);
  drop_origins(connection, options.subscription);
  connection.query("begin", purpose);
  stop_noting_deletions(connection, options.subscription, tables);
  remove_conflicts(connection, options.subscription);
  books.remove_all();
  auto others = connection.query(
      "select exists (select from tailrace.checkpoint) or exists (select from tailrace.tables)", purpose);
  if (!others.flag(0, 0)) connection.query("drop schema tailrace cascade", purpose);
  connection.query("commit", purpose);
  return ours;
}

}  // namespace postgres

bool forget_postgres(const PostgresOptions& options) {
  return postgres::remove_traces(options);
}

std::unique_ptr<Target> open_postgres(const PostgresOptions& options) {
  return std::make_unique<postgres::PostgresTarget>(options);
}

}  // namespace tailrace::target
