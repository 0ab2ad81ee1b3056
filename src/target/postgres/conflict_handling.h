#pragma once
// ConflictHandling: what a PostgresTarget knows of conflicts: the settings, whose rows are whose, which tables
// are applied with care for a while, and what there was to tell. One thread.

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "model/conflict.h"
#include "target/postgres/apply_session.h"
#include "target/postgres/careful_writer.h"
#include "target/postgres/conflict_log.h"
#include "target/postgres/origins.h"
#include "target/postgres/table_plan.h"
#include "target/target.h"

namespace tailrace::target::postgres {

class ConflictHandling {
 public:
  ConflictHandling(ConflictSettings settings, std::string subscription);

  /// The source's name as a writer, the same at every node.
  void follows(std::string source) { source_ = std::move(source); }
  /// Before anything is applied; `has_origin`: what is applied is marked. Errors: the target does not remember
  /// what a policy needs to know.
  void start(pg::Connection& connection, bool has_origin, const std::vector<TableRecord>& tables);
  void complete(TablePlan& plan, pg::Connection& connection) const;
  bool by_time() const { return settings_.by_time(); }

  /// From now on and for a while, at least until that was committed, the table's changes are applied with care.
  void take_care(Oid table, const std::string& reason);
  bool with_care(Oid table) const;
  /// Why, for people; empty if it is not.
  std::string reason(Oid table) const;
  /// Somebody else was faster than a change that was applied with care: true if it is worth another try.
  bool another_try(Oid table);
  void apply(ApplySession& session, const TablePlan& plan, const RowRun& run);

  void committed();
  void rolled_back();
  std::map<Oid, ConflictCounts> take_counts() { return log_.take_counts(); }
  /// Now and then: forgets what is too old to matter.
  void tidy(pg::Connection& connection);

 private:
  using Clock = std::chrono::steady_clock;
  struct Care {
    std::string reason;
    Clock::time_point until;
    Clock::duration length = {};
    int tries = 0;
    bool pending = false;  ///< no commit yet that was applied so
  };

  void check_server(pg::Connection& connection, bool has_origin);

  ConflictSettings settings_;
  std::string subscription_;
  std::string source_;
  Writers writers_;
  ConflictLog log_;
  bool knows_times_ = false;
  std::map<Oid, Care> care_;
  std::set<Oid> used_;  ///< the open transaction applied changes of them with care
  struct Indexes {
    std::shared_ptr<const Relation> of;
    std::vector<UniqueIndex> list;
  };
  std::map<Oid, Indexes> indexes_;  ///< read again when something was not as expected
  Clock::time_point tidied_;
};

}  // namespace tailrace::target::postgres
