#include "target/duckdb/duckdb_target.h"

#include "base/log.h"
#include "base/sql_text.h"
#include "target/duckdb/adoption.h"
#include "target/duckdb/copy_writer.h"
#include "target/duckdb/duckdb_view.h"
#include "target/duckdb/mirror.h"
#include "target/duckdb/skip_notes.h"
#include "target/duckdb/table_writer.h"
#include "target/duckdb/text_function.h"

namespace tailrace::target {
namespace duckdb {
namespace {

class DuckDbTarget : public Target {
 public:
  explicit DuckDbTarget(const DuckDbOptions& options)
      : database_(share_database({options.file, options.memory_bytes, false})),
        session_(database_->session()),
        keep_rows_(options.keep_rows),
        mirror_(Mirror::load(session_, options.keep_rows)),
        skip_notes_(session_, [this](const auto& change) { durably(change); }, [this] { return durable(); }) {}

  std::optional<Checkpoint> checkpoint() const override { return mirror_.checkpoint(); }
  std::vector<TableRecord> tables() const override;

  void create_table(const schema::Table& table) override;
  void check_rows(const std::vector<schema::Table>& tables) override;
  void adopt(const schema::Table& table, Lsn at) override;
  void drop_table(Oid table) override;
  void mark_for_copy(Oid table, const std::string& reason) override;
  void hold(const HeldTable& table, const std::string& reason) override;
  void initialize(const Checkpoint& checkpoint) override;

  bool reads_binary(const schema::Table& table) const override;
  std::unique_ptr<CopyWriter> copy(Oid table, bool binary, bool alone) override;
  void finish_copy(Oid table, Lsn snapshot, std::int64_t rows) override;

  void begin() override { session_.begin(); }
  void apply(Oid table, const TableBatch& batch) override;
  void evolve(Oid table, const Evolution& evolution) override;
  void commit(const Checkpoint& checkpoint) override;
  Lsn durable() override { return mirror_.checkpoint() ? mirror_.checkpoint()->lsn : Lsn{}; }
  void rollback() noexcept override;
  void tidy() override;
  std::unique_ptr<TargetView> view() override { return std::make_unique<DuckDbView>(database_); }
  SkipBook* skips() override { return &skip_notes_; }

 private:
  /// Runs `change` in a transaction of its own.
  template <typename Change>
  void durably(const Change& change);
  std::optional<MirrorTable> rows_of(const schema::Table& table);
  void widen(Oid table, std::size_t column, const std::string& value);
  void retype(MirrorTable& table, MirrorColumn& column, const ColumnType& type);
  void add_column(MirrorTable& table, const Evolution::Added& added);
  void fill_column(const MirrorTable& table, const MirrorColumn& column, const std::string& value);

