#pragma once
// Mending: makes the rows that a target has under some keys of a table what the source has. Exact because it
// works while the target stands still at the very position that the source's transaction sees: both sides are
// read again there, and what differs is written in the order of things, before the stream's next change.

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/stop.h"
#include "model/change_batch.h"
#include "pg/connection.h"
#include "schema/table.h"
#include "target/target.h"
#include "verify/as_shown.h"
#include "verify/report.h"
#include "verify/sql_table.h"
#include "verify/table_digest.h"

namespace tailrace::pipeline {

/// Of one table. One thread at a time.
class Mending {
 public:
  /// `keys`: canonical ones, as verify::Comparison names them.
  Mending(verify::RowShape shape, std::vector<std::string> keys)
      : shape_(std::move(shape)), keys_(std::move(keys)) {}

  bool done() const { return keys_.empty(); }
  /// For some seconds, then comes back although keys are left. `source` is in a transaction that sees what the
  /// target holds apart from the differences, `around` its queries of the table; no transaction of the target's
  /// is open. Throws Error when the target refuses a row, schema::TableAltered when more is to be done under a
  /// newer snapshot, NeedsRowOrder never.
  void work(pg::Connection& source, const schema::Table& table, const verify::Around& around,
            target::Target& target, const Checkpoint& checkpoint, const StopSignal& stop);
  const verify::Mended& mended() const { return mended_; }

 private:
  /// By canonical key, canonical rows.
  using Rows = std::map<std::string, std::vector<std::string>>;
  /// What is to be written, as the stream would bring it.
  struct Changes {
    Arena arena;
    std::vector<Change> list;
    verify::Mended counts;
  };

  Rows read_source(pg::Connection& source, const schema::Table& table, const verify::Around& around,
                   const StopSignal& stop);
  Rows read_target(target::TargetView& view, const schema::Table& table, const StopSignal& stop);
  void read_chosen(pg::Connection& connection, verify::SqlTable& from, const schema::Table& table,
                   const StopSignal& stop, Rows& out);
  void keep(const verify::Row& row, Rows& rows);
  std::string condition(const schema::Table& table, bool typed) const;
  Changes changes(Rows& here, Rows& there, bool keyed);
  void write(const schema::Table& table, target::Target& target, const Checkpoint& checkpoint,
             const Changes& changes, bool keyed);

  verify::RowShape shape_;
  verify::AsShown as_shown_;
  std::vector<std::string> keys_;
  std::set<std::string, std::less<>> chosen_;  ///< the keys in hand
  std::size_t bytes_ = 0;                      ///< of the rows read for them
  verify::Mended mended_;
};

}  // namespace tailrace::pipeline
