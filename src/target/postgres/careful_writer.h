#pragma once
// CarefulWriter: changes one at a time, each after a look at the rows that it will meet, locked. For tables
// whose rows turned out not to be what the source expects; slower by round trips.

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/apply_batch.h"
#include "model/conflict.h"
#include "target/postgres/apply_session.h"
#include "target/postgres/conflict_log.h"
#include "target/postgres/origins.h"
#include "target/postgres/parameters.h"
#include "target/postgres/table_plan.h"
#include "target/postgres/unique_indexes.h"

namespace tailrace::target::postgres {

/// A conflict that the policy does not resolve.
class RefusedByPolicy : public Error {
 public:
  RefusedByPolicy(Oid table, const std::string& what, const std::string& remedy)
      : Error(Retry::needs_operator, what, remedy), table_(table) {}
  Oid table() const { return table_; }

 private:
  Oid table_;
};

/// What applies to one table.
struct CarefulSettings {
  ConflictRules rules;
  bool record = false;       ///< into tailrace.conflicts
  bool knows_times = false;  ///< the server remembers who committed what when
  std::string subscription;
  std::string source;  ///< the source's name as a writer
};

/// Made for one run, borrows everything.
class CarefulWriter {
 public:
  CarefulWriter(ApplySession& session, const TablePlan& plan, const CarefulSettings& settings,
                const std::vector<UniqueIndex>& indexes, const Writers& writers, ConflictLog& log);

  /// Throws RefusedByPolicy; ConstraintFailed and RowMissing when somebody else was faster, and
  /// it should come again.
  void change(const RowRun::Entry& entry);

 private:
  /// A locked row of the target.
  struct Found {
    std::string place;  ///< tableoid and ctid
    std::string part;
    std::optional<WriteStamp> stamp;  ///< nothing: not known
    std::string origin;               ///< for people
    bool own = true;                  ///< nobody else wrote it last, as far as known
    bool by_key = false;
  };

  void insert(std::span<const Value> row, bool inserting);
  void update(std::span<const Value> before, std::vector<Value> row, bool key_too);
  void remove(std::span<const Value> before);
  void move(std::span<const Value> before, std::span<const Value> row);

  std::optional<Found> find(std::span<const Value> before);
  std::vector<Found> find_met(std::span<const Value> row, const Found* except,
                              std::vector<std::string>& indexes);
  std::vector<Found> locked(const std::string& condition);
  std::optional<WriteStamp> deletion_of(std::span<const Value> before);
  bool was_deleted_later(std::span<const Value> row);
  void check_deleted_meanwhile(std::span<const Value> row);
  void note_deletion(std::span<const Value> before);
  void drop(const Found& row);
  void put(std::span<const Value> row);
  /// Counts and records it; throws Error if that is how it is resolved.
  void report(ConflictKind kind, Resolution resolution, const char* done, std::span<const Value> keys,
              std::span<const Value> row, std::span<const Found> met,
              const std::vector<std::string>& indexes = {});
  void record(const Conflict& conflict, std::span<const Value> row, std::span<const Found> met);
  /// Throws Error if a large value was not sent.
  void require_whole(std::span<const Value> row) const;

  std::string bind(const Value& value, std::size_t column);
  std::string bind(const std::string& text, const char* type);
  std::string finder(std::span<const Value> before);
  std::string key_json(std::span<const Value> before);
  std::string stamp_sql(const char* alias) const;
  std::optional<WriteStamp> stamp_from(const std::vector<std::optional<std::string>>& row,
                                       std::size_t at) const;
  ApplySession::Rows ask(const std::string& sql);

  ApplySession& session_;
  const TablePlan& plan_;
  const CarefulSettings& settings_;
  const Writers& writers_;
  ConflictLog& log_;
  const std::vector<UniqueIndex>& indexes_;
  WriteStamp remote_;
  Lsn commit_lsn_;
  Parameters parameters_;
  std::vector<std::unique_ptr<std::string>> texts_;  ///< bound, and borrowed by parameters_
};

}  // namespace tailrace::target::postgres
