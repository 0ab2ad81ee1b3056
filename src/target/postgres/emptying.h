#pragma once
// Emptying one table of the target, whatever points at it.

#include <string>

#include "pg/connection.h"

namespace tailrace::target::postgres {

/// TRUNCATE; or, where foreign keys forbid that, DELETE without triggers. In the connection's open transaction.
/// `sql_name` quoted and qualified; `partitioned`: its partitions are meant.
void empty_table(pg::Connection& connection, const std::string& sql_name, bool partitioned,
                 bool restart_identity);

}  // namespace tailrace::target::postgres
