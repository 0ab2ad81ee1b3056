#include "target/duckdb/duckdb_target.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/kill_point.h"
#include "base/log.h"
#include "base/sql_text.h"
#include "target/duckdb/adoption.h"
#include "target/duckdb/chosen_types.h"
#include "target/duckdb/copy_writer.h"
#include "target/duckdb/duckdb_view.h"
#include "target/duckdb/file_probe.h"
#include "target/duckdb/mirror.h"
#include "target/duckdb/mirror_format.h"
#include "target/duckdb/skip_notes.h"
#include "target/duckdb/table_copies.h"
#include "target/duckdb/table_shape.h"
#include "target/duckdb/table_writer.h"

namespace tailrace::target {
namespace duckdb {
namespace {

class DuckDbTarget : public Target {
 public:
  explicit DuckDbTarget(const DuckDbOptions& options)
      : database_(share_database({options.file, options.memory_bytes, false, options.file_mode})),
        place_(options.file),
        session_(database_->session()),
        keep_rows_(options.keep_rows),
        mirror_(Mirror::load(session_, options.keep_rows)),
        copies_(session_, mirror_),
        skip_notes_(session_, [this](const auto& change) { durably(change); }, [this] { return durable(); }) {
    mirror_.choose_types(options.types);
    drop_unfinished_copies();
    settle_names();
  }
  ~DuckDbTarget() override;

  std::optional<Checkpoint> checkpoint() const override { return mirror_.checkpoint(); }
  std::vector<TableRecord> tables() const override;

  void forget_unfinished(const std::vector<schema::Table>&) override { drop_unfinished_copies(); }
  void create_table(const schema::Table& table) override;
  bool chooses_otherwise() const override { return mirror_.chooses_otherwise(); }
  void check_chosen_types(const std::vector<schema::Table>& followed) override;
  void check_rows(const std::vector<schema::Table>& tables, const std::set<Oid>& coming) override;
  void adopt(const schema::Table& table, Lsn at) override;
  void drop_table(Oid table) override;
  void mark_for_copy(Oid table, const std::string& reason) override;
  void hold(const NamedTable& table, const std::string& reason) override;
  void expect_copies(const std::vector<NamedTable>& tables) override;
  void note_storage(const std::map<Oid, std::string>& storage) override;
  void begin_anew(const Checkpoint& nowhere) override;
  void initialize(const Checkpoint& checkpoint) override;

  std::unique_ptr<TargetProbe> probe() const override { return std::make_unique<FileProbe>(place_); }
  bool reads_binary(const schema::Table& table) const override;
  std::unique_ptr<CopyWriter> copy(Oid table, bool binary, bool alone) override;
  void finish_copy(Oid table, Lsn snapshot, std::int64_t rows) override;

  void interrupt() noexcept override { duckdb_interrupt(session_.raw()); }
  void begin() override;
  bool is_much(const std::map<Oid, std::size_t>& columns_of_tables) const override {
    return database_->rows_in_memory().is_much(columns_of_tables);
  }
  void apply(Oid table, const TableBatch& batch) override;
  void evolve(Oid table, const Evolution& evolution) override;
  void commit(const Checkpoint& checkpoint) override;
  Lsn durable() override {
    place_.check();
    return mirror_.checkpoint() ? mirror_.checkpoint()->lsn : Lsn{};
  }
  void rollback() noexcept override;
  void tidy() override;
  std::unique_ptr<TargetView> view() override { return std::make_unique<DuckDbView>(database_); }
  SkipBook* skips() override { return &skip_notes_; }

 private:
  /// Runs `change` in a transaction of its own.
  template <typename Change>
  void durably(const Change& change);
  bool begins() const;
  std::optional<MirrorTable> rows_of(const schema::Table& table);
  MirrorTable known_or_named(const NamedTable& table);
  void copy_if_spelled_otherwise(const MirrorTable& table, const Evolution& evolution);
  void widen(Oid table, const MirrorColumn& was, const std::string& value);
  void refuse_altered(Oid table, const Error& error);
  void settle_names();
  void drop_unfinished_copies();

