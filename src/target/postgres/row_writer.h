#pragma once
// RowWriter: single changes as prepared statements, by the session's pipeline.

#include <span>
#include <string>
#include <vector>

#include "model/change_batch.h"
#include "target/postgres/apply_session.h"
#include "target/postgres/table_plan.h"

namespace tailrace::target::postgres {

/// Borrows everything; made for one batch.
class RowWriter {
 public:
  RowWriter(ApplySession& session, const TablePlan& plan) : session_(session), plan_(plan) {}

  void insert(std::span<const Value> row, Lsn commit_lsn);
  /// `before` holds the key that finds the row (or all columns); what `row` says is unchanged stays. `key_too`:
  /// the key is assigned as well.
  void update(std::span<const Value> before, std::span<const Value> row, bool key_too, Lsn commit_lsn);
  void remove(std::span<const Value> before, Lsn commit_lsn);

  /// As the stream says it, in its order.
  void change(const Change& change, Lsn commit_lsn);

 private:
  void start();
  void add(const Value& value);
  void add_finder(std::span<const Value> before);
  const std::vector<pg::Parameter>& parameters();

  ApplySession& session_;
  const TablePlan& plan_;
  struct Slot {
    Value value;
    std::size_t text_at = 0;  ///< where its text with a final NUL stands, which is how libpq takes text
  };
  std::vector<Slot> slots_;
  std::string texts_;
  std::vector<pg::Parameter> parameters_;
};

/// The columns of a tuple.
std::vector<Value> values_of(const TupleData& tuple);

}  // namespace tailrace::target::postgres
