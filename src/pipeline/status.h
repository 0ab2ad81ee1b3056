#pragma once
// StatusBoard: what is happening now, written by the running threads and read by whoever asks (control
// socket, progress display). Thread-safe. Holds no secrets.

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/lsn.h"
#include "model/conflict.h"
#include "pipeline/measures.h"
#include "pipeline/step.h"

namespace tailrace::pipeline {

enum class RunState { starting, copying, streaming, reconnecting, stopping, stopped, failed };
enum class TableState { pending, copying, copied, streaming, stopped, held };

struct TableStatus {
  std::string schema;
  std::string name;
  std::string target_name;  ///< as it is called in the target, qualified
  TableState state = TableState::pending;
  std::int64_t estimated_rows = -1;  ///< before the copy, from the planner; -1 unknown
  std::int64_t estimated_bytes = 0;
  std::int64_t rows_copied = 0;
  std::int64_t bytes_copied = 0;
  std::int64_t inserts = 0;  ///< streamed since this run started
  std::int64_t updates = 0;
  std::int64_t deletes = 0;
  std::int64_t truncates = 0;
  ConflictCounts conflicts{};
  Lsn copied_at;                 ///< the copy's snapshot; changes before it are in the copy
  std::string note;              ///< what a user should know: a widened column, row-by-row apply and why
  std::int64_t quarantined = 0;  ///< changes that are kept aside
  std::string last_error;        ///< of the last of them; or why the table is held
};

/// A comparison of source and target that is under way.
struct VerifyStatus {
  std::string table;  ///< being compared or mended; empty: none yet
  bool mending = false;
  std::int64_t rows = 0;             ///< of this table that were compared
  std::int64_t estimated_rows = -1;  ///< -1 unknown
  std::int64_t tables_done = 0;
  std::int64_t tables = 0;
  double rows_per_second = -1;  ///< -1 unknown
  double seconds_left = -1;     ///< until all tables are compared; -1 unknown
  std::string waiting_for;      ///< before it can begin; empty: nothing
};

/// A copy that was finished by this process.
struct CopyDone {
  std::int64_t tables = 0;
  std::int64_t rows = 0;
  std::int64_t bytes = 0;
  double seconds = 0;
  Lsn lsn;  ///< its snapshot
};

/// A source transaction that somebody wanted left out.
struct SkipStatus {
  Lsn commit_lsn;
  std::string state;  ///< waiting, used, unused
  std::string left_out;
};

/// `in_order`: asked to stop, and did. `killed`: its note says that it ran, and nobody is there. `unknown`:
/// there is no note.
enum class Ending { unknown, killed, failed, in_order };

/// How a mirror that does not run came to its end.
struct EndStatus {
  Ending how = Ending::unknown;
  PgTimestamp at;
  std::int64_t unfinished = 0;  ///< tables of which not all rows are at the target
};

struct Status {
  std::string name;
  std::string source;  ///< redacted
  std::string target;
  std::string slot;
  std::string publication;
  RunState state = RunState::starting;
  std::string message;  ///< one sentence on what goes on, or the last error
  int server_version = 0;
  std::int64_t pid = 0;
  PgTimestamp started_at;
  bool binary = false;
  Lsn received;                          ///< end of the last thing read from the stream
  Lsn applied;                           ///< committed in the target
  Lsn acknowledged;                      ///< told to the slot
  Lsn source_lsn;                        ///< the source's current WAL position, when last asked
  std::int64_t retained_wal_bytes = -1;  ///< held back by the slot; -1 unknown
  std::int64_t safe_wal_bytes = -1;      ///< how much more it may hold back; -1 unknown
  std::string wal_status;                ///< of the slot, as the server says it; empty: unknown
  bool acknowledges = true;              ///< the slot is told what is durable in the target
  std::optional<bool> slot_active;       ///< whether somebody reads from it
  std::vector<std::string> warnings;     ///< what somebody should do something about soon
  // As judged when the status was read; see Step.
  double lag_seconds = -1;  ///< age of the oldest commit that is not known to be applied; 0: none; -1 unknown
  bool in_step = false;     ///< nothing is missing, of no table, and both ends answer
  bool source_answers = false;  ///< while it streams
  bool target_answers = false;
  bool catalogs_lag = false;  ///< the source's catalogs do not show yet what was applied, so it is not judged
  std::int64_t transactions = 0;
  std::int64_t changes = 0;
  std::int64_t commits = 0;  ///< target commits
  std::int64_t reconnects = 0;
  PgTimestamp last_commit_time;  ///< source time of the last applied transaction
  std::int64_t sequences = -1;   ///< of the target, kept ahead of the source's; -1 none are looked after
  std::int64_t resident_bytes = 0;
  std::string waiting_for;         ///< what keeps it from going on, by name; empty: nothing
  double per_second = -1;          ///< rows of the copy, else changes applied; -1 unknown
  double seconds_left = -1;        ///< of the copy; -1 unknown
  std::optional<CopyDone> copied;  ///< the latest
  std::optional<VerifyStatus> verify;
  std::vector<SkipStatus> skips;  ///< the latest
  ConflictCounts conflicts{};     ///< since the process started
  std::vector<TableStatus> tables;
  std::optional<EndStatus> end;  ///< of one that does not run
};

std::string_view to_string(RunState state);
std::string_view to_string(TableState state);
std::string_view to_string(Ending ending);

/// Rows of it are missing for as long as somebody does nothing about it: it is not followed, though it is
/// published, or changes of it were kept aside.
bool is_due(const TableStatus& table);

class StatusBoard {
 public:
  /// Counted without the lock.
  Measures& measures() { return measures_; }
  const Measures& measures() const { return measures_; }

  /// Runs `change` under the lock. Keep it short; never once per row.
  void update(const std::function<void(Status&)>& change) {
    std::lock_guard lock(mutex_);
    change(status_);
  }
  /// Status::commits alone: cheap, for those who ask often.
  std::int64_t read_commits() const {
    std::lock_guard lock(mutex_);
    return status_.commits;
  }
  /// What both ends answered, and what is applied, goes into the judgement of lag.
  void judge_by(const std::function<void(Step&)>& tell) {
    std::lock_guard lock(mutex_);
    tell(step_);
  }
  Status read() const;

 private:
  mutable std::mutex mutex_;
  Status status_;
  mutable Step step_;
  mutable std::int64_t resident_bytes_ = 0;
  mutable Step::Clock::time_point resident_asked_{};
  Measures measures_;
};

}  // namespace tailrace::pipeline
