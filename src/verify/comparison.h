#pragma once
// Comparison: is a table's content the same on both sides? Every row of both is turned into the text that
// PostgreSQL shows, hashed (128 bits), and added up per bucket of its key; where the sums of a bucket differ,
// its rows are read again and named. So equal means equal to the letter, whatever types lie between, and memory
// does not grow with the table.

#include "base/stop.h"
#include "pg/connection.h"
#include "schema/table.h"
#include "target/target.h"
#include "verify/report.h"

namespace tailrace::verify {

/// `source` is in a transaction that sees the position of `view`. The source is read on a thread of its own.
/// Throws Error when one side cannot be read, and when a stop is requested.
TableReport compare_table(pg::Connection& source, const schema::Table& table, target::TargetView& view,
                          const StopSignal& stop);

}  // namespace tailrace::verify
