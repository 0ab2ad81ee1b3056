#include "target/duckdb/text_function.h"

#include <atomic>
#include <exception>

#include "target/duckdb/value_renderer.h"

namespace tailrace::target::duckdb {
namespace {

void render(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output) {
  // Nothing may be thrown through DuckDB.
  try {
    ValueRenderer renderer(*static_cast<const ColumnType*>(duckdb_scalar_function_get_extra_info(info)));
    renderer.bind(duckdb_data_chunk_get_vector(input, 0));
    std::string text;
    idx_t size = duckdb_data_chunk_get_size(input);
    for (idx_t row = 0; row < size; ++row) {
      text.clear();
      if (renderer.append_text(row, text)) {
        duckdb_vector_assign_string_element_len(output, row, text.data(), text.size());
      } else {
        duckdb_vector_ensure_validity_writable(output);
        duckdb_validity_set_row_invalid(duckdb_vector_get_validity(output), row);
      }
    }
  } catch (const std::exception& error) {
    duckdb_scalar_function_set_error(info, error.what());
  }
}

}  // namespace

std::string text_function(Session& session, const ColumnType& type) {
  static std::atomic<int> count{0};
  std::string name = fmt::format("tailrace_text_{}", count++);
  duckdb_scalar_function function = duckdb_create_scalar_function();
  duckdb_scalar_function_set_name(function, name.c_str());
  duckdb_logical_type argument = make_logical_type(type);
  duckdb_logical_type result = duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR);
  duckdb_scalar_function_add_parameter(function, argument);
  duckdb_scalar_function_set_return_type(function, result);
  duckdb_scalar_function_set_special_handling(function);
  duckdb_scalar_function_set_extra_info(function, new ColumnType(type),
                                        [](void* owned) { delete static_cast<ColumnType*>(owned); });
  duckdb_scalar_function_set_function(function, &render);
  bool failed = duckdb_register_scalar_function(session.raw(), function) == DuckDBError;
  duckdb_destroy_logical_type(&argument);
  duckdb_destroy_logical_type(&result);
  duckdb_destroy_scalar_function(&function);
  if (failed)
    throw Error(Retry::fatal, fmt::format("DuckDB refused the function that renders {} as text", type.sql));
  return name;
}

}  // namespace tailrace::target::duckdb
