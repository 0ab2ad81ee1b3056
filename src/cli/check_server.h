#pragma once
// What `check` says of the server of a PostgreSQL target: whether the mirror finds there what it needs.

#include <vector>

#include "cli/check_plan.h"
#include "config/config.h"
#include "pg/connection.h"
#include "source/preflight.h"

namespace tailrace::cli {

/// Reads only. Marks in the plan what is there, and what is followed already.
std::vector<source::CheckResult> check_server(const config::Config& config, pg::Connection& source,
                                              pg::Connection& target, std::vector<PlannedTable>& plan);

}  // namespace tailrace::cli
