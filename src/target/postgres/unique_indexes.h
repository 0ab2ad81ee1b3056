#pragma once
// Unique indexes of a target table, and the SQL that finds the row that a new one would meet in each.

#include <string>
#include <vector>

#include "pg/connection.h"
#include "target/postgres/table_plan.h"

namespace tailrace::target::postgres {

struct UniqueIndex {
  std::string name;
  bool is_key = false;               ///< it is on the columns that find a row
  std::vector<std::size_t> columns;  ///< of the relation, that it depends on

  /// SQL: the row `t` is what a new row meets. `row`: a subselect that has the columns of this index.
  std::string meets(const std::string& row) const;

 private:
  friend std::vector<UniqueIndex> unique_indexes(pg::Connection& connection, const TablePlan& plan);
  struct Part {
    std::string expression;  ///< with bare column names, which the innermost FROM gives a meaning
    std::string equals;
  };
  std::vector<Part> parts_;
  std::string predicate_;
  bool nulls_equal_ = false;
};

/// Those that are checked at once and whose columns all come from the source.
std::vector<UniqueIndex> unique_indexes(pg::Connection& connection, const TablePlan& plan);

}  // namespace tailrace::target::postgres
