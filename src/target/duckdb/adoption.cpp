#include "target/duckdb/adoption.h"

#include <algorithm>
#include <vector>

namespace tailrace::target::duckdb {
namespace {

[[noreturn]] void refuse(const MirrorTable& table, const std::string& what, const std::string& remedy) {
  throw Error(Retry::needs_operator, fmt::format("the file's table {}.{} {}", table.schema, table.name, what),
              remedy);
}

/// As DuckDB itself writes the type.
std::string as_written(Session& session, const std::string& type) {
  return read_text(session, fmt::format("SELECT typeof(NULL::{})", type)).at(0).at(0);
}

struct Column {
  std::string name;
  std::string type;
};

std::vector<Column> columns_of(Session& session, const MirrorTable& table) {
  std::vector<Column> out;
  for (auto& line :
       read_text(session, fmt::format("SELECT column_name, data_type FROM duckdb_columns() WHERE "
                                      "database_name = current_database() AND schema_name = {} AND "
                                      "table_name = {} ORDER BY column_index",
                                      quote_literal(table.target_schema), quote_literal(table.target_name)))) {
    out.push_back({std::move(line[0]), std::move(line[1])});
  }
  return out;
}

/// DuckDB alters no table with an index, and a key there refuses a row that is deleted and inserted in one
/// transaction.
void refuse_keys(Session& session, const MirrorTable& table) {
  auto where = fmt::format("database_name = current_database() AND schema_name = {} AND table_name = {}",
                           quote_literal(table.target_schema), quote_literal(table.target_name));
  auto keys = read_text(session,
                        "SELECT count(*)::VARCHAR FROM duckdb_constraints() WHERE constraint_type <> "
                        "'NOT NULL' AND " +
                            where);
  auto indexes = read_text(session, "SELECT count(*)::VARCHAR FROM duckdb_indexes() WHERE " + where);
  if (keys.at(0).at(0) == "0" && indexes.at(0).at(0) == "0") return;
  refuse(table, "has keys, checks or indexes, with which DuckDB cannot follow",
         fmt::format("Make it without them: CREATE TABLE ... AS FROM {}", table.sql_name()));
}

}  // namespace

bool holds_tables(Session& session) {
  auto found = read_text(session,
                         "SELECT count(*)::VARCHAR FROM duckdb_tables() WHERE schema_name <> 'tailrace' AND "
                         "database_name = current_database()");
  return found.at(0).at(0) != "0";
}

MirrorTable adopted(Session& session, MirrorTable planned) {
  refuse_keys(session, planned);
  auto wanted = std::exchange(planned.columns, {});
  for (const auto& there : columns_of(session, planned)) {
    auto column =
        std::ranges::find_if(wanted, [&](const auto& one) { return same_name(one.name, there.name); });
    if (column == wanted.end()) {
      refuse(planned, fmt::format("has a column {}, which the source does not publish", there.name),
             "Drop it, or publish it");
    }
    if (there.type == "VARCHAR" && column->type.sql != "VARCHAR") {
      column->type = widen_to_text(column->type);
      column->widened = true;
    } else if (there.type != as_written(session, column->type.sql)) {
      refuse(planned,
             fmt::format("has the type {} in column {}, where the source's values need {}", there.type,
                         there.name, column->type.sql),
             fmt::format("ALTER TABLE {} ALTER COLUMN {} TYPE {}; or VARCHAR, with PostgreSQL's text",
                         planned.sql_name(), quote_identifier(there.name), column->type.sql));
    }
    column->name = there.name;
    planned.columns.push_back(std::move(*column));
    wanted.erase(column);
  }
  if (!wanted.empty()) {
    refuse(planned, fmt::format("lacks the column {}", wanted.front().source.name),
           "Load it too, or leave it out: tables: [{table: ..., columns: [...]}]");
  }
  return planned;
}

}  // namespace tailrace::target::duckdb
