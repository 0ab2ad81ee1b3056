#pragma once
// TableChecks: whether the target's tables can take the source's, before anything is written anywhere.

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "pg/connection.h"
#include "schema/table.h"
#include "target/postgres/hidden_tables.h"
#include "target/postgres/names.h"
#include "target/postgres/postgres_target.h"
#include "target/postgres/target_table.h"
#include "target/target.h"

namespace tailrace::target::postgres {

/// A relation as the stream would describe the table: what is published of it.
std::shared_ptr<const Relation> relation_of(const schema::Table& table);
/// What is to be noted of a table that is not copied yet.
TableRecord record_of(const schema::Table& table, const TargetTable& there);

std::vector<TableName> names_of(const std::vector<schema::Table>& tables);

/// Throws Error where the target's table lacks a column, or has one that does not fit.
void check_columns(const schema::Table& table, const TargetTable& there);

/// Throws TableRefused where writing to the target's table would run code of others with a superuser's rights.
/// `table`: the source's.
void refuse_code_of_others(pg::Connection& connection, Oid table, const TargetTable& there);
/// What to say of it where a crash of the target's server would empty it, or a partition of it, while the
/// checkpoint stays. `table`: the source's.
std::optional<TableRefused> refusal_of_unlogged(Oid table, const TargetTable& there);
/// Of those that are followed.
std::vector<TableRefused> find_unlogged(pg::Connection& connection, const Records& records);
/// It, or a partition of it, belongs to somebody who is no superuser, and may give it such code.
bool is_somebodys(pg::Connection& connection, Oid relation);

struct Checked {
  std::map<Oid, TargetTable> found;  ///< by the source's: what is there for it
  std::vector<Claim> claims;  ///< names that are to be given to what is ours, or made free for what is made
  std::vector<Oid> left;      ///< tables of which a partition stands in the way of another table
  std::vector<TableRefused> refused;
};

/// Looks for each of the tables at the target: for what the records say is its own; else for a table of its
/// name that is empty, or may stay as it is. Refused is one whose name is somebody else's, that does not fit,
/// or that is missing and is not to be made. `hidden`: what is out of sight.
Checked check_can_take(pg::Connection& connection, const std::vector<HiddenTables::Root>& hidden,
                       const std::vector<schema::Table>& tables, const Records& records,
                       const PostgresOptions& options);

/// Throws Error where the rows of one of the tables are neither there nor `coming`.
void check_rows_there(const Checked& checked, const std::vector<schema::Table>& tables,
                      const std::set<Oid>& coming);

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
