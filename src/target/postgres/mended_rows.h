#pragma once
// Rows that verify --repair writes: whatever policy and quarantine say of the source's own changes.

#include "model/apply_batch.h"
#include "target/postgres/apply_session.h"
#include "target/postgres/table_plan.h"

namespace tailrace::target::postgres {

/// In the open transaction, and waits for all. Throws Error that names the row which the target refuses.
void write_mended_rows(ApplySession& session, const TablePlan& plan, const RowRun& run);

}  // namespace tailrace::target::postgres
