#include "target/postgres/postgres_target.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <mutex>

#include "base/log.h"
#include "base/sql_text.h"
#include "target/postgres/bookkeeping.h"
#include "target/postgres/copy_writer.h"
#include "target/postgres/lanes.h"
#include "target/postgres/postgres_view.h"
#include "target/postgres/sequence_keeper.h"
#include "target/postgres/structure_builder.h"
#include "target/postgres/table_evolution.h"

namespace tailrace::target {
namespace postgres {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto row_order_at_first = std::chrono::seconds(1);
// Some fifty thousand changes: sorted by key, more of them do not lie much closer together.
constexpr std::size_t worth_a_commit = 8 << 20;
// Each asking is a round trip.
constexpr auto ask_for_flush_every = std::chrono::milliseconds(20);
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

  std::size_t batch_bytes() const override;
  void begin() override;
  void apply(Oid table, const TableBatch& batch) override;
  void take(Oid table, TableBatch batch, std::shared_ptr<const void> borrowed) override;
  bool needs_row_order(Oid table) const override;
  void apply_in_order(Oid table, const RowRun& run) override;
  bool truncates_together() const override { return true; }
  void truncate(const std::vector<Oid>& tables, const Truncate& how) override;
  void evolve(Oid table, const Evolution& evolution) override;
  void commit(const Checkpoint& checkpoint) override;
  void commit_soon(const Checkpoint& checkpoint) override;
  void settle() override;
  Lsn durable() override;
  void rollback() noexcept override;
  std::int64_t keep_sequences(pg::Connection& source, const std::vector<Oid>& tables,
                              std::int64_t margin) override {
    return sequences_.keep_ahead(source, tables, margin);
  }
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
  void keep_row_order(Oid table, const std::string& reason);
  const std::shared_ptr<const TablePlan>& plan_for(Oid table, const std::shared_ptr<const Relation>& relation);
  Lane& alone();
  pg::Connection& catalogs();
  void note(const Lanes::Committed& committed);
  void note_flushed(Lsn flushed);
  std::unique_ptr<pg::Connection> copy_connection();

  PostgresOptions options_;
  pg::Connection books_connection_;  ///< for what is not part of applying
  Bookkeeping books_;
  SequenceKeeper sequences_{books_connection_};
  Lanes lanes_;
  std::optional<Checkpoint> checkpoint_;  ///< committed
  std::map<Oid, TableRecord> records_;
  std::map<Oid, std::shared_ptr<const TablePlan>> plans_;
  std::map<Oid, RowOrder> row_order_;
  bool deferrable_ = true;      ///< the target has constraints that can be checked late
  std::optional<Group> taken_;  ///< the open transaction, as long as nothing of it was applied
  bool open_ = false;           ///< the open transaction, once something of it was applied
  bool evolved_ = false;        ///< and it altered tables
  std::deque<Commit> unflushed_;
  Clock::time_point asked_for_flush_{};
  Lsn durable_;

