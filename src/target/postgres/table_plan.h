#pragma once
// TablePlan: how the columns of a relation, as the stream describes it, meet those of the target's table; and
// the SQL that follows from it.

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "model/relation.h"
#include "target/postgres/target_table.h"

namespace tailrace::target::postgres {

constexpr const char* row_missing = "tailrace: rows found: ";

/// Deletions that were noted at the target, of tables where it matters when a row was deleted.
struct DeletionNotes {
  Oid relation = 0;         ///< the table at the target
  std::string foreign;      ///< SQL: the note `d` is of somebody else's
  bool later_wins = false;  ///< a row that was deleted later than it is inserted does not come back
};

struct KeyRange {
  std::int64_t first = 0;
  std::int64_t last = 0;
};

/// Which of the relation's columns; by position.
using ColumnSet = std::vector<bool>;

struct TablePlan {
  Oid oid = 0;  ///< the source's
  std::shared_ptr<const Relation> relation;
  TargetTable table;
  std::vector<const TargetColumn*> columns;  ///< per column of the relation
  /// Columns that find a row: the replica identity's; with REPLICA IDENTITY FULL those of the target's primary
  /// key. Empty: only the whole row does.
  std::vector<std::size_t> key;
  /// Identities that are always generated, outside of the key: UPDATE cannot assign them, so it must find them
  /// as they are to be. (At the source they change by SET ... = DEFAULT only.)
  std::vector<std::size_t> fixed;
  /// Rows that differ in their key may still exclude each other.
  bool further_unique = false;
  bool extra_columns = false;  ///< the target has columns that the source does not fill
  /// SQL that is true of a row `t` that nobody but this subscription wrote last; empty: it cannot be known.
  /// Rows for which it is false are not found by what changes rows, so that it shows in what was expected.
  std::string own_rows;
  std::unique_ptr<DeletionNotes> deletions;  ///< null: when rows are deleted does not matter

  TablePlan() = default;
  TablePlan(Oid oid, std::shared_ptr<const Relation> relation, TargetTable table);
  TablePlan(const TablePlan&) = delete;
  TablePlan& operator=(const TablePlan&) = delete;

  /// "a", "b"
  std::string column_list() const;
  /// Whole rows: COPY table (columns) FROM STDIN, without its format.
  std::string copy_sql() const;
  /// One row by values: $1, $2 ... are the relation's columns.
  const std::string& insert_sql() const;
  // A change that does not find exactly one row fails, with `row_missing` in its message, so that a commit may
  // follow it without waiting to hear its count.
  /// One row: first the columns of `set`, then `fixed`, then the key, or all columns without one.
  const std::string& update_sql(const ColumnSet& set, bool whoever = false) const;
  const std::string& delete_sql(bool whoever = false) const;
  /// Fails, with `row_missing` in its message, if somebody else deleted the key ($1 ...) at or after the time
  /// that follows it (microseconds since 2000).
  const std::string& deletion_check_sql() const;
  /// Assignments "a" = s.a of `set`; empty if nothing is left to assign.
  std::string assignments(const ColumnSet& set) const;
  /// t.key = s.key for each column of the key; for an update also of `fixed`; of own rows.
  std::string key_condition(bool update = false) const;
  /// True of the rows `t` whose key, of one column, is in the array $1, of binary values; empty: of that key
  /// nobody can make an array. With `range`: the keys are integers, and these are the first and the last.
  std::string in_array_condition(const std::optional<KeyRange>& range) const;
  /// A text that is the same for equal rows alone, of the relation's columns of `alias`.
  std::string row_text(const std::string& alias) const;
  /// What UPDATE may assign: not what the target computes, nor identities that are always generated.
  bool assignable(std::size_t column) const;
  bool is_key(std::size_t column) const;
  /// The key as a jsonb object, of SQL for the value of each key column.
  std::string key_object(const std::vector<std::string>& values) const;
  /// The note `d` is of this key, given as a jsonb object.
  std::string deletion_of(const std::string& object) const;
  /// The note `d` is somebody else's, of a deletion that was committed at that time or later.
  std::string deleted_since(const std::string& micros) const;
  /// Of the row `t`: the columns of the key are the parameters from $first_parameter on; or all columns,
  /// without a key.
  std::string find_one(std::size_t first_parameter) const;
  std::string or_there(const std::string& condition) const;

 private:
  std::string and_own() const;
  std::string make_insert() const;
  std::string make_update(const ColumnSet& set, bool whoever) const;

  // Made when first asked for, by whichever lane.
  mutable std::mutex made_;
  mutable std::string insert_;
  mutable std::string deletes_[2];  ///< own rows, whosever rows
  mutable std::string deletion_check_;
  mutable std::map<ColumnSet, std::string> updates_[2];
};

}  // namespace tailrace::target::postgres
