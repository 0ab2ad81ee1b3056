#include "target/postgres/postgres_target.h"

#include <algorithm>
#include <set>

#include "base/kill_point.h"
#include "base/log.h"
#include "base/sql_text.h"
#include "target/postgres/bookkeeping.h"
#include "target/postgres/books_format.h"
#include "target/postgres/conflict_handling.h"
#include "target/postgres/copies.h"
#include "target/postgres/deletions.h"
#include "target/postgres/emptying.h"
#include "target/postgres/flush_watch.h"
#include "target/postgres/hidden_tables.h"
#include "target/postgres/kept_changes.h"
#include "target/postgres/lanes.h"
#include "target/postgres/mended_rows.h"
#include "target/postgres/postgres_view.h"
#include "target/postgres/refusals.h"
#include "target/postgres/replay.h"
#include "target/postgres/row_orders.h"
#include "target/postgres/sequence_keeper.h"
#include "target/postgres/skip_notes.h"
#include "target/postgres/structure_builder.h"
#include "target/postgres/structure_following.h"
#include "target/postgres/table_checks.h"
#include "target/postgres/table_evolution.h"
#include "target/postgres/table_plans.h"
#include "target/postgres/target_user.h"

namespace tailrace::target {
namespace postgres {
namespace {

// Sorted by key, more changes do not lie much closer together, and the connections would share them out less
// evenly. What is staged of so many bytes has room in the usual temp_buffers.
constexpr Target::Worth enough{.bytes = 8 << 20, .changes = 50'000};
constexpr const char* deadlock = "40P01";
constexpr const char* unique_violation = "23505";

/// What is asked, and told, before tailrace makes tables of its own, which takes a while.
pg::Connection& looked_at(pg::Connection& connection, const PostgresOptions& options) {
  check_books_owner(connection);
  if (options.before_writing) options.before_writing(connection, is_set_up(connection, options.subscription));
  check_writable(connection);
  if (!options.found_empty || options.structure != StructureMode::copy) return connection;
  auto tables = connection.query(
      "select exists (select from pg_catalog.pg_class where oid >= 16384 "
      "and relkind in ('r', 'p', 'v', 'm', 'f', 'S') and relnamespace <> "
      "coalesce(pg_catalog.to_regnamespace('tailrace')::oid, 0)) or exists (select from pg_catalog.pg_type "
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

class PostgresTarget : public Target, SkipBook, Quarantine {
 public:
  explicit PostgresTarget(const PostgresOptions& options);

  std::optional<Checkpoint> checkpoint() const override { return checkpoint_; }
  std::vector<TableRecord> tables() const override;

  void follows(const std::string& source) override { conflicts_.follows(source); }
  std::vector<TableRefused> check_tables(const std::vector<schema::Table>& tables) override;
  void prepare_structure(const std::vector<schema::Table>& tables, const schema::ReadStructure& read) override;
  void complete_structure(const StopSignal& stop) override;
  bool wants_structure() const override { return structure_wanted_ || made_.gave_way(); }
  void follow_structure(const schema::ReadStructure& read) override;
  bool structure_is_complete() override { return books_.read_pending().empty(); }
  void create_table(const schema::Table& table) override;
  void check_rows(const std::vector<schema::Table>&) override {}  // check_tables() did
  void adopt(const schema::Table& table, Lsn at) override;
  void drop_table(Oid table) override;
  void give_up_name(Oid /*table*/) override {}  // prepare_structure() moves it out of the way
  void settle_moved(Oid table, const NameAtSource& now) override;
  void mark_for_copy(Oid table, const std::string& reason) override;
  void hold(const HeldTable& table, const std::string& reason) override;
  void note_storage(const std::map<Oid, std::string>& storage) override;
  void initialize(const Checkpoint& checkpoint) override;

  bool takes_raw_text() const override { return books_connection_.raw_text(); }
  bool reads_binary(const schema::Table& table) const override { return copies_.reads_binary(table); }
  const schema::Table* first_not_binary(const std::vector<schema::Table>& tables) const override {
    return copies_.first_not_binary(tables, records_);
  }
  std::unique_ptr<CopyWriter> copy(Oid table, bool binary, bool alone) override {
    return copies_.begin(table, binary, alone);
  }
  void finish_copy(Oid table, Lsn snapshot, std::int64_t rows) override;
  void free_reader() override { indexes_.lend(); }

  Worth worth_a_commit() const override;
  void begin() override;
  void apply(Oid table, const TableBatch& batch) override;
  void take(Oid table, TableBatch batch, std::shared_ptr<const void> borrowed) override;
  bool needs_row_order(Oid table) const override;
  void apply_in_order(Oid table, const RowRun& run) override;
  bool mend(Oid table, const RowRun& run) override;
  bool truncates_together() const override { return true; }
  std::map<Oid, ConflictCounts> take_conflicts() override { return conflicts_.take_counts(); }
  void truncate(const std::vector<Oid>& tables, const Truncate& how, const ChangePlace& place) override;
  void evolve(Oid table, const Evolution& evolution) override;
  bool one_transaction_a_commit() const override {
    return conflicts_.by_time() || (checkpoint_ && checkpoint_->lsn < singly_until_);
  }
  void commit(const Checkpoint& checkpoint) override;
  void commit_soon(const Checkpoint& checkpoint) override;
  void settle() override;
  Lsn durable() override;
  void rollback() noexcept override;
  bool applies_ahead() const override { return !conflicts_.by_time(); }
  void apply_ahead(const std::shared_ptr<AheadTransaction>& transaction, Oid table, TableBatch batch,
                   std::shared_ptr<const void> borrowed) override;
  bool commit_ahead(AheadTransaction& transaction, const Checkpoint& checkpoint) override;
  void give_up_ahead() noexcept override;
  void interrupt() noexcept override {
    lanes_.interrupt();
    copies_.interrupt();
    books_connection_.cancel_or_cut();
  }
  std::int64_t keep_sequences(pg::Connection& source, const std::vector<Oid>& tables,
                              std::int64_t margin) override {
    return sequences_.keep_ahead(source, tables, margin);
  }
  void tidy() override;
  std::unique_ptr<TargetView> view() override;
  SkipBook* skips() override { return this; }
  Quarantine* quarantine() override { return this; }

 private:
  std::vector<SkipNote> read() override { return skip_notes_.read(); }
  void note(Lsn commit_lsn) override;
  void use(Lsn commit_lsn, const std::string& left_out) override;
  void give_up(Lsn commit_lsn) override;
  const std::map<Oid, KeptBack>& kept_back() const override { return kept_.all(); }
  std::int64_t replay(Oid table, bool discard) override;

  template <typename Change>
  void durably(const Change& change);
  template <typename Work>
  void guarded(const Work& work);
  void look_closer(Oid table, const std::string& reason);
  void try_in_order(Oid table, const std::string& reason);
  [[noreturn]] void find_refused_commit(const Error& error);
  void follow_first(Oid table, const Error& error);
  void show_all();
  void forget_kept(Oid table);
  schema::StructureOptions structure_options() {
    return postgres::structure_options(books_connection_, options_);
  }
  void take_names_of(const std::vector<Claim>& claims);
  const std::shared_ptr<const TablePlan>& plan_for(Oid table, const std::shared_ptr<const Relation>& relation);
  Lane& alone();
  void note(const Lanes::Committed& committed);

  PostgresOptions options_;
  pg::Connection books_connection_;  ///< for what is not part of applying
  Bookkeeping books_;
  HiddenTables hidden_;
  IndexBuilder indexes_;
  SequenceKeeper sequences_{books_connection_};
  FlushWatch flush_watch_{books_connection_};
  MadeObjects made_{books_connection_, options_.subscription};
  Lanes lanes_;
  mutable Copies copies_;
  ConflictHandling conflicts_;
  KeptChanges kept_;
  Refusals refusals_;
  SkipNotes skip_notes_;
  std::optional<Checkpoint> checkpoint_;  ///< committed
  std::map<Oid, TableRecord> records_;
  std::map<Oid, TargetTable> found_;  ///< by the last look at all of them, until they are made
  RowOrders row_orders_;
  TablePlans plans_{row_orders_, conflicts_};
  Lsn given_until_;             ///< by the last commit, which may be on its way
  Lsn singly_until_;            ///< a commit up to here was refused
  std::set<Oid> ahead_;         ///< tables of the transaction ahead
  std::optional<Group> taken_;  ///< the open transaction, as long as nothing of it was applied
  std::set<Oid> asked_;         ///< tables for which structure was followed since the last commit
  bool structure_wanted_ = false;
  bool open_ = false;       ///< the open transaction, once something of it was applied
  bool evolved_ = false;    ///< and it altered tables
  bool restarted_ = false;  ///< and it may have set back sequences
};

PostgresTarget::PostgresTarget(const PostgresOptions& options)
    : options_(options),
      books_connection_(pg::Connection::open(options.conninfo, {pg::Mode::sql, options.subscription})),
      books_(looked_at(books_connection_, options), options.subscription),
      hidden_(books_connection_, options.subscription),
      indexes_(options.conninfo, options.subscription, books_),
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

std::vector<TableRefused> PostgresTarget::check_tables(const std::vector<schema::Table>& tables) {
  return check_can_take(books_connection_, hidden_, tables, records_, options_).refused;
}

/// Gives what is ours its name, and makes room for what is to be made.
void PostgresTarget::take_names_of(const std::vector<Claim>& claims) {
  if (claims.empty()) return;
  auto records = records_;
  durably([&] {
    for (Oid table : take_names(books_connection_, records, claims)) books_.put_table(records.at(table));
  });
  records_ = std::move(records);
  for (const auto& claim : claims) {
    auto known = records_.find(claim.table);
    if (known == records_.end()) continue;
    if (auto own = find_own_table(books_connection_, known->second))
      found_.insert_or_assign(claim.table, std::move(*own));
  }
  plans_.forget_all();
}

void PostgresTarget::prepare_structure(const std::vector<schema::Table>& tables,
                                       const schema::ReadStructure& read) {
  if (copies_.looked_for()) show_all();
  auto checked = check_can_take(books_connection_, hidden_, tables, records_, options_);
  if (!checked.refused.empty()) throw checked.refused.front();
  bool left = false;
  for (Oid root : checked.left) {
    // Its changes from before that copy are of the partition too.
    if (!records_.at(root).copied) continue;
    mark_for_copy(root, "a partition left it");
    left = true;
  }
  if (left) throw RestartFromCheckpoint("a table lost a partition that is followed by itself now");
  for (const auto& table : tables) found_.erase(table.oid);
  for (auto& [oid, there] : checked.found) found_.insert_or_assign(oid, std::move(there));
  take_names_of(checked.claims);
  std::vector<Oid> missing;
  std::vector<Oid> known;
  std::vector<schema::Table> made;
  for (const auto& table : tables) {
    if (!found_.contains(table.oid)) {
      missing.push_back(table.oid);
      made.push_back(table);
    } else if (records_.contains(table.oid)) {
      known.push_back(table.oid);
    }
  }
  if (options_.structure == StructureMode::copy) {
    tailrace::target::postgres::follow_structure(books_connection_, made_, records_, known, read,
                                                 structure_options());
    for (const auto& table : tables) {
      if (records_.contains(table.oid)) check_types(made_, table);
    }
  }
  copies_.hides(!hidden_.left().empty());
  if (missing.empty()) return;
  log::info("target", "making {} tables, and what belongs to them, like the source's", missing.size());
  auto how = structure_options();
  made_.forget();
  how.leaves_out = [&](const auto& objects) {
    return made_.present(objects, [](const auto& /*object*/) { return true; });
  };
  for (const auto& [oid, record] : records_) {
    if (record.target_oid != 0 && !record.is_moved() && std::ranges::find(missing, oid) == missing.end())
      how.followed.push_back(oid);
  }
  auto structure = read(missing, how);
  check_makeable(books_connection_, made_, made, structure);
  check_roles(books_connection_, structure.roles);
  check_row_security(books_connection_, structure.forced);
  auto first = structure.before_data;
  auto later = books_.number(structure);
  for (const auto& pending : later) first.push_back(books_.note(pending));
  for (auto& note : made_.notes()) first.push_back(std::move(note));
  // Where no row is copied, none is missing.
  bool hide = !options_.keep_rows && !copies_.looked_for() && hidden_.possible();
  schema::run_structure(books_connection_, first, schema::Missing::refused, [&] {
    if (hide) hidden_.hide(names_of(made));
    kill_point("postgres.structure.made");
  });
  kill_point("postgres.structure.committed");
  copies_.hides(!hidden_.left().empty());
  std::erase_if(later, [](const auto& pending) { return !pending.parallel; });
  indexes_.expect(later);
  // Hidden, or in their places.
  auto now = hidden_.find(names_of(made));
  now.merge(load_tables(books_connection_, names_of(made)));
  for (const auto& table : made) {
    auto there = now.find({table.schema, table.name});
    if (there != now.end()) found_.try_emplace(table.oid, std::move(there->second));
  }
}

void PostgresTarget::follow_structure(const schema::ReadStructure& read) {
  std::vector<Oid> tables;
  for (const auto& [oid, record] : records_) {
    if (record.copied && !record.is_held() && !record.is_moved()) tables.push_back(oid);
  }
  tailrace::target::postgres::follow_structure(books_connection_, made_, records_, tables, read,
                                               structure_options());
  structure_wanted_ = false;
  plans_.forget_all();
}

void PostgresTarget::complete_structure(const StopSignal& stop) {
  // What was made for a copy that nobody wants any more. What is still to be made may lean on it.
  for (const auto& [schema, name] : hidden_.left()) {
    log::warn("target", "{}.{} was made at the target, and is not copied any more: it stays there, empty",
              schema, name);
  }
  show_all();
  hidden_.tidy();
  build_pending(books_connection_, books_, indexes_, stop);
  made_.identify(!stop.requested());
  plans_.forget_all();
  copies_.close_idle();
  found_.clear();
  if (stop.requested()) return;
  std::vector<TableRecord> tables;
  for (const auto& [oid, record] : records_) tables.push_back(record);
  conflicts_.start(books_connection_, lanes_.alone().has_origin(), tables);
}

/// Empty, into their places.
void PostgresTarget::show_all() {
  for (const auto& name : hidden_.left()) {
    durably([&] {
      books_connection_.query("set local session_replication_role = replica", "emptying a table");
      for (const auto& [_, there] : hidden_.find({name})) {
        empty_tables(books_connection_, {{{there.sql_name(), there.kind == 'p'}}}, false);
        for (auto& [oid, record] : records_) {
          if (record.target_oid != there.oid) continue;
          record.target_schema = name.first;
          record.target_table = name.second;
          record.target_name = quote_qualified(name.first, name.second);
          books_.put_table(record);
        }
      }
      hidden_.show(name);
    });
  }
}

void PostgresTarget::create_table(const schema::Table& table) {
  auto known = records_.find(table.oid);
  std::optional<TargetTable> there;
  if (auto found = found_.extract(table.oid)) {
    there = std::move(found.mapped());
  } else if (known != records_.end()) {
    there = find_own_table(books_connection_, known->second);
  }
  if (!there) throw Error(Retry::fatal, fmt::format("the target lost its table {}", table.qualified()));
  TableRecord record;
  durably([&] {
    // What the copy will not overwrite must not double its rows. Triggers stay silent.
    books_connection_.query("set local session_replication_role = replica", "emptying a table");
    auto rows = books_connection_.query(
        fmt::format("select exists (select from {}{})", there->kind == 'p' ? "" : "only ", there->sql_name()),
        "looking at " + table.qualified());
    if (rows.flag(0, 0) && !options_.keep_rows)
      empty_tables(books_connection_, {{{there->sql_name(), there->kind == 'p'}}}, false);
    if (known != records_.end() && known->second.target_oid == there->oid &&
        options_.structure == StructureMode::copy && !options_.keep_rows) {
      for_table(table.oid, [&] {
        fit_columns(books_connection_, known->second, table, made_);
        there = own_table(books_connection_, known->second);
        check_columns(table, *there);
      });
    }
    forget_kept(table.oid);
    forget_deletions_of(books_connection_, *there);
    record = record_of(table, *there);
    books_.put_table(record);
  });
  records_.insert_or_assign(table.oid, record);
  structure_wanted_ |= !made_.to_make_again().empty();
  copies_.know(TablePlan(table.oid, relation_of(table), *there));
}

/// What the table holds is left alone: see keep_rows.
void PostgresTarget::adopt(const schema::Table& table, Lsn at) {
  TAILRACE_CHECK(options_.keep_rows);
  create_table(table);
  finish_copy(table.oid, at, 0);
}

/// The table at the target stays: whether its rows are still wanted, only its owner knows.
void PostgresTarget::drop_table(Oid table) {
  durably([&] {
    forget_kept(table);
    books_.remove_table(table);
  });
  records_.erase(table);
}

void PostgresTarget::settle_moved(Oid table, const NameAtSource& now) {
  auto record = records_.at(table);
  bool ours = find_own_table(books_connection_, record).has_value();
  if (ours && now) {
    Claim claim{table, now->first, now->second};
    auto whose = occupants(books_connection_, records_, {claim}).front().whose;
    if (whose == Occupant::Whose::nobody) take_names_of({claim});
  } else if (ours) {
    try {
      drop_moved(books_connection_, record);
      log::info("target", "{} went, as the source has it no more and gave its name to another table",
                record.target_name);
    } catch (const Error& error) {
      if (error.retry() == Retry::transient) throw;
      log::warn("target", "{} is of a table that the source has no more; it stays: {}", record.target_name,
                error.message());
    }
  }
  drop_table(table);
}

void PostgresTarget::mark_for_copy(Oid table, const std::string& reason) {
  auto record = records_.at(table);
  log::info("target", "{} will be copied anew: {}", record.target_name, reason);
  if (record.target_oid == 0) {
    // Held before it was made here: what has its name at the target is not ours to empty.
    durably([&] { books_.remove_table(table); });
    records_.erase(table);
    return;
  }
  record.copied = false;
  record.held.clear();
  durably([&] { books_.put_table(record); });
  records_.insert_or_assign(table, record);
}

void PostgresTarget::hold(const HeldTable& table, const std::string& reason) {
  TableRecord record;
  if (auto known = records_.find(table.oid); known != records_.end()) {
    record = known->second;
  } else {
    record.oid = table.oid;
    record.schema = table.schema;
    record.name = table.name;
    record.target_name = quote_qualified(table.schema, table.name);
  }
  record.copied = false;
  record.held = reason;
  durably([&] { books_.put_table(record); });
  records_.insert_or_assign(table.oid, record);
}

void PostgresTarget::note_storage(const std::map<Oid, std::string>& storage) {
  auto changed = records_;
  durably([&] {
    for (const auto& [table, noted] : storage) {
      changed.at(table).storage = noted;
      books_.put_table(changed.at(table));
    }
  });
  records_ = std::move(changed);
}

void PostgresTarget::initialize(const Checkpoint& checkpoint) {
  durably([&] { books_.put_checkpoint(checkpoint); });
  checkpoint_ = checkpoint;
  flush_watch_.begin_at(checkpoint.lsn);
}

/// This commit is flushed, and with it all that the copy's connections committed before.
void PostgresTarget::finish_copy(Oid table, Lsn snapshot, std::int64_t rows) {
  auto record = records_.at(table);
  record.copied = true;
  record.copied_at = snapshot;
  record.rows_copied = rows;
  durably([&] {
    if (hidden_.show({record.schema, record.name})) {
      record.target_schema = record.schema;
      record.target_table = record.name;
      record.target_name = quote_qualified(record.schema, record.name);
    }
    books_.put_table(record);
    kill_point("postgres.copy.finished");
  });
  kill_point("postgres.copy.committed");
  records_.insert_or_assign(table, record);
  indexes_.allow(table);
}

const std::shared_ptr<const TablePlan>& PostgresTarget::plan_for(
    Oid table, const std::shared_ptr<const Relation>& relation) {
  if (const auto* plan = plans_.find(table, relation)) return *plan;
  // What was altered in the open transaction only that sees.
  auto& catalogs = open_ ? lanes_.alone().session().direct() : books_connection_;
  return for_table(table, [&]() -> const std::shared_ptr<const TablePlan>& {
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
    throw;
  }
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
        return evolve_table(connection, records_, table, evolution, checkpoint_->lsn, made_);
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
    auto landed = alone().commit(checkpoint, books_.advance_sql(), conflicts_.by_time());
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
  checkpoint_ = committed.checkpoint;
  flush_watch_.committed(committed.landed, committed.checkpoint.lsn);
}

Lsn PostgresTarget::durable() {
  if (!open_) flush_watch_.look();
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
  return std::make_unique<PostgresView>(options_.conninfo, options_.subscription);
}

}  // namespace

}  // namespace postgres

postgres::SequencesSet sync_sequences_postgres(const PostgresOptions& options, pg::Connection& source,
                                               const std::vector<Oid>& tables) {
  auto target = pg::Connection::open(options.conninfo, {pg::Mode::sql, options.subscription + " sequences"});
  return postgres::set_sequences_exactly(source, tables, target);
}

std::unique_ptr<Target> open_postgres(const PostgresOptions& options) {
  return std::make_unique<postgres::PostgresTarget>(options);
}

}  // namespace tailrace::target
