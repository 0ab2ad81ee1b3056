#pragma once
// ValueWriter: puts values as they came from PostgreSQL, text or binary, into a DuckDB vector. One per column;
// not thread-safe; allocates nothing per value but what DuckDB keeps of it and what a list grows by.

#include <duckdb.h>

#include <memory>
#include <string>
#include <string_view>

#include "model/tuple.h"
#include "target/duckdb/column_type.h"

namespace tailrace::target::duckdb {

/// ok, does_not_fit (widen the column, see widen_to_text), malformed (damage or a wrong session: stop).
/// After anything but ok the row's content is undefined, and may be written again.
using WriteResult = pg::codec::Decoded;

class ListWriter;

class ValueWriter {
 public:
  explicit ValueWriter(const ColumnType& type);
  ~ValueWriter();
  ValueWriter(ValueWriter&&) noexcept;
  ValueWriter& operator=(ValueWriter&&) noexcept;

  /// Call once per chunk, after duckdb_data_chunk_reset where a chunk is used again. `vector` is borrowed
  /// until the next bind and has the type of make_logical_type.
  void bind(duckdb_vector vector);

  /// `row` must be below the vector's capacity (list columns grow their own child vectors). Each row is
  /// written once per bind. ValueKind::unchanged is malformed here.
  WriteResult write(const Value& value, idx_t row) {
    if (value.kind == ValueKind::text) return write_text_(*this, value.bytes, row);
    if (value.kind == ValueKind::binary) return write_binary_(*this, value.bytes, row);
    if (value.kind == ValueKind::null) return write_null(row);
    return WriteResult::malformed;
  }
  WriteResult write_text(std::string_view bytes, idx_t row) { return write_text_(*this, bytes, row); }
  WriteResult write_binary(std::string_view bytes, idx_t row) { return write_binary_(*this, bytes, row); }
  WriteResult write_null(idx_t row);

 private:
  friend struct WriteFunctions;
  friend class ListWriter;
  using WriteFunction = WriteResult (*)(ValueWriter&, std::string_view, idx_t);

  template <typename T>
  void store(idx_t row, T value) {
    static_cast<T*>(data_)[row] = value;
  }
  void store_string(idx_t row, std::string_view bytes);
  /// Takes back the nulls of rows [first, last), whose writing was given up.
  void forget_nulls(idx_t first, idx_t last);

  void* data_ = nullptr;
  std::uint64_t* validity_ = nullptr;
  duckdb_vector vector_ = nullptr;
  WriteFunction write_text_ = nullptr;
  WriteFunction write_binary_ = nullptr;
  std::string scratch_;  // text on its way into a vector, kept for its capacity
  std::unique_ptr<ListWriter> list_;
  ColumnType type_;
};

}  // namespace tailrace::target::duckdb
