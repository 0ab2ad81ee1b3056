#pragma once
// TableChecks: whether the target's tables can take the source's, before anything is written anywhere.

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "pg/connection.h"
#include "schema/table.h"
#include "target/postgres/postgres_target.h"
#include "target/postgres/target_table.h"
#include "target/target.h"

namespace tailrace::target::postgres {

/// A relation as the stream would describe the table: what is published of it.
std::shared_ptr<const Relation> relation_of(const schema::Table& table);
/// What is to be noted of a table that is not copied yet.
TableRecord record_of(const schema::Table& table, const TargetTable& there);

std::vector<TableName> names_of(const std::vector<schema::Table>& tables);

/// Which of the tables are there, and which of all cannot be taken: one is missing, does not fit, or holds rows
/// of somebody else. `known`: tables that this subscription has here already.
struct Checked {
  std::map<TableName, TargetTable> found;
  std::vector<TableRefused> refused;
};
Checked check_can_take(pg::Connection& connection, const std::vector<schema::Table>& tables,
                       const std::set<Oid>& known, const PostgresOptions& options);

/// Runs `work`. Where the target refuses it for good, that is the table's trouble: throws TableRefused in place
/// of the server's words.
template <typename Work>
decltype(auto) for_table(Oid table, const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    if (error.retry() != Retry::needs_operator) throw;
    throw TableRefused(table, error.message(), error.remedy());
  }
}

}  // namespace tailrace::target::postgres
