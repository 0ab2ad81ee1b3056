#pragma once
// Changes of a table's definition, as the source made them, at the target.

#include "pg/connection.h"
#include "target/target.h"

namespace tailrace::target::postgres {

/// Alters the table in the connection's transaction and brings the record up to date. What the target's owner
/// did there beforehand (a column that is there already) is taken as done.
void evolve_table(pg::Connection& connection, TableRecord& record, const Evolution& evolution);

}  // namespace tailrace::target::postgres