  std::shared_ptr<Database> database_;
  Session session_;
  bool keep_rows_;
  Mirror mirror_;
  SkipNotes skip_notes_;
  mutable std::mutex mirror_mutex_;  ///< copies begin on other threads while tables are created on this one
  std::mutex unfit_mutex_;
  std::set<std::pair<Oid, std::size_t>> unfit_;  ///< columns that a copy found too narrow
};

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
  durably([&] {
    if (mirror_.knows(table.oid) && mirror_.at(table.oid).made()) {
      session_.query("DROP TABLE IF EXISTS " + mirror_.at(table.oid).sql_name(), "replacing a table");
    }
    std::string sql = fmt::format("CREATE SCHEMA IF NOT EXISTS {}; CREATE TABLE {} (",
                                  quote_identifier(planned.target_schema), planned.sql_name());
    for (std::size_t i = 0; i < planned.columns.size(); ++i) {
      const auto& column = planned.columns[i];
      // Where every value is another one, DuckDB's dictionary cannot win, and looking whether it would is a
      // third of what a text column costs to write. A segment that the hint does not suit stays uncompressed.
      bool distinct = i < table.columns.size() && table.columns[i].distinct && column.type.sql == "VARCHAR";
      sql += fmt::format("{}{} {}{}", i == 0 ? "" : ", ", quote_identifier(column.name), column.type.sql,
                         distinct ? " USING COMPRESSION fsst" : "");
    }
    session_.query(sql + ")", fmt::format("creating {}", planned.sql_name()));
    mirror_.put(session_, planned);
  });
}

/// Nothing where there are no tables at all: then all of them are made, and begin empty.
std::optional<MirrorTable> DuckDbTarget::rows_of(const schema::Table& table) {
  // What is ours already keeps its place, and what it holds in text stays so.
  auto planned = mirror_.plan(table);
  auto found = adopted(session_, std::move(planned));
  if (found || !holds_tables(session_) || mirror_.checkpoint()) return found;
  throw Error(Retry::needs_operator, fmt::format("the file has no table {}", table.qualified()),
              "Load it too, into the schema of that name, or leave it out (tables:)");
}

void DuckDbTarget::check_rows(const std::vector<schema::Table>& tables) {
  for (const auto& table : tables) rows_of(table);
}

void DuckDbTarget::adopt(const schema::Table& table, Lsn at) {
  auto rows = rows_of(table);
  if (!rows) {
    create_table(table);
    return finish_copy(table.oid, at, 0);
  }
  rows->copied = true;
  rows->copied_at = at;
  durably([&] { mirror_.put(session_, *rows); });
}

void DuckDbTarget::drop_table(Oid table) {
  durably([&] {
    const auto& known = mirror_.at(table);
    if (known.made()) session_.query("DROP TABLE IF EXISTS " + known.sql_name(), "dropping a table");
    mirror_.remove(session_, table);
  });
}

void DuckDbTarget::mark_for_copy(Oid table, const std::string& reason) {
  MirrorTable changed = mirror_.at(table);
  log::info("target", "{} will be copied anew: {}", quote_qualified(changed.schema, changed.name), reason);
  durably([&] {
    // Nothing of one that was held before it was made is kept.
    if (!changed.made()) return mirror_.remove(session_, table);
    changed.copied = false;
    changed.held.clear();
    mirror_.put(session_, changed);
  });
}

void DuckDbTarget::hold(const HeldTable& table, const std::string& reason) {
  durably([&] {
    MirrorTable changed;
    if (mirror_.knows(table.oid)) {
      changed = mirror_.at(table.oid);
    } else {
      changed.oid = table.oid;
      changed.schema = table.schema;
      changed.name = table.name;
    }
    changed.copied = false;
    changed.held = reason;
    mirror_.put(session_, changed);
  });
}

void DuckDbTarget::initialize(const Checkpoint& checkpoint) {
  durably([&] { mirror_.put_checkpoint(session_, checkpoint); });
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
  std::lock_guard lock(mirror_mutex_);
  return std::make_unique<DuckDbCopyWriter>(database_->session(), mirror_.at(table), binary, must_widen);
}

void DuckDbTarget::finish_copy(Oid table, Lsn snapshot, std::int64_t rows) {
  durably([&] {
    MirrorTable changed = mirror_.at(table);
    changed.copied = true;
    changed.copied_at = snapshot;
    changed.rows_copied = rows;
    mirror_.put(session_, changed);
  });
}

void DuckDbTarget::apply(Oid table, const TableBatch& batch) {
  try {
    TableWriter(session_, mirror_.at(table), batch).write();
  } catch (const DoesNotFit& unfit) {
    rollback();
    widen(table, unfit.column, unfit.value);
    throw RestartFromCheckpoint("a column was widened");
  }
}

/// Makes the column hold PostgreSQL's exact text. Its old values keep their meaning to the letter, so this is
/// a transaction of its own, outside of what was being applied.
void DuckDbTarget::widen(Oid table, std::size_t column, const std::string& value) {
  const MirrorTable& known = mirror_.at(table);
  log::warn("target",
            "column {} of {} becomes VARCHAR with PostgreSQL's exact text: a value{}{}{} does not fit {}",
            known.columns[column].source.name, known.sql_name(), value.empty() ? "" : " ('", value,
            value.empty() ? "" : "')", known.columns[column].type.sql);
  durably([&] {
    MirrorTable changed = mirror_.at(table);
    retype(changed, changed.columns[column], widen_to_text(changed.columns[column].type));
    changed.columns[column].widened = true;
    mirror_.put(session_, changed);
  });
}

void DuckDbTarget::retype(MirrorTable& table, MirrorColumn& column, const ColumnType& type) {
  if (type.sql != column.type.sql) {
    std::string value = quote_identifier(column.name);
    if (type.sql == "VARCHAR") value = text_function(session_, column.type) + "(" + value + ")";
    session_.query(fmt::format("ALTER TABLE {} ALTER COLUMN {} SET DATA TYPE {} USING {}", table.sql_name(),
                               quote_identifier(column.name), type.sql,
                               type.sql == "VARCHAR" ? value : fmt::format("CAST({} AS {})", value, type.sql)),
                   fmt::format("changing the type of {}", column.name));
  }
  column.type = type;
}

void DuckDbTarget::add_column(MirrorTable& table, const Evolution::Added& added) {
  std::vector<std::string> names = {std::string(row_identifier)};
  for (const auto& column : table.columns) names.push_back(column.name);
  MirrorColumn fresh;
  fresh.source = {added.column.attnum, added.column.name,   added.column.type->oid,
                  added.column.typmod, added.column.is_key, added.column.version};
  fresh.name = Mirror::free_name(added.column.name, names);
  fresh.type = map_column(*added.column.type, added.column.typmod, added.column.dimensions);
  session_.query(fmt::format("ALTER TABLE {} ADD COLUMN {} {}", table.sql_name(), quote_identifier(fresh.name),
                             fresh.type.sql),
                 fmt::format("adding column {}", fresh.name));
  table.columns.push_back(std::move(fresh));
}

/// What rows from before the column have in it.
void DuckDbTarget::fill_column(const MirrorTable& table, const MirrorColumn& column, const std::string& value) {
  session_.query(fmt::format("CREATE TEMP TABLE tailrace_default (v {})", column.type.sql),
                 "staging a default");
  try {
    RowAppender appender(session_, "temp", "main", "tailrace_default", {column.type});
    appender.write(0, Value{ValueKind::text, value});
    appender.end_row();
    appender.finish();
  } catch (const DoesNotFit&) {
    throw Error(Retry::fatal, fmt::format("the default of the new column {} does not fit its type {}",
                                          column.name, column.type.sql));
  }
  session_.query(
      fmt::format("UPDATE {} SET {} = (SELECT v FROM temp.tailrace_default); DROP TABLE temp.tailrace_default",
                  table.sql_name(), quote_identifier(column.name)),
      "filling a new column");
}

void DuckDbTarget::evolve(Oid oid, const Evolution& evolution) {
  MirrorTable table = mirror_.at(oid);
  auto find = [&](const std::string& name) -> MirrorColumn& {
    for (auto& column : table.columns) {
      if (column.source.name == name) return column;
    }
    throw Error(Retry::fatal, fmt::format("the mirror of {} has no column {}", table.name, name));
  };
  if (evolution.rename) {
    std::vector<std::string> names;
    for (const auto& [other_oid, other] : mirror_.tables()) {
      if (other_oid != oid && same_name(other.target_schema, table.target_schema))
        names.push_back(other.target_name);
    }
    std::string name = Mirror::free_name(*evolution.rename, names);
    session_.query(fmt::format("ALTER TABLE {} RENAME TO {}", table.sql_name(), quote_identifier(name)),
                   "renaming a table");
    table.name = *evolution.rename;
    table.target_name = name;
  }
  for (const auto& name : evolution.dropped_columns) {
    MirrorColumn& column = find(name);
    session_.query(
        fmt::format("ALTER TABLE {} DROP COLUMN {}", table.sql_name(), quote_identifier(column.name)),
        "dropping a column");
    std::erase_if(table.columns, [&](const auto& other) { return other.source.name == name; });
  }
  for (const auto& [from, to] : evolution.renamed_columns) {
    std::vector<std::string> names = {std::string(row_identifier)};
    for (const auto& column : table.columns) {
      if (column.source.name != from) names.push_back(column.name);
    }
    MirrorColumn& column = find(from);
    std::string name = Mirror::free_name(to, names);
    session_.query(fmt::format("ALTER TABLE {} RENAME COLUMN {} TO {}", table.sql_name(),
                               quote_identifier(column.name), quote_identifier(name)),
                   "renaming a column");
    column.source.name = to;
    column.name = name;
  }
  for (const auto& added : evolution.added_columns) add_column(table, added);
  for (const auto& column : evolution.retyped_columns) {
    MirrorColumn& mirrored = find(column.name);
    ColumnType type = map_column(*column.type, column.typmod, column.dimensions);
    retype(table, mirrored, mirrored.widened ? widen_to_text(type) : type);
  }
  // Rows change after the last ALTER: DuckDB refuses to commit changes of a table that was altered after them.
  for (const auto& added : evolution.added_columns) {
    if (added.value) fill_column(table, find(added.column.name), *added.value);
  }
  for (const auto& recorded : evolution.columns) find(recorded.name).source = recorded;
  table.filenode = evolution.filenode;
  mirror_.put(session_, table);
}

void DuckDbTarget::commit(const Checkpoint& checkpoint) {
  mirror_.put_checkpoint(session_, checkpoint);
  session_.commit();
}

void DuckDbTarget::rollback() noexcept {
  session_.rollback();
  try {
    mirror_ = Mirror::load(session_, keep_rows_);
  } catch (const std::exception& error) {
    // The next use of the file fails with the same cause and is reported there.
    log::debug("target", "rereading the metadata after a rollback failed: {}", error.what());
  }
}

void DuckDbTarget::tidy() {
  session_.query("CHECKPOINT", "writing a checkpoint of the file");
}

}  // namespace
}  // namespace duckdb

std::unique_ptr<Target> open_duckdb(const DuckDbOptions& options) {
  return std::make_unique<duckdb::DuckDbTarget>(options);
}

std::unique_ptr<TargetView> open_duckdb_view(const DuckDbOptions& options) {
  return std::make_unique<duckdb::DuckDbView>(
      duckdb::share_database({options.file, options.memory_bytes, true}));
}

}  // namespace tailrace::target
