#pragma once
// Applying what is in quarantine of a table.

#include <functional>

#include "target/postgres/kept_changes.h"
#include "target/postgres/table_plan.h"

namespace tailrace::target::postgres {

struct ReplayCount {
  std::int64_t changes = 0;
  std::int64_t last_number = 0;
};

/// In the session's open transaction, in the source's order. `plan_for` a relation as the changes knew it.
/// Throws Error, naming the change, when one is refused or the table is not what it was when it came.
ReplayCount replay_kept(
    ApplySession& session, KeptChanges& kept, const TableRecord& table,
    const std::function<const TablePlan&(const std::shared_ptr<const Relation>&)>& plan_for);

}  // namespace tailrace::target::postgres
