#pragma once
// A run of changes under savepoints, so that the one that the target refuses is found, and nothing else is
// lost.

#include <optional>

#include "target/postgres/apply_session.h"
#include "target/postgres/bad_change.h"
#include "target/postgres/conflict_handling.h"
#include "target/postgres/table_plan.h"

namespace tailrace::target::postgres {

/// Applies the changes from `from` up to `to`, one by one in their order. Nothing: all of them. Else the first
/// that was refused; those before it are applied, it and those after it are not.
std::optional<Refusal> apply_carefully(ApplySession& session, ConflictHandling& conflicts,
                                       const TablePlan& plan, const RowRun& run, std::size_t from,
                                       std::size_t to);

}  // namespace tailrace::target::postgres
