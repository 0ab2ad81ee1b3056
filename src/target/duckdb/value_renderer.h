#pragma once
// ValueRenderer: the way back, from a DuckDB vector to the exact text that PostgreSQL shows with the session
// settings of pg::Connection. One per column; not thread-safe.

#include <duckdb.h>

#include <cstdint>
#include <string>
#include <vector>

#include "target/duckdb/column_type.h"

namespace tailrace::target::duckdb {

class ValueRenderer {
 public:
  explicit ValueRenderer(const ColumnType& type);

  /// Call once per chunk. `vector` is borrowed, flat (as duckdb_fetch_chunk gives it) and of the column's type.
  void bind(duckdb_vector vector);

  /// Appends the text of a row to `out`; false, and nothing appended, for NULL.
  bool append_text(idx_t row, std::string& out);

 private:
  struct Level {
    const void* data = nullptr;
    const std::uint64_t* validity = nullptr;
    bool valid(idx_t row) const { return validity == nullptr || ((validity[row / 64] >> (row % 64)) & 1) != 0; }
  };

  void append_list(std::size_t depth, idx_t row, std::string& out);

  ColumnType type_;
  std::vector<Level> levels_;  // the list vectors from the outermost in, and last the scalars
  std::string element_;        // an element's text before it is quoted, kept for its capacity
};

}  // namespace tailrace::target::duckdb
