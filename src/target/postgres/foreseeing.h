#pragma once
// Foreseeing: what a first start would refuse at a PostgreSQL target, found by what refuses it there. Nothing
// is written, and what a start would find of its own there is none.

#include <set>
#include <vector>

#include "base/error.h"
#include "pg/connection.h"
#include "schema/structure.h"
#include "schema/table.h"
#include "target/postgres/postgres_target.h"

namespace tailrace::target::postgres {

/// For a subscription that is not set up there. `coming`: see Target::check_rows(). Errors are thrown only
/// where the target or the source cannot be asked.
std::vector<Error> foresee_refusals(pg::Connection& target, const PostgresOptions& options,
                                    const std::vector<schema::Table>& tables, const std::set<Oid>& coming,
                                    const schema::ReadStructure& read);

}  // namespace tailrace::target::postgres
