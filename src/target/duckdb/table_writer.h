#pragma once
// TableWriter: one TableBatch into one DuckDB table, set-wise, inside the session's open transaction:
// truncate, look up what only the table knows (unchanged TOAST), delete by key, append. It counts what every
// statement touched: a row that should be there and is not means that something else changed the mirror, and
// is an error, never shrugged off.

#include "target/duckdb/mirror.h"
#include "target/duckdb/row_appender.h"

namespace tailrace::target::duckdb {

/// One thread; borrows everything for the time of one batch.
class TableWriter {
 public:
  TableWriter(Session& session, const MirrorTable& table, const TableBatch& batch);

  /// Throws DoesNotFit with the column's position in the DuckDB table.
  void write();

 private:
  struct LookupGroup {
    std::vector<bool> unchanged;  ///< per relation column
    std::vector<std::uint32_t> rows;
  };

  void map_columns();
  void append_rows();
  void delete_by_key();
  void delete_by_row();
  void stage_lookups();
  void look_up(const LookupGroup& group, std::size_t number);
  void insert_looked_up();
  /// Writes `tuple`'s key columns to the appender's columns 0, 1, ...
  void write_key(RowAppender& appender, const TupleData& tuple);
  std::string stage(const char* name, const std::vector<std::pair<std::string, ColumnType>>& columns);
  std::string key_condition() const;
  [[noreturn]] void missing_rows(std::int64_t found, std::size_t wanted) const;

  Session& session_;
  const MirrorTable& table_;
  const TableBatch& batch_;
  std::vector<std::size_t> position_;   ///< relation column -> DuckDB column
  std::vector<std::size_t> key_;        ///< relation columns of the key
  std::vector<std::string> staged_;     ///< temporary tables to drop
  std::vector<std::string> looked_up_;  ///< temporary tables with whole rows
};

}  // namespace tailrace::target::duckdb
