#pragma once
// VerifyPatrol: verify --continuous: table after table, round after round.

#include <functional>
#include <optional>

#include "cli/command.h"
#include "pipeline/engine.h"

namespace tailrace::cli {

/// Whoever does the work: a tailrace that runs on the target, or this process.
struct Verifier {
  pipeline::Compare compare;
  std::function<std::optional<pipeline::Status>()> status;  ///< nothing while it is away
};

/// -t chooses among the tables that are followed; which those are, it does not change.
TableSelection chosen_tables(const Options& options);
bool is_chosen(const pipeline::TableStatus& table, const TableSelection& selection);

/// Until a stop is requested, or what is compared has given up. Returns the exit code.
int patrol(const Verifier& verifier, const Options& options);

}  // namespace tailrace::cli
