#pragma once
// Foreign rows: which of the source's tables are filled by replication themselves.

#include <string>
#include <vector>

#include "base/lsn.h"
#include "pg/connection.h"

namespace tailrace::source {

/// Those of `tables` that a subscription of the source, or a tailrace that writes there, fills: qualified,
/// quoted names for people, "a, b"; empty if there are none.
std::string tables_filled_from_elsewhere(pg::Connection& source, const std::vector<Oid>& tables);

}  // namespace tailrace::source
