#pragma once
// What a first start would do, told beforehand: which tables, how large, into what.

#include <cstdint>
#include <string>
#include <vector>

#include "config/config.h"
#include "pg/connection.h"

namespace tailrace::cli {

struct PlannedTable {
  std::string table;      ///< qualified, as at the source
  std::string action;     ///< "made", "filled", "followed already", "not there"
  std::int64_t rows = 0;  ///< the planner's estimate; -1 unknown
  std::int64_t bytes = 0;
};

/// By the source alone: every table is "made". Partitions count as their root.
std::vector<PlannedTable> plan_of(const config::Config& config, pg::Connection& source);

std::int64_t bytes_of(const std::vector<PlannedTable>& plan);

}  // namespace tailrace::cli
