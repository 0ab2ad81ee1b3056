#pragma once
// TableShape: changes the definition of one mirrored table, within the session's current transaction.
//
// DuckDB must be able to replay all of it from its log when the process ends before the next checkpoint
// (docs/dev/duckdb-statements.md): the log keeps the text of an expression in ALTER or DEFAULT, which is not
// bound again, and an ALTER does not follow changes of the table's rows in one transaction. So values are
// computed by a SELECT into a new table, which leaves values in the log, and rows change after the last ALTER.

#include "target/duckdb/mirror.h"

namespace tailrace::target::duckdb {

/// Of a value that its column cannot hold, where the user wants that to be an error.
TableRefused misfit(const MirrorTable& table, const MirrorColumn& column, const std::string& value);

/// Borrows everything. The table's rows must not have changed in this transaction. Throws TableRefused where
/// somebody's index stands in the way of a definition.
class TableShape {
 public:
  TableShape(Session& session, const Mirror& mirror, MirrorTable& table)
      : session_(session), mirror_(mirror), table_(table) {}

  /// Gives the table another name in DuckDB.
  void rename(const std::string& target_name);
  void drop_column(const std::string& source_name);
  void rename_column(const std::string& from, const std::string& to);
  /// A value that the column's type cannot hold makes it VARCHAR from the start; `as_text`: one will come.
  void add_column(const Evolution::Added& added, bool as_text);
  void retype_column(MirrorColumn& column, const ColumnType& type);
  /// Does what the calls before left to do; the last call.
  void finish();

  /// Throws Error when there is none.
  MirrorColumn& column(const std::string& source_name);

 private:
  struct Fill {
    std::string column;  ///< in DuckDB
    std::string staged;  ///< the temporary table with the value
  };

  void alter(const std::string& what, const std::string& purpose);
  std::string stage(const std::string& value, MirrorColumn& column);
  void rebuild();

  Session& session_;
  const Mirror& mirror_;
  MirrorTable& table_;
  std::vector<Fill> fills_;
  std::map<std::string, std::string> converted_;  ///< column in DuckDB -> the expression of its new values
};

}  // namespace tailrace::target::duckdb
