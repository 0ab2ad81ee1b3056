#pragma once
// A SQL function that renders a DuckDB value as the exact text PostgreSQL shows: ValueRenderer inside a query,
// for changing a column's type in place.

#include <string>

#include "target/duckdb/column_type.h"
#include "target/duckdb/database.h"

namespace tailrace::target::duckdb {

/// Registers the function for values of `type` and returns its name. The registration lasts as long as the
/// database is open.
std::string text_function(Session& session, const ColumnType& type);

}  // namespace tailrace::target::duckdb
