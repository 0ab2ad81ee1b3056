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

/// Throws Error where one is missing, does not fit, or holds rows of somebody else. `known`: tables that this
/// subscription has here already. Gives those that are there.
std::map<TableName, TargetTable> check_can_take(pg::Connection& connection,
                                                const std::vector<schema::Table>& tables,
                                                const std::set<Oid>& known, const PostgresOptions& options);

}  // namespace tailrace::target::postgres
