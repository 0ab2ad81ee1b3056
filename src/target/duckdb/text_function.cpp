#include "target/duckdb/text_function.h"

#include <algorithm>
#include <atomic>
#include <exception>

#include "target/duckdb/value_renderer.h"

namespace tailrace::target::duckdb {
namespace {

/// As ColumnType::sql names it.
std::string name_of(duckdb_logical_type type) {
  auto id = duckdb_get_type_id(type);
  if (id == DUCKDB_TYPE_DECIMAL)
    return fmt::format("DECIMAL({},{})", duckdb_decimal_width(type), duckdb_decimal_scale(type));
  if (id != DUCKDB_TYPE_LIST) return std::string(sql_name(id));
  duckdb_logical_type element = duckdb_list_type_child_type(type);
  std::string out = name_of(element) + "[]";
  duckdb_destroy_logical_type(&element);
  return out;
}

const ColumnType& type_of(duckdb_vector vector, const std::vector<ColumnType>& types) {
  duckdb_logical_type type = duckdb_vector_get_column_type(vector);
  std::string name = name_of(type);
  duckdb_destroy_logical_type(&type);
  auto found = std::ranges::find(types, name, &ColumnType::sql);
  if (found == types.end()) throw Error(Retry::fatal, "no column was of type " + name);
  return *found;
}

void render(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output) {
  // Nothing may be thrown through DuckDB.
  try {
    duckdb_vector values = duckdb_data_chunk_get_vector(input, 0);
    ValueRenderer renderer(type_of(
        values, *static_cast<const std::vector<ColumnType>*>(duckdb_scalar_function_get_extra_info(info))));
    renderer.bind(values);
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
  register_text_function(session, name, {type});
  return name;
}

void register_text_function(Session& session, const std::string& name, const std::vector<ColumnType>& types) {
  duckdb_scalar_function function = duckdb_create_scalar_function();
  duckdb_scalar_function_set_name(function, name.c_str());
  // DuckDB would cast what is of another type, and its digits with it.
  duckdb_logical_type argument = duckdb_create_logical_type(DUCKDB_TYPE_ANY);
  duckdb_logical_type result = duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR);
  duckdb_scalar_function_add_parameter(function, argument);
  duckdb_scalar_function_set_return_type(function, result);
  duckdb_scalar_function_set_special_handling(function);
  duckdb_scalar_function_set_extra_info(function, new std::vector<ColumnType>(types), [](void* owned) {
    delete static_cast<std::vector<ColumnType>*>(owned);
  });
  duckdb_scalar_function_set_function(function, &render);
  bool failed = duckdb_register_scalar_function(session.raw(), function) == DuckDBError;
  duckdb_destroy_logical_type(&argument);
  duckdb_destroy_logical_type(&result);
  duckdb_destroy_scalar_function(&function);
  if (failed) throw Error(Retry::fatal, "DuckDB refused a function that renders values as text");
}

}  // namespace tailrace::target::duckdb
