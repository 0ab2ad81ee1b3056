#pragma once
// What `check` says of a DuckDB file that is to be written.

#include <vector>

#include "cli/check_plan.h"
#include "config/config.h"
#include "source/preflight.h"

namespace tailrace::cli {

/// `runs`: a tailrace does, on this file. Marks in the plan what is followed already.
std::vector<source::CheckResult> check_duckdb(const config::Config& config, bool runs,
                                              std::vector<PlannedTable>& plan);

}  // namespace tailrace::cli