  mutable std::mutex copy_mutex_;  ///< guards what copies on other threads use
  mutable pg::Connection catalog_connection_;
  std::map<Oid, std::pair<std::string, std::string>> copy_names_;  ///< table -> SQL name, column list
  std::vector<std::unique_ptr<pg::Connection>> idle_;
};

PostgresTarget::PostgresTarget(const PostgresOptions& options)
    : options_(options),
      books_connection_(pg::Connection::open(options.conninfo, {pg::Mode::sql, options.subscription})),
      books_(books_connection_, options.subscription),
      lanes_(options.conninfo, options.subscription, options.connections, books_.advance_sql()),
      catalog_connection_(
          pg::Connection::open(options.conninfo, {pg::Mode::sql, options.subscription + " catalog"})) {
  books_.lock();
  checkpoint_ = books_.read_checkpoint();
  records_ = books_.read_tables();
  // What was committed may not have been flushed by whoever committed it.
  if (checkpoint_) initialize(*checkpoint_);
}

std::vector<TableRecord> PostgresTarget::tables() const {
  std::vector<TableRecord> out;
  for (const auto& [oid, record] : records_) {
    out.push_back(record);
    auto order = row_order_.find(oid);
    if (order == row_order_.end()) continue;
    auto& note = out.back().note;
    note += fmt::format("{}applied row by row: {}", note.empty() ? "" : "; ", order->second.reason);
  }
  return out;
}

/// A transaction of its own that is flushed before it returns.
template <typename Change>
void PostgresTarget::durably(const Change& change) {
  TAILRACE_CHECK(lanes_.idle());
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
  check_roles(books_connection_, structure.roles);
  auto first = structure.before_data;
  for (auto& note : books_.notes_of(structure)) first.push_back(std::move(note));
  schema::run_structure(books_connection_, first);
}

void PostgresTarget::complete_structure(const StopSignal& stop) {
  build_pending(books_connection_, books_, options_.conninfo, options_.subscription, stop);
  plans_.clear();
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

std::unique_ptr<pg::Connection> PostgresTarget::copy_connection() {
  {
    std::lock_guard lock(copy_mutex_);
    if (!idle_.empty()) {
      auto out = std::move(idle_.back());
      idle_.pop_back();
      return out;
    }
  }
  auto out = std::make_unique<pg::Connection>(
      pg::Connection::open(options_.conninfo, {pg::Mode::sql, options_.subscription + " copy"}));
  out->query("set session_replication_role = replica; set synchronous_commit = off", "preparing to copy");
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
  return std::make_unique<PostgresCopyWriter>(std::move(connection), sql + (binary ? " (format binary)" : ""),
                                              "copying into " + names.first, binary,
                                              [this](std::unique_ptr<pg::Connection> used) {
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

/// What was altered in the open transaction only that sees.
pg::Connection& PostgresTarget::catalogs() {
  return open_ ? lanes_.alone().session().direct() : books_connection_;
}

const std::shared_ptr<const TablePlan>& PostgresTarget::plan_for(
    Oid table, const std::shared_ptr<const Relation>& relation) {
  auto found = plans_.find(table);
  if (found != plans_.end() && found->second->relation == relation) return found->second;
  const auto& record = records_.at(table);
  auto there = load_table(catalogs(), record.schema, record.name);
  if (!there) {
    throw Error(Retry::needs_operator,
                fmt::format("the target has no table {} any more", relation->qualified()),
                fmt::format("'tailrace run --recopy {}' makes and copies it anew", relation->qualified()));
  }
  if (!there->row_order.empty()) row_order_[table] = {there->row_order, Clock::time_point::max(), {}};
  auto late = catalogs().query("select exists (select from pg_constraint where condeferrable)",
                               "reading the target's catalogs");
  deferrable_ = late.flag(0, 0);
  auto plan = std::make_shared<const TablePlan>(table, relation, std::move(*there));
  return plans_.insert_or_assign(table, std::move(plan)).first->second;
}

std::size_t PostgresTarget::batch_bytes() const {
  return worth_a_commit;
}

void PostgresTarget::begin() {
  taken_.emplace();
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
  lane.begin(deferrable_);
  for (const auto& work : group.works)
    lane.write(*work.plan, work.batch, SetChanges::of(*work.plan, work.batch));
  return lane;
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
    if (failed.table != 0 && !needs_row_order(failed.table)) {
      keep_row_order(failed.table, failed.error.message());
      throw NeedsRowOrder(failed.error.message());
    }
    Error error(Retry::needs_operator, named(failed.table, failed.error.message(), failed.commit_lsn),
                "Mend the target's row or constraint and start again: nothing of this transaction was applied");
    throw Error(error.with_sqlstate(failed.error.sqlstate()));
  } catch (const RowOrderNeeded& needed) {
    keep_row_order(needed.table, needed.reason);
    throw NeedsRowOrder(needed.reason);
  } catch (const RowMissing& missing) {
    throw Error(Retry::needs_operator,
                named(missing.table, fmt::format("{} is of a row that the target does not have", missing.what),
                      missing.commit_lsn),
                "Something else changed the target's table. 'tailrace verify' shows the differences; "
                "'tailrace run --recopy SCHEMA.TABLE' copies the table anew");
  }
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
  auto order = row_order_.find(table);
  return order != row_order_.end() && Clock::now() < order->second.until;
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
  guarded([&] { alone().write(*plan_for(table, run.relation), run); });
}

void PostgresTarget::truncate(const std::vector<Oid>& tables, const Truncate& how) {
  guarded([&] {
    auto& connection = alone().session().direct();
    std::string list;
    for (Oid table : tables) {
      const auto& record = records_.at(table);
      auto there = load_table(connection, record.schema, record.name);
      bool partitioned = there && there->kind == 'p';
      list += fmt::format("{}{}{}", list.empty() ? "" : ", ", partitioned ? "" : "only ", record.target_name);
    }
    connection.query(fmt::format("truncate {}{}{}", list, how.restart_identity ? " restart identity" : "",
                                 how.cascade ? " cascade" : ""),
                     "emptying tables");
  });
}

void PostgresTarget::evolve(Oid table, const Evolution& evolution) {
  guarded([&] {
    auto& lane = alone();
    auto record = records_.at(table);
    auto& connection = lane.session().direct();
    evolved_ = true;
    evolve_table(connection, record, evolution);
    // Part of the open transaction, unlike other notes.
    Bookkeeping(connection, options_.subscription).put_table(record);
    records_.insert_or_assign(table, record);
    plans_.erase(table);
    lanes_.forget_statements();
  });
}

void PostgresTarget::commit(const Checkpoint& checkpoint) {
  guarded([&] {
    auto landed = alone().commit(checkpoint, books_.advance_sql());
    open_ = evolved_ = false;
    note({checkpoint, landed});
  });
}

void PostgresTarget::commit_soon(const Checkpoint& checkpoint) {
  if (open_ || lanes_.count() == 1) return commit(checkpoint);
  guarded([&] {
    Group group = std::move(*taken_);
    taken_.reset();
    group.checkpoint = checkpoint;
    group.deferrable = deferrable_;
    lanes_.give(std::move(group));
  });
  for (const auto& committed : lanes_.committed()) note(committed);
}

void PostgresTarget::settle() {
  guarded([&] { lanes_.settle(); });
  for (const auto& committed : lanes_.committed()) note(committed);
}

void PostgresTarget::note(const Lanes::Committed& committed) {
  checkpoint_ = committed.checkpoint;
  unflushed_.push_back({committed.landed.end, committed.checkpoint.lsn});
  note_flushed(committed.landed.flushed);
}

void PostgresTarget::note_flushed(Lsn flushed) {
  while (!unflushed_.empty() && unflushed_.front().at_target <= flushed) {
    durable_ = std::max(durable_, unflushed_.front().position);
    unflushed_.pop_front();
  }
}

Lsn PostgresTarget::durable() {
  auto now = Clock::now();
  if (unflushed_.empty() || open_ || now - asked_for_flush_ < ask_for_flush_every) return durable_;
  asked_for_flush_ = now;
  auto row =
      books_connection_.query("select pg_catalog.pg_current_wal_flush_lsn()", "reading the target's position");
  note_flushed(row.lsn(0, 0));
  return durable_;
}

void PostgresTarget::rollback() noexcept {
  lanes_.abandon();
  for (const auto& committed : lanes_.committed()) note(committed);
  taken_.reset();
  if (!std::exchange(open_, false)) return;
  lanes_.alone().rollback();
  if (!std::exchange(evolved_, false)) return;
  try {
    records_ = books_.read_tables();
    plans_.clear();
    lanes_.forget_statements();
  } catch (const std::exception& error) {
    // The next use of the connection fails with the same cause and is reported there.
    log::debug("target", "undoing failed: {}", error.what());
  }
}

void PostgresTarget::tidy() {
  settle();
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
  connection.query("begin", purpose);
  books.remove_all();
  auto others = connection.query(
      "select exists (select from tailrace.checkpoint) or exists (select from tailrace.tables)", purpose);
  if (!others.flag(0, 0)) connection.query("drop schema tailrace cascade", purpose);
  connection.query("commit", purpose);
  connection.query("select pg_catalog.pg_replication_origin_drop(roname) from pg_replication_origin where " +
                       is_origin_of(options.subscription),
                   purpose);
  return ours;
}

}  // namespace postgres

postgres::SequencesSet sync_sequences_postgres(const PostgresOptions& options, pg::Connection& source,
                                               const std::vector<Oid>& tables) {
  auto target = pg::Connection::open(options.conninfo, {pg::Mode::sql, options.subscription + " sequences"});
  return postgres::set_sequences_exactly(source, tables, target);
}

bool forget_postgres(const PostgresOptions& options) {
  return postgres::remove_traces(options);
}

std::unique_ptr<Target> open_postgres(const PostgresOptions& options) {
  return std::make_unique<postgres::PostgresTarget>(options);
}

}  // namespace tailrace::target