  std::shared_ptr<Database> database_;
  FilePlace place_;
  Session session_;
  bool keep_rows_;
  Mirror mirror_;
  TableCopies copies_;
  SkipNotes skip_notes_;
  mutable std::mutex mirror_mutex_;  ///< copies begin on other threads while tables are created on this one
  std::mutex unfit_mutex_;
  std::set<std::pair<Oid, std::size_t>> unfit_;  ///< columns that a copy found too narrow
  /// Columns, by attnum, that a transaction adds and fills with what does not fit; it was undone, and comes
  /// again.
  std::set<std::pair<Oid, std::int16_t>> text_from_the_start_;
  bool evolved_ = false;  ///< in the transaction in hand
};

/// What a copy that was interrupted left goes at once where the end is an orderly one.
DuckDbTarget::~DuckDbTarget() {
  try {
    rollback();
    drop_unfinished_copies();
  } catch (const std::exception& error) {
    log::debug("target", "unfinished copies stay until the next start: {}", error.what());
  }
}

void DuckDbTarget::drop_unfinished_copies() {
  if (!copies_.any_noted()) return;
  durably([&] { copies_.drop_all(); });
  kill_point("duckdb.drop_copies.committed");
}

std::vector<TableRecord> DuckDbTarget::tables() const {
  std::vector<TableRecord> out;
  for (const auto& [oid, table] : mirror_.tables()) out.push_back(table.record());
  return out;
}

template <typename Change>
void DuckDbTarget::durably(const Change& change) {
  std::lock_guard lock(mirror_mutex_);
  mirror_.make(session_);
  session_.begin();
  try {
    change();
    session_.commit();
  } catch (...) {
    rollback();
    throw;
  }
}

void DuckDbTarget::create_table(const schema::Table& table) {
  // Only this thread changes the mirror, so it may read it without the lock.
  MirrorTable planned = mirror_.plan(table);
  {
    std::lock_guard lock(unfit_mutex_);
    for (const auto& [oid, column] : unfit_) {
      if (oid != table.oid || column >= planned.columns.size()) continue;
      planned.columns[column].type = widen_to_text(planned.columns[column].type);
      planned.columns[column].widened = true;
    }
  }
  std::set<std::size_t> distinct;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    if (table.columns[i].distinct) distinct.insert(i);
  }
  durably([&] {
    mirror_.note_types(session_);
    copies_.start(planned, distinct);
  });
  kill_point("duckdb.create_table.committed");
}

/// Rows that somebody loaded are as of where the stream begins. Once it went on, those of a table that came
/// later are not, and who has its name in the file is a stranger. A checkpoint without a slot is a snapshot's:
/// nothing was followed, though tables that are taken already have the slot's position, which may be older.
bool DuckDbTarget::begins() const {
  const auto& checkpoint = mirror_.checkpoint();
  return !checkpoint || checkpoint->slot.empty() ||
         std::ranges::all_of(mirror_.tables(), [&](const auto& each) {
           return !each.second.copied || each.second.copied_at >= checkpoint->lsn;
         });
}

/// Nothing where there are no tables at all, and of one that comes later: it is made, and begins empty.
std::optional<MirrorTable> DuckDbTarget::rows_of(const schema::Table& table) {
  auto planned = mirror_.plan(table, Mirror::Names::as_found);
  if (mirror_.knows(table.oid) && mirror_.at(table.oid).there) {
    // What is ours already keeps its place, and what it holds in text stays so.
    const auto& ours = mirror_.at(table.oid);
    planned.target_schema = ours.target_schema;
    planned.target_name = ours.target_name;
    return adopted(session_, std::move(planned));
  }
  if (begins() && mirror_.find_loaded(session_, planned)) return adopted(session_, std::move(planned));
  // A snapshot has no slot.
  if (!holds_tables(session_) || (mirror_.checkpoint() && !mirror_.checkpoint()->slot.empty()))
    return std::nullopt;
  throw Error(Retry::needs_operator, fmt::format("the file has no table {}", table.qualified()),
              "Load it too, into the schema of that name, or leave it out (tables:)");
}

void DuckDbTarget::check_rows(const std::vector<schema::Table>& tables, const std::set<Oid>& /*coming*/) {
  for (const auto& table : tables) rows_of(table);
}

void DuckDbTarget::adopt(const schema::Table& table, Lsn at) {
  auto rows = rows_of(table);
  durably([&] {
    mirror_.note_types(session_);
    if (!rows) {
      copies_.start(mirror_.plan(table), {});
      return copies_.finish(table.oid, at, 0);
    }
    rows->copied = true;
    rows->copied_at = at;
    rows->there = true;
    mirror_.put(session_, *rows);
  });
  kill_point("duckdb.adopt.committed");
  settle_names();
}

void DuckDbTarget::drop_table(Oid table) {
  durably([&] {
    copies_.drop(table);
    if (const auto& gone = mirror_.at(table); gone.there)
      session_.query("DROP TABLE " + gone.sql_name(), "dropping a table");
    mirror_.remove(session_, table);
  });
  kill_point("duckdb.drop_table.committed");
  settle_names();
}

void DuckDbTarget::mark_for_copy(Oid table, const std::string& reason) {
  MirrorTable changed = mirror_.at(table);
  log::info("target", "{} will be copied anew: {}", quote_qualified(changed.schema, changed.name), reason);
  durably([&] {
    changed.copied = false;
    changed.held.clear();
    mirror_.put(session_, changed);
  });
  kill_point("duckdb.mark_for_copy.committed");
}

MirrorTable DuckDbTarget::known_or_named(const NamedTable& table) {
  if (mirror_.knows(table.oid)) return mirror_.at(table.oid);
  MirrorTable out;
  out.oid = table.oid;
  out.schema = table.schema;
  out.name = table.name;
  return out;
}

void DuckDbTarget::expect_copies(const std::vector<NamedTable>& tables) {
  durably([&] {
    for (const auto& table : tables) {
      if (!mirror_.knows(table.oid)) mirror_.put(session_, known_or_named(table));
    }
  });
  kill_point("duckdb.expect_copies.committed");
}

void DuckDbTarget::hold(const NamedTable& table, const std::string& reason) {
  durably([&] {
    MirrorTable changed = known_or_named(table);
    changed.copied = false;
    changed.held = reason;
    mirror_.put(session_, changed);
  });
  kill_point("duckdb.hold.committed");
}

void DuckDbTarget::note_storage(const std::map<Oid, std::string>& storage) {
  durably([&] {
    for (const auto& [table, noted] : storage) {
      MirrorTable changed = mirror_.at(table);
      changed.storage = noted;
      mirror_.put(session_, changed);
    }
  });
}

void DuckDbTarget::begin_anew(const Checkpoint& nowhere) {
  durably([&] {
    mirror_.forget_copies(session_);
    mirror_.put_checkpoint(session_, nowhere);
    kill_point("duckdb.begin_anew.before");
  });
  kill_point("duckdb.begin_anew.committed");
}

void DuckDbTarget::initialize(const Checkpoint& checkpoint) {
  durably([&] { mirror_.put_checkpoint(session_, checkpoint); });
  kill_point("duckdb.initialize.committed");
}

bool DuckDbTarget::reads_binary(const schema::Table& table) const {
  std::lock_guard lock(mirror_mutex_);
  MirrorTable planned = mirror_.plan(table);
  for (const auto& column : planned.columns) {
    if (!column.type.binary_readable) return false;
  }
  return true;
}

std::unique_ptr<CopyWriter> DuckDbTarget::copy(Oid table, bool binary, bool /*alone*/) {
  auto must_widen = [this, table](std::size_t column) {
    std::lock_guard lock(unfit_mutex_);
    unfit_.emplace(table, column);
  };
  auto session = database_->session();
  database_->rows_in_memory().make_room(session);
  std::lock_guard lock(mirror_mutex_);
  return std::make_unique<DuckDbCopyWriter>(std::move(session), database_->rows_in_memory(), copies_.at(table),
                                            binary, must_widen);
}

void DuckDbTarget::finish_copy(Oid table, Lsn snapshot, std::int64_t rows) {
  kill_point("duckdb.finish_copy.before");
  durably([&] { copies_.finish(table, snapshot, rows); });
  kill_point("duckdb.finish_copy.committed");
  settle_names();
}

void DuckDbTarget::begin() {
  database_->rows_in_memory().make_room(session_);
  session_.begin();
}

void DuckDbTarget::apply(Oid table, const TableBatch& batch) {
  if (const auto& written = mirror_.at(table); batch.live_rows > 0)
    database_->rows_in_memory().wrote(written.oid, written.columns.size(), batch.live_rows);
  try {
    TableWriter(session_, mirror_.at(table), batch).write();
  } catch (const DoesNotFit& unfit) {
    // Its place may be one that only the transaction gave it.
    MirrorColumn column = mirror_.at(table).columns.at(unfit.column);
    rollback();
    widen(table, column, unfit.value);
    throw RestartFromCheckpoint("a column was widened");
  } catch (const Error& error) {
    refuse_altered(table, error);
    throw;
  }
}

/// Somebody gave the table in the file another shape, or rules of his own: its changes do not fit any more, and
/// nothing is wrong with the others. Returns where that is not what failed.
void DuckDbTarget::refuse_altered(Oid table, const Error& error) {
  if (error.retry() != Retry::fatal) return;
  for (auto sign : {"Constraint Error:", "Catalog Error:", "Binder Error:", "AppendDataChunk", "constraint"}) {
    if (!error.message().contains(sign)) continue;
    throw TableRefused(
        table, fmt::format("{} is not as tailrace left it: {}", mirror_.at(table).sql_name(), error.message()),
        "Take back what was altered of it in the file: a column, a constraint, an index");
  }
}

/// Makes the column hold PostgreSQL's exact text. Its old values keep their meaning to the letter, so this is
/// a transaction of its own, outside of what was being applied. `was`: as the column stood there.
void DuckDbTarget::widen(Oid table, const MirrorColumn& was, const std::string& value) {
  MirrorTable changed = mirror_.at(table);
  if (was.misfit_is_error) throw misfit(changed, was, value);
  auto found = std::ranges::find(changed.columns, was.source.attnum,
                                 [](const MirrorColumn& each) { return each.source.attnum; });
  bool anew = found != changed.columns.end() && keeps_number_only(found->type);
  log::warn(
      "target",
      "column {0} of {1} becomes VARCHAR with PostgreSQL's exact text: a value{2}{3}{4} does not fit {5}{6}",
      was.source.name, changed.sql_name(), value.empty() ? "" : " ('", value, value.empty() ? "" : "')",
      was.type.shown(), anew ? fmt::format("; {} is copied anew", changed.sql_name()) : "");
  if (found == changed.columns.end()) {
    // It was added by the transaction that is undone, and comes again with it.
    text_from_the_start_.emplace(table, was.source.attnum);
    return;
  }
  if (anew) {
    found->widened = true;
    // How the values that are there were spelled is not known here any more.
    changed.copied = false;
    durably([&] { mirror_.put(session_, changed); });
    kill_point("duckdb.copy_as_text.committed");
    return;
  }
  durably([&] {
    TableShape shape(session_, mirror_, changed);
    shape.retype_column(*found, widen_to_text(found->type));
    found->widened = true;
    shape.finish();
    mirror_.put(session_, changed);
    kill_point("duckdb.widen.before");
  });
  kill_point("duckdb.widen.committed");
}

void DuckDbTarget::check_chosen_types(const std::vector<schema::Table>& followed) {
  refuse_other_types(mirror_, followed);
  durably([&] {
    for (auto& changed : with_other_misfits(mirror_, followed)) mirror_.put(session_, std::move(changed));
    mirror_.note_types(session_);
  });
}

/// Where a column keeps numbers alone, now or before, its values cannot be turned into those of another type
/// here: some would be rounded, or spelled otherwise than at the source.
void DuckDbTarget::copy_if_spelled_otherwise(const MirrorTable& table, const Evolution& evolution) {
  for (const auto& column : evolution.retyped_columns) {
    auto before =
        std::ranges::find(table.columns, column.attnum, [](const auto& each) { return each.source.attnum; });
    if (before == table.columns.end() || before->widened) continue;
    MirrorColumn now = *before;
    now.source.name = column.name;
    mirror_.set_type(now, table.schema, evolution.rename.value_or(table.name), *column.type, column.typmod,
                     column.dimensions);
    if (now.type.sql == before->type.sql || (!keeps_number_only(now.type) && !keeps_number_only(before->type)))
      continue;
    auto oid = table.oid;
    auto reason =
        fmt::format("column {} was {} and becomes {}", column.name, before->type.shown(), now.type.shown());
    rollback();
    mark_for_copy(oid, reason);
    throw RestartFromCheckpoint(reason);
  }
}

void DuckDbTarget::evolve(Oid oid, const Evolution& evolution) {
  MirrorTable table = mirror_.at(oid);
  copy_if_spelled_otherwise(table, evolution);
  TableShape shape(session_, mirror_, table);
  if (evolution.rename) {
    table.name = *evolution.rename;
    shape.rename(mirror_.free_table_name(oid, table.target_schema, table.name));
  }
  for (const auto& name : evolution.dropped_columns) shape.drop_column(name);
  for (const auto& [from, to] : evolution.renamed_columns) shape.rename_column(from, to);
  for (const auto& added : evolution.added_columns)
    shape.add_column(added, text_from_the_start_.contains({oid, added.column.attnum}));
  for (const auto& column : evolution.retyped_columns) {
    MirrorColumn& mirrored = shape.column(column.name);
    MirrorColumn now = mirrored;
    mirror_.set_type(now, table.schema, table.name, *column.type, column.typmod, column.dimensions);
    shape.retype_column(mirrored, mirrored.widened ? widen_to_text(now.type) : now.type);
    mirrored.chosen = now.chosen;
    mirrored.misfit_is_error = now.misfit_is_error;
  }
  shape.finish();
  for (const auto& recorded : evolution.columns) shape.column(recorded.name).source = recorded;
  table.storage = evolution.storage;
  mirror_.put(session_, table);
  evolved_ = true;
  kill_point("duckdb.evolve.applied");
}

/// Each table takes its own name once that is free: tables that trade names, or a new one under the name of one
/// that was renamed, came under another. In transactions of their own, for a rename must not follow changes of
/// the table's rows.
void DuckDbTarget::settle_names() {
  std::set<Oid> stuck;
  while (const MirrorTable* misnamed = mirror_.misnamed(stuck)) {
    MirrorTable table = *misnamed;
    try {
      durably([&] {
        TableShape(session_, mirror_, table).rename(table.name);
        mirror_.put(session_, table);
      });
    } catch (const TableRefused& refused) {
      // It is as good under the name that it has.
      log::warn("target", "{} cannot be called {} yet: {}", table.sql_name(), table.name, refused.reason());
      stuck.insert(table.oid);
      continue;
    }
    kill_point("duckdb.settle_names.committed");
    log::info("target", "{} is now called {}", table.qualified(), table.sql_name());
  }
}

void DuckDbTarget::commit(const Checkpoint& checkpoint) {
  mirror_.put_checkpoint(session_, checkpoint);
  kill_point("duckdb.commit.before");
  session_.commit();
  kill_point("duckdb.commit.committed");
  if (evolved_) settle_names();
  evolved_ = false;
}

void DuckDbTarget::rollback() noexcept {
  session_.rollback();
  try {
    mirror_.reload(session_, keep_rows_);
  } catch (const std::exception& error) {
    // The next use of the file fails with the same cause and is reported there.
    log::debug("target", "rereading the metadata after a rollback failed: {}", error.what());
  }
}

void DuckDbTarget::tidy() {
  session_.query("CHECKPOINT", "writing a checkpoint of the file");
  kill_point("duckdb.tidy.written");
}

}  // namespace
}  // namespace duckdb

