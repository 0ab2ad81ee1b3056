// Any bytes as a value of any column type, text and binary: the writer must say ok, does_not_fit or malformed,
// and what it took must render to a text that it takes again, unchanged.

#include <duckdb.h>

#include <cstdlib>
#include <memory>
#include <vector>

#include "target/duckdb/value_renderer.h"
#include "target/duckdb/value_writer.h"

namespace {

using namespace tailrace;
using namespace tailrace::target::duckdb;

struct Column {
  explicit Column(const ColumnType& column_type) : type(column_type), writer(type), renderer(type) {
    logical = make_logical_type(type);
    chunk = duckdb_create_data_chunk(&logical, 1);
  }
  ~Column() {
    duckdb_destroy_data_chunk(&chunk);
    duckdb_destroy_logical_type(&logical);
  }
  Column(const Column&) = delete;
  Column& operator=(const Column&) = delete;

  void reset() {
    duckdb_data_chunk_reset(chunk);
    writer.bind(duckdb_data_chunk_get_vector(chunk, 0));
  }
  std::string render(idx_t row) {
    renderer.bind(duckdb_data_chunk_get_vector(chunk, 0));
    std::string out;
    if (!renderer.append_text(row, out)) std::abort();
    return out;
  }

  ColumnType type;
  duckdb_logical_type logical = nullptr;
  duckdb_data_chunk chunk = nullptr;
  ValueWriter writer;
  ValueRenderer renderer;
};

std::vector<std::unique_ptr<Column>> make_columns() {
  std::vector<std::unique_ptr<Column>> out;
  const char* names[] = {"bool",        "int2",     "int4",   "int8",   "oid",     "xid8",
                         "float4",      "float8",   "date",   "time",   "uuid",    "timestamp",
                         "timestamptz", "interval", "timetz", "bytea",  "text",    "char",
                         "json",        "jsonb",    "varbit", "inet",   "cidr",    "macaddr",
                         "name",        "macaddr8", "money",  "pg_lsn", "numeric", "point"};
  const std::int32_t typmods[] = {-1, (4 << 16 | 2) + 4, (18 << 16 | 9) + 4, (38 << 16 | 38) + 4};
  for (const char* name : names) {
    for (std::int32_t typmod : typmods) {
      if (typmod != -1 && std::string_view(name) != "numeric") continue;
      auto element = std::make_shared<schema::Type>();
      element->name = name;
      element->builtin = true;
      schema::Type array;
      array.builtin = true;
      array.element = element;
      for (const ColumnType& type :
           {map_column(*element, typmod, 0), map_column(array, typmod, 1), map_column(array, typmod, 3)}) {
        out.push_back(std::make_unique<Column>(type));
        out.push_back(std::make_unique<Column>(widen_to_text(type)));
      }
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto columns = make_columns();
  if (size < 2) return 0;
  Column& column = *columns[data[0] * std::size_t{2} % columns.size() + (data[1] >> 1 & 1)];
  auto kind = (data[1] & 1) != 0 ? ValueKind::binary : ValueKind::text;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  column.reset();
  if (column.writer.write({kind, bytes}, 0) != WriteResult::ok) return 0;
  std::string text = column.render(0);
  if (column.writer.write({ValueKind::text, text}, 1) != WriteResult::ok) std::abort();
  if (column.render(1) != text) std::abort();
  return 0;
}
