#pragma once
// Lane: one connection that transactions are applied by, with its stages and its replication origin.

#include <string>

#include "model/apply_batch.h"
#include "model/checkpoint.h"
#include "target/postgres/apply_session.h"
#include "target/postgres/set_writer.h"

namespace tailrace::target::postgres {

/// The origin that the lane of this number marks its changes with. A session holds it alone.
std::string origin_of(const std::string& subscription, int number);
/// A condition on pg_replication_origin.roname: all origins of the subscription.
std::string is_origin_of(const std::string& subscription);

/// Where the target's log was after a commit.
struct Landed {
  Lsn end;      ///< once the target flushed up to here, the commit is durable
  Lsn flushed;  ///< so far
};

/// One thread at a time.
class Lane {
 public:
  Lane(const std::string& conninfo, const std::string& subscription, int number);

  ApplySession& session() { return session_; }

  /// `deferrable`: the target has constraints that can be checked late.
  void begin(bool deferrable);
  void write(const TablePlan& plan, const TableBatch& batch, const SetChanges& changes);
  void write(const TablePlan& plan, const RowRun& run);
  /// With the checkpoint, which `advance_sql` notes. One round trip with what was sent before.
  Landed commit(const Checkpoint& checkpoint, const std::string& advance_sql);
  /// False when even that failed: the connection is of no more use.
  bool rollback() noexcept;

 private:
  void set_up_origin(const std::string& subscription, int number);

  ApplySession session_;
  Stages stages_;
  bool has_origin_ = false;
};

}  // namespace tailrace::target::postgres
