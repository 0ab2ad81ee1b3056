#pragma once
// Mirror: which source table is which DuckDB table, column by column, and the metadata schema `tailrace` in
// the file that remembers it. DuckDB folds the case of names even when they are quoted, so "Orders" and
// "orders" cannot both keep theirs: the later one gets a suffix.

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/sql_text.h"
#include "model/checkpoint.h"
#include "target/duckdb/column_type.h"
#include "target/duckdb/database.h"
#include "target/duckdb/taken_names.h"
#include "target/target.h"

namespace tailrace::target::duckdb {

struct MirrorColumn {
  RecordedColumn source;
  std::string name;  ///< in DuckDB
  ColumnType type;
  bool widened = false;
  std::string chosen;            ///< what the user says it becomes, as ChosenType::text(); empty: nothing
  bool misfit_is_error = false;  ///< and not text
};

struct MirrorTable {
  Oid oid = 0;
  std::string schema;  ///< at the source
  std::string name;
  std::string target_schema;  ///< in DuckDB
  std::string target_name;
  std::vector<MirrorColumn> columns;  ///< in the order of the DuckDB table
  bool copied = false;
  Lsn copied_at;
  Oid filenode = 0;
  std::int64_t rows_copied = 0;
  std::string membership;
  std::string held;     ///< see TableRecord
  std::string storage;  ///< see TableRecord
  bool there = false;   ///< the file holds the table; not so before its first copy is whole

  /// False of one that was held before it was made: then nothing in the file is its own.
  bool made() const { return !target_name.empty(); }
  std::string sql_name() const { return quote_identifier(target_schema) + "." + quote_identifier(target_name); }
  std::vector<ColumnType> types() const;
  TableRecord record() const;
  std::string note() const;
  std::string qualified() const { return schema + "." + name; }  ///< at the source
};

/// The name of the column that stands in for a table without columns, which DuckDB does not have.
constexpr std::string_view no_columns_placeholder = "tailrace_no_columns";

/// DuckDB's own name for a row's position: a column of that name would hide it, so none keeps it.
constexpr std::string_view row_identifier = "rowid";

/// The metadata, cached; every change goes to the file within the session's current transaction.
///
/// A name in the file is ours only if the metadata says so: a table or view that somebody else put there keeps
/// its name, and is never written to. While a mirror is open nobody can, so it is enough to look when it is
/// read.
class Mirror {
 public:
  /// Creates the metadata schema where it is missing. Refuses a file of a newer tailrace, and one that holds
  /// tables but no metadata is left alone: its tables are not ours to replace. With `adopting` they may become
  /// ours, and the metadata waits for make(). A table that is not in the file any more counts as not copied.
  static Mirror load(Session& session, bool adopting = false);
  /// True where the file has the metadata; false where it may get it. Refuses the file as load() does.
  static bool may_be_ours(Session& session, bool adopting);
  /// Creates the metadata if it is still missing, in a transaction of its own.
  void make(Session& session);
  /// After a rollback. What is claimed stays claimed.
  void reload(Session& session, bool adopting);

  const std::map<Oid, MirrorTable>& tables() const { return tables_; }
  const MirrorTable& at(Oid oid) const;
  bool knows(Oid oid) const { return tables_.contains(oid); }
  const std::optional<Checkpoint>& checkpoint() const { return checkpoint_; }

  /// What the user wants columns to become from now on.
  void choose_types(TypeRules rules) { rules_ = std::move(rules); }
  /// He wanted something else when these were noted.
  bool chooses_otherwise() const { return to_text(rules_) != noted_rules_; }
  void note_types(Session& session);
  /// Sets what becomes of a column of this type.
  void set_type(MirrorColumn& column, const std::string& schema, const std::string& table,
                const schema::Type& type, std::int32_t typmod, int dimensions) const;

  /// Names and types for a source table; keeps what was widened before. Writes nothing.
  /// as_found: the table may be one that stands in the file already under its own name.
  enum class Names { free, as_found };
  MirrorTable plan(const schema::Table& table, Names names = Names::free) const;
  /// Puts the table into the place of the one that somebody loaded under its source's name. False: there is
  /// none that is not ours.
  bool find_loaded(Session& session, MirrorTable& planned) const;
  /// `wanted`, or with a suffix where another table than `oid` has that name in the DuckDB schema.
  std::string free_table_name(Oid oid, const std::string& schema, const std::string& wanted) const {
    // Two source schemas that differ in case only share one DuckDB schema; their tables then need the suffix.
    return names_.free_name(oid, schema, wanted);
  }
  /// Keeps names from others until release(): of what is not in the metadata yet.
  void claim(Oid oid, const std::string& schema, std::vector<std::string> names);
  void release(Oid oid);
  /// The next table that stands under another name than its own, which is free by now; null: none.
  const MirrorTable* misnamed(const std::set<Oid>& but) const;
  void put(Session& session, MirrorTable table);
  void remove(Session& session, Oid table);
  void put_checkpoint(Session& session, const Checkpoint& checkpoint);
  /// No table counts as copied, nor as held.
  void forget_copies(Session& session);
  /// DuckDB names for source names that must not collide with `taken` (compared without case).
  static std::string free_name(const std::string& wanted, const std::vector<std::string>& taken);

 private:
  void look_at_file(Session& session);
  void keep(MirrorTable table);
  void drop_names(Oid oid);

  std::map<Oid, MirrorTable> tables_;
  TakenNames names_;        ///< of tables_, of claimed_, and what is not ours
  std::set<Oid> misnamed_;  ///< of tables_: those that stand under another name than their own
  std::optional<Checkpoint> checkpoint_;
  TypeRules rules_;
  std::string noted_rules_;  ///< those by which the tables were copied
  bool made_ = true;
  std::string database_name_;  ///< DuckDB's, after the file; a schema of that name would be ambiguous

  struct Claim {
    std::string schema;
    std::vector<std::string> names;
  };
  std::map<Oid, Claim> claimed_;
};

/// The checkpoint in metadata of any format, without its `seen`; nothing, where there is none.
std::optional<Checkpoint> peek_checkpoint(Session& session);

}  // namespace tailrace::target::duckdb
