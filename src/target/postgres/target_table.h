#pragma once
// TargetTable: a table as the target's catalogs show it, and what that means for applying to it.

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/lsn.h"
#include "pg/connection.h"
#include "schema/table.h"

namespace tailrace::target::postgres {

struct TargetColumn {
  std::string name;
  std::string type;      ///< as SQL writes it, without its modifier: a cast to varchar(20) would cut silently
  std::string declared;  ///< with its modifier, for people
  std::int32_t typmod = -1;  ///< of the base type
  std::string equals;        ///< the operator that finds a value of it by an index, qualified
  Oid type_oid = 0;
  Oid base_oid = 0;  ///< of a domain: what it is at the bottom; else type_oid
  char kind = 'b';   ///< of the base type, as pg_type.typtype has it
  std::string type_name;
  std::string type_schema;
  std::string compression;       ///< of its TOAST, where it has one of its own
  bool receives = false;         ///< its type has a binary input
  bool generated = false;        ///< computed by the target
  bool identity_always = false;  ///< takes a given value in an INSERT only
};

struct TargetTable {
  Oid oid = 0;
  std::string schema;
  std::string name;
  char kind = 'r';                       ///< relkind: r, or p for a partitioned one
  Oid partition_of = 0;                  ///< the root of the tree that it is a part of, if it is
  std::vector<TargetColumn> columns;     ///< in the target's order
  std::vector<std::string> primary_key;  ///< column names, empty if there is none
  bool further_unique = false;  ///< it, or one of its partitions, has other unique or exclusion constraints too
  std::vector<std::string> unlogged;  ///< itself or those of its partitions that a crash of the server empties
  std::string row_order;  ///< why its changes must come one by one in the source's order; else empty

  std::string sql_name() const;
  /// For FROM, UPDATE and DELETE: rows of tables that inherit from it are theirs, whoever's they are.
  std::string sql_own_rows() const;
  /// Rows can be written to it. What else has a table's name is a view, a sequence, an index, a foreign table.
  bool is_table() const { return kind == 'r' || kind == 'p'; }
  const TargetColumn* find(const std::string& column) const;
};

using TableName = std::pair<std::string, std::string>;  ///< schema, name

/// Two parameters, of type text[]: the schemas and the names.
std::vector<std::optional<std::string>> text_arrays_of(const std::vector<TableName>& names);

/// The relations of these names that the target has, by a handful of queries for all of them. Look at
/// is_table().
std::map<TableName, TargetTable> load_tables(pg::Connection& connection, const std::vector<TableName>& names);
/// The same by their object identifiers there.
std::map<Oid, TargetTable> load_tables(pg::Connection& connection, const std::vector<Oid>& oids);
/// Nothing if the target has none.
std::optional<TargetTable> load_table(pg::Connection& connection, Oid oid);

/// False where check_fits() throws.
bool fits(const schema::Column& source, const TargetColumn& target);

/// Throws Error when the target's column could alter a value of the source's silently, by rounding it or by
/// reading it as something else. A value that is too long or out of range is an error when it comes, so that is
/// no reason.
void check_fits(const schema::Table& table, const schema::Column& source, const TargetColumn& target);

/// True when both ends spell the column's values in the same binary way. Types that carry object identifiers in
/// them (composites, arrays of a user's types, regclass) do not. `server_version`: the target's.
bool same_binary(const schema::Column& source, const TargetColumn& target, int server_version);

}  // namespace tailrace::target::postgres
