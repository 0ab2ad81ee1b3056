#pragma once
// RowWriter: single changes as prepared statements, by the session's pipeline.

#include <span>
#include <string>
#include <vector>

#include "model/change_batch.h"
#include "target/postgres/apply_session.h"
#include "target/postgres/parameters.h"
#include "target/postgres/table_plan.h"

namespace tailrace::target::postgres {

/// Borrows everything; made for one batch.
class RowWriter {
 public:
  /// `commit_time`: of the source's transaction, where that decides who wins. `whoever`: rows are changed
  /// whoever wrote or deleted them.
  RowWriter(ApplySession& session, const TablePlan& plan, PgTimestamp commit_time = {}, bool whoever = false)
      : session_(session), plan_(plan), commit_time_(commit_time), whoever_(whoever) {}

  void insert(std::span<const Value> row, Lsn commit_lsn);
  /// `before` holds the key that finds the row (or all columns); what `row` says is unchanged stays. `key_too`:
  /// the key is assigned as well.
  void update(std::span<const Value> before, std::span<const Value> row, bool key_too, Lsn commit_lsn);
  void remove(std::span<const Value> before, Lsn commit_lsn);

  /// As the stream says it, in its order.
  void change(const Change& change, Lsn commit_lsn);

 private:
  void add_finder(std::span<const Value> before);
  void check_deletions(std::span<const Value> row, Lsn commit_lsn);

  ApplySession& session_;
  const TablePlan& plan_;
  PgTimestamp commit_time_;
  bool whoever_;
  Parameters parameters_;
};

/// What finds the row of an UPDATE, and what it becomes; `key_too`: perhaps under another key.
struct UpdateParts {
  std::vector<Value> before;
  std::vector<Value> row;
  bool key_too = false;
};
UpdateParts update_parts(const TablePlan& plan, const Change& change);

/// The columns of a tuple.
std::vector<Value> values_of(const TupleData& tuple);

}  // namespace tailrace::target::postgres
