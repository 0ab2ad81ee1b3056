#pragma once
// Until: where a run is to end, as it stands on the command line.

#include <string>

#include "cli/command.h"
#include "pipeline/run_end.h"

namespace tailrace::cli {

/// Throws UsageProblems.
pipeline::Until read_until(const Options& options);

}  // namespace tailrace::cli
