#pragma once
// Reading: to plan a query, PostgreSQL works out what the expressions of a table's indexes, statistics and
// partition key call with constants, with the rights of whoever asks. COPY of a table plans nothing.

#include <set>
#include <vector>

#include "base/lsn.h"
#include "pg/connection.h"

namespace tailrace::schema {

/// Those of the tables of which a query would so run functions of somebody who is no superuser, while we are
/// one.
std::set<Oid> run_code_of_others(pg::Connection& source, const std::vector<Oid>& tables);

/// Throws Error that names them.
[[noreturn]] void refuse_to_query(pg::Connection& source, const std::set<Oid>& tables);

}  // namespace tailrace::schema