std::unique_ptr<Target> open_duckdb(const DuckDbOptions& options) {
  return std::make_unique<duckdb::DuckDbTarget>(options);
}

namespace {

std::shared_ptr<duckdb::Database> opened_to_look(const std::string& file) {
  std::error_code failed;
  constexpr std::uintmax_t most = 64 << 20;
  if (auto log = std::filesystem::file_size(file + ".wal", failed); !failed && log > most)
    throw Error(Retry::needs_operator,
                fmt::format("the file's log has {} MB that the next start reads first", log >> 20));
  return duckdb::share_database({.file = file, .memory_bytes = 0, .read_only = true});
}

}  // namespace

std::optional<Books> read_duckdb_books(const std::string& file) {
  std::error_code failed;
  if (!std::filesystem::exists(file, failed)) return std::nullopt;
  auto database = opened_to_look(file);
  auto session = database->session();
  auto checkpoint = duckdb::peek_checkpoint(session);
  if (!checkpoint) return std::nullopt;
  auto unfinished =
      duckdb::read_text(session, "SELECT count(*)::VARCHAR FROM tailrace.tables WHERE NOT copied");
  return Books{*checkpoint, std::stoll(unfinished.at(0).at(0))};
}

Peeked peek_duckdb(const DuckDbOptions& options) {
  auto database = opened_to_look(options.file);
  auto session = database->session();
  Peeked out;
  if (!duckdb::Mirror::may_be_ours(session, options.keep_rows)) return out;
  duckdb::refuse_newer(session);
  out.checkpoint = duckdb::peek_checkpoint(session);
  // Of metadata of any format.
  for (auto& line :
       duckdb::read_text(session, "SELECT source_schema, source_name, copied::VARCHAR FROM tailrace.tables")) {
    TableRecord record;
    record.schema = line[0];
    record.name = line[1];
    record.copied = line[2] == "true";
    out.tables.push_back(std::move(record));
  }
  return out;
}

