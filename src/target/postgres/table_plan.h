#pragma once
// TablePlan: how the columns of a relation, as the stream describes it, meet those of the target's table; and
// the SQL that follows from it.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/relation.h"
#include "target/postgres/target_table.h"

namespace tailrace::target::postgres {

constexpr const char* row_missing = "tailrace: rows found: ";

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
  const std::string& update_sql(const ColumnSet& set) const;
  const std::string& delete_sql() const;
  /// Assignments "a" = s.a of `set`; empty if nothing is left to assign.
  std::string assignments(const ColumnSet& set) const;
  /// t.key = s.key for each column of the key; for an update also of `fixed`.
  std::string key_condition(bool update = false) const;
  /// A text that is the same for equal rows alone, of the relation's columns of `alias`.
  std::string row_text(const std::string& alias) const;
  /// What UPDATE may assign: not what the target computes, nor identities that are always generated.
  bool assignable(std::size_t column) const;
  bool is_key(std::size_t column) const;

 private:
  std::string find_one(std::size_t first_parameter) const;
  std::string make_insert() const;
  std::string make_update(const ColumnSet& set) const;

  // Made when first asked for.
  mutable std::string insert_;
  mutable std::string delete_;
  mutable std::map<ColumnSet, std::string> updates_;
};

}  // namespace tailrace::target::postgres
