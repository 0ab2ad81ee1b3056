#pragma once
// Deletions: notes, kept at the target, of when and by whom rows were deleted, so that what was written before
// cannot bring them back. A trigger that fires for everybody writes (table, key) into tailrace.deletions; the
// note's own commit time and origin are those of the deletion. TRUNCATE is not noted.

#include <chrono>
#include <string>
#include <vector>

#include "pg/connection.h"
#include "target/postgres/target_table.h"
#include "target/target.h"

namespace tailrace::target::postgres {

/// Tables of tailrace's own for conflicts, where they are missing.
void make_conflict_tables(pg::Connection& connection);

/// Puts the trigger on the table, or brings it up to date. In a transaction of its own it waits for those that
/// write to the table. Errors: a table without a primary key.
void note_deletions(pg::Connection& connection, const TargetTable& table);

/// Takes the trigger off those of the tables that it is on, unless other subscriptions follow into them too.
void stop_noting_deletions(pg::Connection& connection, const std::string& subscription,
                           const std::vector<TableRecord>& tables);

/// Of a table that is filled anew.
void forget_deletions_of(pg::Connection& connection, const TargetTable& table);

/// What the subscription recorded.
void remove_conflicts(pg::Connection& connection, const std::string& subscription);

/// Forgets what is older.
void forget_deletions(pg::Connection& connection, std::chrono::milliseconds age);

}  // namespace tailrace::target::postgres
