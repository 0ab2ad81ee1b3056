#pragma once
// Lane: one connection that transactions are applied by, with its stages and its replication origin.

#include <string>
#include <vector>

#include "model/apply_batch.h"
#include "model/checkpoint.h"
#include "target/postgres/apply_session.h"
#include "target/postgres/set_writer.h"

namespace tailrace::target::postgres {

/// Where the target's log was after a commit.
struct Landed {
  Lsn end;      ///< where its next record goes; once all before is flushed, the commit is durable
  Lsn flushed;  ///< so far
};

/// One thread at a time.
class Lane {
 public:
  Lane(const ApplyOptions& options, int number);

  ApplySession& session() { return session_; }
  /// What it writes is marked with the subscription's origin. If not, why not.
  bool has_origin() const { return why_no_origin_.empty(); }
  const std::string& why_no_origin() const { return why_no_origin_; }

  /// `deferrable`: the target has constraints that can be checked late.
  void begin(bool deferrable);
  void write(const TablePlan& plan, const TableBatch& batch, const SetChanges& changes);
  void write(const TablePlan& plan, const RowRun& run);
  struct CommitHow {
    bool flushed = false;  ///< before it returns
    bool by_time = false;  ///< not before the target's clock passed the commit time
  };
  /// With the checkpoint, which `advance_sql` notes. One round trip with what was sent before.
  Landed commit(const Checkpoint& checkpoint, const std::string& advance_sql, CommitHow how);
  /// True when the database makes one of these server processes wait for a lock that a transaction holds.
  bool any_waits(const std::vector<int>& backends);
  int backend() const { return session_.backend(); }
  /// Asks the server to stop what runs; from any thread.
  void cancel() const { session_.cancel(); }
  /// False when even that failed: the connection is of no more use.
  bool rollback() noexcept;

 private:
  void set_up_origin(const std::string& subscription, int number);

  ApplySession session_;
  Stages stages_;
  std::string why_no_origin_;
};

}  // namespace tailrace::target::postgres
