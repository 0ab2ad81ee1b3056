#pragma once
// WrittenCode: what a server runs with the rights of whoever writes rows to a table, or reads them.

#include <string>
#include <vector>

#include "base/lsn.h"
#include "pg/connection.h"

namespace tailrace::schema {

/// What such code of others the tables have, and their partitions and their columns' types, while we are a
/// superuser: for people; empty: none. PostgreSQL's own functions that are known to be harmless are nobody's,
/// and those of superusers called by tables of superusers are ours.
std::string code_of_others(pg::Connection& connection, const std::vector<Oid>& tables);

}  // namespace tailrace::schema
