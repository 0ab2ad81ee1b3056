#pragma once
// The partitions of a followed table that the target has otherwise than the source: the source dropped or
// detached them, hung them below another one, or attached them with other bounds. PostgreSQL documentation:
// "5.12. Table Partitioning". Blocking; throws Error.

#include <set>
#include <string>
#include <vector>

#include "pg/connection.h"
#include "target/target.h"

namespace tailrace::target::postgres {

/// The statements by which the source's partitions are attached, as schema::Structure has them.
using Attachments = std::set<std::string>;

struct OddPartitions {
  std::vector<std::string> there;  ///< the outermost that the source has not like this, by their quoted names
  bool lacks = false;              ///< the source has some that the target has not like this
};

OddPartitions odd_partitions(pg::Connection& connection, const TableRecord& root, const Attachments& source);

/// Drops those that hold no row, each in a transaction of its own. One that cannot go stays, which is told.
void drop_empty(pg::Connection& connection, const TableRecord& root,
                const std::vector<std::string>& partitions);

}  // namespace tailrace::target::postgres
