#pragma once
// What `check` says of a DuckDB file that is to be written.

#include <optional>
#include <vector>

#include "cli/check_plan.h"
#include "config/config.h"
#include "model/checkpoint.h"
#include "source/preflight.h"

namespace tailrace::cli {

/// Marks in the plan what is followed already. `checkpoint`: gets the file's, where nobody has it open.
std::vector<source::CheckResult> check_duckdb(const config::Config& config, std::vector<PlannedTable>& plan,
                                              std::optional<Checkpoint>& checkpoint);

}  // namespace tailrace::cli
