#pragma once
// SetWriter: one TableBatch into one table of the target: deletes, then updates, then inserts. Few changes go
// as single statements by the pipeline; many are staged by COPY in temporary tables, sorted by key, and applied
// set-wise, and runs of inserts are copied straight into the table. It counts what every statement touched: a
// row that should be there and is not is an error.

#include <map>
#include <string>
#include <vector>

#include "model/apply_batch.h"
#include "target/postgres/apply_session.h"
#include "target/postgres/table_plan.h"

namespace tailrace::target::postgres {

/// Temporary tables of the session, by the columns that they hold. They are emptied by every commit.
class Stages {
 public:
  /// The stage for these columns of the relation (and, with `counted`, how often a row is meant), empty; made
  /// when it is new.
  std::string table(pg::Connection& connection, const TablePlan& plan, const ColumnSet& columns, bool counted);
  /// After a rollback, or a change of the tables: what is there is not known any more.
  void forget(pg::Connection& connection);

 private:
  std::map<std::string, std::string> made_;  ///< definition -> name
  int serial_ = 0;
};

/// Made for one batch, borrows everything.
class SetWriter {
 public:
  SetWriter(ApplySession& session, Stages& stages, const TablePlan& plan, const TableBatch& batch);

  /// Throws ConstraintFailed, Error, and NeedsRowOrder where only the order of the source is exact.
  void write();

 private:
  void classify();
  void write_singly();
  void write_deletes();
  void write_deletes_by_row();
  void write_updates();
  void write_inserts();
  ColumnSet sent_columns(std::uint32_t row) const;
  std::vector<Value> resolved(std::uint32_t row) const;
  std::string_view key_of(const TupleData& tuple);
  void check_deletions();
  void stage_keys(const std::string& stage, const ColumnSet& columns,
                  const std::vector<std::pair<std::string_view, const TupleData*>>& keys);
  void expect(std::int64_t touched, std::size_t wanted, const char* what) const;

  ApplySession& session_;
  Stages& stages_;
  const TablePlan& plan_;
  const TableBatch& batch_;
  std::string purpose_;
  bool contiguous_key_ = false;         ///< the key's bytes are one slice of a tuple
  Arena keys_;                          ///< of keys that are not
  std::vector<std::uint32_t> deletes_;  ///< indexes into the batch's deletes
  std::vector<std::uint32_t> updates_;  ///< indexes into the batch's rows
  std::vector<std::uint32_t> inserts_;
};

}  // namespace tailrace::target::postgres
