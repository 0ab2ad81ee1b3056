#pragma once
// SetWriter: one TableBatch into one table of the target: deletes, then updates, then inserts. Few changes go
// as single statements by the pipeline; many are staged by COPY in temporary tables, sorted by key, and applied
// set-wise, and runs of inserts are copied straight into the table. It counts what every statement touched: a
// row that should be there and is not is an error.

#include <chrono>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/apply_batch.h"
#include "target/postgres/apply_session.h"
#include "target/postgres/set_changes.h"
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
  /// Of the oldest.
  std::chrono::steady_clock::duration age() const;

 private:
  std::chrono::steady_clock::time_point oldest_;
  std::map<std::string, std::string> made_;  ///< definition -> name
  int serial_ = 0;
};

/// Made for one batch, borrows everything.
class SetWriter {
 public:
  SetWriter(ApplySession& session, Stages& stages, const TablePlan& plan, const TableBatch& batch);

  /// Throws ConstraintFailed, RowMissing, Error, and RowOrderNeeded where only the order of the source is
  /// exact.
  void write(const SetChanges& changes);

 private:
  using Keyed = std::vector<SetChanges::Keyed>;

  void write_singly(const SetChanges& changes);
  void write_deletes(const Keyed& deletes);
  std::optional<std::vector<std::string_view>> single_keys(const Keyed& deletes) const;
  std::optional<KeyRange> dense_range(const std::vector<std::string_view>& keys);
  std::int64_t delete_by_array(const std::string& condition, const std::vector<std::string_view>& keys);
  std::int64_t delete_by_stage(const Keyed& deletes);
  void write_deletes_by_row(const Keyed& deletes);
  void write_updates(const SetChanges& changes);
  void write_group(const ColumnSet& sent, const std::vector<std::uint32_t>& rows);
  void write_inserts(const std::vector<std::uint32_t>& inserts);
  void check_deletions(const std::vector<std::uint32_t>& inserts);
  void stage_keys(const std::string& stage, const ColumnSet& columns,
                  const std::vector<const TupleData*>& keys);
  ColumnSet sent_columns(std::uint32_t row);
  std::span<const Value> resolved(std::uint32_t row);
  void fetch_row_soon(const std::vector<std::uint32_t>& rows, std::size_t i) const;
  const char* format() const { return binary_ ? " (format binary)" : ""; }
  void expect(std::int64_t touched, std::size_t wanted) const;

  ApplySession& session_;
  Stages& stages_;
  const TablePlan& plan_;
  const TableBatch& batch_;
  std::string purpose_;
  bool binary_ = false;        ///< the batch's values are
  std::vector<Value> values_;  ///< of the row in hand
};

}  // namespace tailrace::target::postgres