void check_duckdb_types(const DuckDbOptions& options, const std::function<std::vector<schema::Table>()>& read) {
  auto database = opened_to_look(options.file);
  auto session = database->session();
  // What is of an earlier format is brought up to date by a start.
  if (!duckdb::Mirror::may_be_ours(session, options.keep_rows) || !duckdb::is_up_to_date(session)) return;
  auto mirror = duckdb::Mirror::load(session, options.keep_rows);
  mirror.choose_types(options.types);
  if (mirror.chooses_otherwise()) duckdb::refuse_other_types(mirror, read());
}

std::optional<std::vector<std::string>> take_back_duckdb(const std::string& file) {
  constexpr const char* purpose = "taking back what this start made in the file";
  auto database = duckdb::share_database({.file = file});
  auto session = database->session();
  auto mirror = duckdb::Mirror::load(session, /*adopting=*/true);
  std::set<std::string> schemas;
  for (const auto& [oid, table] : mirror.tables()) {
    if (table.copied || table.copied_at.valid()) return std::nullopt;
    if (!table.target_schema.empty()) schemas.insert(table.target_schema);
  }
  duckdb::TableCopies copies(session, mirror);
  session.begin();
  if (copies.any_noted()) copies.drop_all();
  for (const char* book : {"copies", "skips", "columns", "tables", "types", "checkpoint", "format"})
    session.query(fmt::format("DROP TABLE IF EXISTS tailrace.{}", book), purpose);
  session.query("DROP SCHEMA IF EXISTS tailrace", purpose);
  session.commit();
  std::vector<std::string> left;
  // Whether one was there before, empty, is not known.
  for (const auto& schema : schemas) {
    auto empty = duckdb::read_text(
        session,
        fmt::format(
            "SELECT count(*)::VARCHAR FROM duckdb_schemas() s WHERE s.database_name = current_database() "
            "AND s.schema_name = {0} AND NOT s.internal AND s.schema_name <> 'main' AND NOT EXISTS (FROM "
            "duckdb_tables() t WHERE t.schema_name = {0} AND t.database_name = s.database_name)",
            quote_literal(schema)));
    if (empty[0][0] != "0") left.push_back("DROP SCHEMA " + quote_identifier(schema));
  }
  session.query("CHECKPOINT", purpose);
  return left;
}

std::unique_ptr<TargetView> open_duckdb_view(const DuckDbOptions& options) {
  return std::make_unique<duckdb::DuckDbView>(
      duckdb::share_database({options.file, options.memory_bytes, true}));
}

}  // namespace tailrace::target
