#pragma once
// What `check` says of a start itself, by the code by which a start refuses: whether what the target has can be
// gone on from, and whether a PostgreSQL target can take what is to come.

#include <optional>
#include <vector>

#include "config/config.h"
#include "model/checkpoint.h"
#include "pg/connection.h"
#include "source/preflight.h"

namespace tailrace::cli {

/// By a replication connection, which a start needs too. `checkpoint`: the target's, if it has one.
std::vector<source::CheckResult> check_replication(const config::Config& config, pg::Connection& source,
                                                   const std::optional<Checkpoint>& checkpoint);

/// A start with snapshot.enabled: off, of a target that has no checkpoint with a slot.
std::vector<source::CheckResult> check_rows_as_of(const config::Config& config, pg::Connection& source,
                                                  const std::optional<Checkpoint>& checkpoint);

/// A start with a DuckDB file that has a checkpoint, and that nobody has open.
std::vector<source::CheckResult> check_chosen_types(const config::Config& config, pg::Connection& source);

/// A first start into a PostgreSQL target. Makes nothing.
std::vector<source::CheckResult> check_first_start(const config::Config& config, pg::Connection& source,
                                                   pg::Connection& target);

}  // namespace tailrace::cli
