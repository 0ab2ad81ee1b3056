#pragma once
// PostgresTarget: what open_postgres() makes. See target.h for the contract, and for the thread. Its tables and
// what belongs to them are in postgres_tables.cpp, what is applied to them in postgres_target.cpp.

#include <set>

#include "base/kill_point.h"
#include "base/log.h"
#include "base/sql_text.h"
#include "target/postgres/bookkeeping.h"
#include "target/postgres/books_format.h"
#include "target/postgres/books_rights.h"
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
#include "target/postgres/server_probe.h"
#include "target/postgres/skip_notes.h"
#include "target/postgres/structure_builder.h"
#include "target/postgres/structure_following.h"
#include "target/postgres/table_checks.h"
#include "target/postgres/table_evolution.h"
#include "target/postgres/table_plans.h"
#include "target/postgres/target_user.h"

namespace tailrace::target::postgres {

class PostgresTarget : public Target, SkipBook, Quarantine {
 public:
  explicit PostgresTarget(const PostgresOptions& options);

  std::optional<Checkpoint> checkpoint() const override { return checkpoint_; }
  std::vector<TableRecord> tables() const override;

  void follows(const std::string& source) override { conflicts_.follows(source); }
  std::vector<TableRefused> check_tables(const std::vector<schema::Table>& tables) override;
  std::vector<TableRefused> check_followed() override { return find_unlogged(books_connection_, records_); }
  void forget_unfinished(const std::vector<schema::Table>& tables) override;
  void prepare_structure(const std::vector<schema::Table>& tables, const schema::ReadStructure& read) override;
  void complete_structure(const StopSignal& stop) override;
  bool wants_structure() const override { return structure_wanted_ || made_.gave_way(); }
  void follow_structure(const schema::ReadStructure& read) override;
  bool structure_is_complete() override;
  void create_table(const schema::Table& table) override;
  void check_rows(const std::vector<schema::Table>& tables, const std::set<Oid>& coming) override;
  void adopt(const schema::Table& table, Lsn at) override;
  void drop_table(Oid table) override;
  void give_up_name(Oid /*table*/) override {}  // prepare_structure() moves it out of the way
  void settle_moved(Oid table, const NameAtSource& now) override;
  void mark_for_copy(Oid table, const std::string& reason) override;
  void hold(const NamedTable& table, const std::string& reason) override;
  void expect_copies(const std::vector<NamedTable>& tables) override;
  void note_storage(const std::map<Oid, std::string>& storage) override;
  void begin_anew(const Checkpoint& nowhere) override;
  void initialize(const Checkpoint& checkpoint) override;

  std::unique_ptr<TargetProbe> probe() const override {
    return std::make_unique<ServerProbe>(options_.conninfo, options_.subscription + " probe");
  }

  bool takes_raw_text() const override { return books_connection_.raw_text(); }
  bool reads_binary(const schema::Table& table) const override { return copies_.reads_binary(table); }
  const schema::Table* first_not_binary(const std::vector<schema::Table>& tables) override {
    return copies_.first_not_binary(books_connection_, tables, records_);
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
  void hurry(bool hurried) override { hurried_ = hurried; }
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
  bool take_back(Lsn commit_lsn) override;
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
  void copy_for_a_partition(Oid table, const std::string& why);
  void check_tables_again(const Error& error);
  void show_all();
  void make_ready(const schema::Table& table, std::optional<Lsn> taken_at);
  void empty(const TargetTable& there);
  void fit_anew(const schema::Table& table, TargetTable& there);
  TableRecord known_or_named(const NamedTable& table) const;
  void show_empty(const TableName& name);
  void discard(const std::vector<HiddenTables::Root>& roots);
  void refuse_code_of_made(const std::vector<schema::Table>& tables);
  bool frees_name(const TableName& name);
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
  SequenceKeeper sequences_{books_connection_, ownership_of_sequences(options_)};
  FlushWatch flush_watch_{books_connection_};
  MadeObjects made_{books_connection_, options_.subscription};
  Ties ties_;
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
  bool checked_again_ = false;  ///< all tables, since the last commit
  bool hurried_ = false;
  std::set<Oid> asked_;  ///< tables for which structure was followed since the last commit
  bool structure_wanted_ = false;
  bool open_ = false;       ///< the open transaction, once something of it was applied
  bool evolved_ = false;    ///< and it altered tables
  bool restarted_ = false;  ///< and it may have set back sequences
};

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

}  // namespace tailrace::target::postgres
