#pragma once
// Emptying tables of the target, and nothing else, whatever points at them.

#include <span>
#include <string>

#include "pg/connection.h"

namespace tailrace::target::postgres {

struct EmptiedTable {
  std::string sql_name;      ///< quoted and qualified
  bool partitioned = false;  ///< its partitions are meant
};

/// One TRUNCATE; or, where foreign keys of other tables forbid that, DELETE of each without triggers, so that
/// the rows that point there stay. In the connection's open transaction, whose session_replication_role is
/// replica.
void empty_tables(pg::Connection& connection, std::span<const EmptiedTable> tables, bool restart_identity);

}  // namespace tailrace::target::postgres
