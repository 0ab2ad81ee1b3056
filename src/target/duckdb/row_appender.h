#pragma once
// RowAppender: rows in, columnar chunks out to DuckDB's appender. Bounded: a chunk that holds large values is
// handed on early. One thread; the session's open transaction decides when the rows become visible.

#include <duckdb.h>

#include <string>
#include <vector>

#include "target/duckdb/column_type.h"
#include "target/duckdb/database.h"
#include "target/duckdb/value_writer.h"

namespace tailrace::target::duckdb {

/// A value that its column's type cannot hold exactly. The caller widens the column and starts over.
struct DoesNotFit {
  std::size_t column = 0;
  std::string value;  ///< the beginning of it, as text where it came as text, for the note
};

class RowAppender {
 public:
  /// `types` are all of the table's columns in its own order. `catalog` is "temp" for temporary tables.
  RowAppender(Session& session, const char* catalog, const std::string& schema, const std::string& table,
              std::vector<ColumnType> types);
  ~RowAppender();
  RowAppender(const RowAppender&) = delete;
  RowAppender& operator=(const RowAppender&) = delete;

  /// Writes one column of the current row; all columns must be written before end_row. Throws DoesNotFit, and
  /// Error for a value that is damaged.
  void write(std::size_t column, const Value& value) {
    if (auto result = writers_[column].write(value, row_); result != WriteResult::ok) [[unlikely]]
      reject(result, column, value);
    bytes_ += value.bytes.size();
  }
  /// Call flush_if_full() before the next row.
  void end_row() { ++row_; }
  void flush_if_full() {
    if (row_ == capacity_ || bytes_ >= max_chunk_bytes) [[unlikely]]
      flush_chunk();
  }
  /// Hands everything to the table; the last call.
  void finish();

 private:
  static constexpr std::size_t max_chunk_bytes = 8 << 20;
  static constexpr std::size_t max_pending_bytes = 24 << 20;

  void flush_chunk();
  void bind();
  [[noreturn]] void reject(WriteResult result, std::size_t column, const Value& value) const;
  [[noreturn]] void fail(std::string_view purpose) const;

  std::string table_;
  std::vector<ColumnType> types_;
  std::vector<ValueWriter> writers_;
  duckdb_appender appender_ = nullptr;
  duckdb_data_chunk chunk_ = nullptr;
  idx_t capacity_ = 0;
  idx_t row_ = 0;
  std::size_t bytes_ = 0;    // of values in the chunk
  std::size_t pending_ = 0;  // handed to the appender, which keeps it until it is flushed
};

}  // namespace tailrace::target::duckdb
