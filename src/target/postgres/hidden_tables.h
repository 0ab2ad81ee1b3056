#pragma once
// HiddenTables: tables of ours that are filled out of sight. What tailrace makes at the target stands in a
// schema that nobody looks into until its copy is whole, and is moved into its place by the transaction that
// notes that. A table that stands in its place and is copied anew keeps its rows meanwhile: the new ones gather
// in a twin.
//
// The books say which relations are ours, by their object identifiers, and which schemas are (tailrace.hidden,
// tailrace.hiding_places); a name says nothing.

#include <map>
#include <string>
#include <vector>

#include "pg/connection.h"
#include "target/postgres/target_table.h"

namespace tailrace::target::postgres {

/// Borrows the connection; writes take part in its open transaction.
class HiddenTables {
 public:
  HiddenTables(pg::Connection& connection, const std::string& subscription);

  /// The target's user may make the schemas that this takes.
  bool possible();
  /// Tables that were made in the open transaction, with their partitions.
  void hide(const std::vector<TableName>& tables);
  /// Those of the tables that are hidden: where they lie now, under the names of their places.
  std::map<TableName, TargetTable> find(const std::vector<TableName>& tables);
  /// Moves the table into its place; false: it is not hidden. Where something else took the name, the Error is
  /// one of which has_lost_name() is true, and the open transaction has failed.
  bool show(const TableName& table);
  static bool has_lost_name(const Error& error);
  /// Whatever is hidden still, by its own name.
  std::vector<TableName> left();
  struct Root {
    TableName name;  ///< of its place
    Oid relation = 0;
    std::map<Oid, TableName> partitions;  ///< likewise
  };
  std::vector<Root> roots();
  /// Drops these, with whatever was made for them alone, in the open transaction.
  void drop(const std::vector<Root>& roots);
  /// What inherits from these, by and by, not counting them and their partitions. It has rows of its own, and
  /// goes with them no more once drop() was called; then it inherits from nothing of them.
  std::vector<Oid> heirs(const std::vector<Root>& roots);
  /// Drops these of them, likewise.
  void drop_heirs(const std::vector<Oid>& tables);
  /// Drops schemas of ours that nothing lies in any more. In a transaction of its own.
  void tidy();
  /// Drops what is hidden, and the schemas, in the open transaction.
  void remove_all();

 private:
  Oid place_for(Oid name_space);
  void drop_empty_places();
  void drop_where(const std::string& condition);

  pg::Connection& connection_;
  std::string literal_;
};

}  // namespace tailrace::target::postgres
