#pragma once
// ListWriter: writes PostgreSQL arrays into a DuckDB LIST column of fixed nesting depth. Used by ValueWriter.
//
// A list vector holds offset and length per row; its child vector holds all rows' elements one after another
// and grows, which moves its data: every growth fetches the pointers again.

#include <duckdb.h>

#include <string_view>
#include <vector>

#include "pg/codec/array_codec.h"
#include "target/duckdb/value_writer.h"

namespace tailrace::target::duckdb {

class ListWriter {
 public:
  ListWriter(const ColumnType& element, int dimensions);

  void bind(duckdb_vector vector);
  WriteResult write_text(std::string_view bytes, idx_t row);
  WriteResult write_binary(std::string_view bytes, idx_t row);
  /// The entry of a row that is NULL.
  void write_empty(idx_t row);

 private:
  struct Level {
    duckdb_vector vector = nullptr;
    duckdb_list_entry* entries = nullptr;
    idx_t child_size = 0;
    idx_t child_capacity = 0;
    idx_t size_before = 0;  // child_size when the current row began
    idx_t open_row = 0;
    idx_t open_offset = 0;
  };

  void begin();
  WriteResult finish(WriteResult result);
  WriteResult take_text(pg::codec::ArrayTextReader& reader, idx_t row);
  WriteResult take_dimension(const pg::codec::ArrayHeader& header, std::size_t depth, idx_t row,
                             std::string_view& body);
  void open(std::size_t depth, idx_t row);
  void close(std::size_t depth);
  idx_t add_child(std::size_t depth);
  void fetch_child(std::size_t depth);

  std::vector<Level> levels_;
  ValueWriter leaf_;
};

}  // namespace tailrace::target::duckdb
