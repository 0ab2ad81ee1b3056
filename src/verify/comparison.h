#pragma once
// Comparison: is a table's content the same on both sides, to the letter of PostgreSQL's text? Sums of row
// hashes (128 bits) are compared per bucket of the key, and only where they differ, rows are read and named; so
// memory does not grow with the table. Two PostgreSQL databases sum up themselves, both at once; for any other
// target the rows of both sides are brought here.

#include <functional>

#include "base/stop.h"
#include "pg/connection.h"
#include "schema/table.h"
#include "target/target.h"
#include "verify/report.h"
#include "verify/sql_table.h"
#include "verify/table_digest.h"

namespace tailrace::verify {

struct Comparison {
  TableReport report;
  RowShape shape;
  /// The canonical keys under which rows differ; those of the first 50,000 rows or so that had to be looked at.
  std::vector<std::string> keys;
};

/// `source` is in a transaction that sees the position of `view`. The source is read on a thread of its own.
/// `around`: the source's queries of the table (sql_table.h). `counted` is told now and then how many more of
/// its rows were read, from that thread. Throws Error when one side cannot be read, and StopRequested.
Comparison compare_table(pg::Connection& source, const schema::Table& table, target::TargetView& view,
                         const StopSignal& stop, const Around& around,
                         const std::function<void(std::int64_t)>& counted);

/// The columns that the target has of the table, and the key among them; nothing where the source cannot be
/// asked for them. `report` says what only one side has.
std::optional<RowShape> common_shape(const schema::Table& table, const target::TargetView& view,
                                     TableReport& report);

}  // namespace tailrace::verify
