#pragma once
// A SQL function that renders a DuckDB value as the exact text PostgreSQL shows: ValueRenderer inside a query,
// for changing a column's type in place.

#include <string>
#include <vector>

#include "target/duckdb/column_type.h"
#include "target/duckdb/database.h"

namespace tailrace::target::duckdb {

/// Registers the function for values of `type` and returns its name. The registration lasts as long as the
/// database is open.
std::string text_function(Session& session, const ColumnType& type);

/// The same under a name that is given, for values of any of `types`, of which no two are the same DuckDB type.
void register_text_function(Session& session, const std::string& name, const std::vector<ColumnType>& types);

}  // namespace tailrace::target::duckdb
