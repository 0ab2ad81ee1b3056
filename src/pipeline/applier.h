#pragma once
// Applier: ChangeBatches in, target commits out. It folds as many transactions as it is given into one target
// transaction, never commits inside of a source transaction, follows schema changes, and leaves out what a
// table's copy already holds.

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "model/change_batch.h"
#include "model/checkpoint.h"
#include "pg/connection.h"
#include "pipeline/commit_times.h"
#include "pipeline/copy_preparation.h"
#include "pipeline/feedback.h"
#include "pipeline/fold.h"
#include "pipeline/left_out.h"
#include "pipeline/status.h"
#include "schema/catalog.h"
#include "target/target.h"

namespace tailrace::pipeline {

/// Somebody waits for the target to be exactly at `lsn`, to look at it or to mend it there.
struct Barrier {
  Lsn lsn;
  /// Runs on the applier's thread, which goes on afterwards. No transaction is open; what it opens it ends, and
  /// commits the checkpoint that it is given. What it throws goes to `done`.
  std::function<void(target::Target&, const Checkpoint&)> act;
  std::promise<void> done;
};

/// Thrown between transactions or inside of one, when a change must not be left out any more, because the
/// snapshot for the copy of its table is older. What is not committed is to be rolled back; it comes again.
struct CopyIsDue : std::exception {
  const char* what() const noexcept override { return "the snapshot for a copy is there"; }
};

/// Given to a barrier that came too late: the target is beyond it already.
struct BarrierPassed : std::exception {
  const char* what() const noexcept override { return "the target is beyond the position to compare at"; }
};

/// One thread: the runner's; except request(), withdraw() and feedback().
class Applier {
 public:
  /// `source` is the connection string for looking at the catalogs when a table changed its shape;
  /// `publications` tell which tables are meant.
  Applier(target::Target& target, std::string source, std::vector<std::string> publications,
          StatusBoard& board);

  /// From now on a change whose text is not UTF-8 is refused, and its table with it.
  void check_text() { checks_text_ = true; }
  /// The labels of a new column's enum matter to the target.
  void read_labels() { labels_ = schema::Catalog::Labels::read; }
  /// Of a table that the stream brings and the catalogs do not show yet, changes are left out, for it is copied
  /// when they do. With `hold`, which is told of it instead, nothing is copied.
  using HoldTable = std::function<void(const Relation& table, const std::string& reason)>;
  void hold_unseen(HoldTable hold) { hold_unseen_ = std::move(hold); }
  /// Changes of a table that nothing is known of are left out: another run copies it.
  void leave_new_tables() { leaves_new_tables_ = true; }
  /// A snapshot for tables that are not copied is being taken, and apply() throws CopyIsDue. Borrowed.
  void await_copy(CopyPreparation& preparation, const std::vector<schema::Table>& tables);
  /// False: the preparation's snapshot is older than a change that was left out of a table that it is for.
  bool may_copy() const;

  /// Between transactions: whether the source's catalogs show all that was applied. Where a transaction waited
  /// for our acknowledgement, they are those of before it for a moment, and only a later look can judge them.
  bool catalogs_lag();
  /// How often a transaction was applied that they did not show then.
  std::int64_t lags() const { return lags_; }

  /// Applies the batches together, and commits if the last one ends at the end of a transaction. Throws
  /// RestartFromCheckpoint when the target must be prepared first.
  void apply(const std::vector<std::shared_ptr<const ChangeBatch>>& batches);

  /// Gives a table another definition at the checkpoint, in a transaction of its own.
  void evolve(Oid table, const target::Evolution& evolution);

  /// What the target has of a table; null: nothing. Between transactions.
  const target::TableRecord* record(Oid table) const;
  void visit_records(const std::function<void(const target::TableRecord&)>& visit) const;
  /// The tables of which something else is recorded than at the last call, by what came in the stream or was
  /// asked for here.
  std::set<Oid> take_reshaped() { return std::exchange(reshaped_, {}); }

  /// Records where the rows of these tables are at the source; between transactions.
  void note_storage(const std::map<Oid, std::string>& storage);
  /// The source transaction of the last TRUNCATE of the table that was applied since streaming began.
  std::optional<Xid> truncated_by(Oid table) const;

  /// What the reader is told. Any thread.
  Feedback& feedback() { return feedback_; }
  const Feedback& feedback() const { return feedback_; }
  /// Something is committed and not durable yet.
  bool awaits_durable() const { return feedback_.durable() < checkpoint_.lsn; }

  /// Asks a target whose commits become durable later; between transactions.
  void refresh_durable();
  /// For those who watch: how old the source's transactions are by the time they are durable.
  void measure() { times_.durable(feedback_.durable()); }
  /// Waits for commits that are on their way; between transactions.
  void settle();
  /// True between the parts of a transaction that is applied in parts.
  bool in_transaction() const { return began_; }

  /// The barrier acts when every transaction that commits before its `lsn`, and none after it, is in the
  /// target.
  void request(std::shared_ptr<Barrier> barrier);
  /// Afterwards it does not act (any more).
  void withdraw(const std::shared_ptr<Barrier>& barrier);
  /// Until `until`, or the next request, nothing more is applied: time to find out where the
  /// barrier has to be, without running past it.
  void hold(std::chrono::steady_clock::time_point until);

  /// What commits at `position` or later is not applied (invalid: all is), nor the first transaction that
  /// committed later than `time` (0: any time), nor what comes after either. Before the first apply(), or
  /// between two.
  void end_before(Lsn position, PgTimestamp time);
  /// All before the end is committed in the target, and nothing after it; apply() does nothing any more.
  bool ended() const { return ended_; }

  /// Work with the target between transactions, on the runner's thread. What it throws is the future's, which
  /// is broken if streaming ends first.
  using Task = std::function<void(target::Target&)>;
  std::future<void> ask(Task task);
  /// Does what was asked for; between transactions.
  void work_off();
  /// Tells the board which tables are held, and which transactions are left out.
  void show_bad_changes();

 private:
  static constexpr std::size_t not_listed = static_cast<std::size_t>(-1);

  struct Table {
    target::TableRecord record;
    std::shared_ptr<const Relation> prepared;  ///< the version that the target was last prepared for
    std::optional<TableFold> fold;
    RowRun run;                             ///< instead of the fold, where the target needs the source's order
    TableStatus counts;                     ///< since the last commit
    std::size_t status_index = not_listed;  ///< where the board lists it
    bool counted = false;
    bool rows_changed = false;  ///< in the open target transaction
    bool ignored = false;
    Lsn passed_over{};  ///< commit_lsn of the last transaction that was left out because it is not copied
  };

  using Batches = std::vector<std::shared_ptr<const ChangeBatch>>;

  /// What goes on from one part of a transaction to the next.
  struct Between {
    std::uint64_t position = 0;  ///< of the next change within its transaction
    LeftOut left_out;
  };

  /// The transaction that is applied ahead.
  struct Ahead {
    std::shared_ptr<AheadTransaction> transaction;
    std::set<std::shared_ptr<const Relation>> fitting;  ///< descriptions that the target is prepared for
    std::map<Table*, TableStatus> counts;
    std::int64_t changes = 0;
  };

  /// A commit that may still be on its way.
  struct Underway {
    Lsn lsn;
    PgTimestamp time;
    std::shared_ptr<const Batches> batches;  ///< what it is made from, and perhaps more
    Between before;                          ///< them
    std::int64_t transactions = 0;
    std::int64_t changes = 0;
    bool changed = false;
    std::vector<std::pair<Table*, TableStatus>> counts;
    std::vector<std::string> to_tell;
    Lsn last_commit = {};  ///< commit_lsn of the last transaction in it
  };

  void apply_given();
  void apply_once(bool again);
  void roll_back();
  void note_committed();
  void end_ahead();
  void apply_ahead(const std::shared_ptr<const ChangeBatch>& batch);
  void add_ahead(const std::shared_ptr<const ChangeBatch>& part);
  Table* ahead_table(const ChangeBatch& part, std::uint32_t relation);
  bool fits(const Table& table, const std::shared_ptr<const Relation>& relation);
  void commit_ahead(AheadTransaction& transaction, const TransactionSpan& span);
  void leave_out(const ChangeBatch& batch, const TransactionSpan& transaction);
  void read_skips();
  void give_up_skips();
  bool may_reshape(const ChangeBatch& batch);
  bool reshapes(const ChangeBatch& batch, const TransactionSpan& transaction) const;
  void add(const ChangeBatch& batch, const TransactionSpan& transaction);
  void note_leaves(const ChangeBatch& batch, const TransactionSpan& transaction);
  void add_truncate(const ChangeBatch& batch, const Truncate& truncate, const ChangePlace& place);
  bool truncate_together(const ChangeBatch& batch, const Truncate& truncate, const ChangePlace& place);
  Table* table_for(const ChangeBatch& batch, std::uint32_t relation);
  Table& find_table(const Relation& relation);
  void pass_over_unseen(const Relation& relation);
  void prepare(Table& table, const std::shared_ptr<const Relation>& relation);
  void make_room_for_evolution(Table& table);
  [[noreturn]] void copy_anew(const Table& table, const std::string& reason);
  void copy_if_unsaid(Oid table);
  void rows_changed(Table& table);
  bool covers(Table& table, Lsn commit_lsn) {
    if (!table.ignored && !table.record.copied) [[unlikely]]
      pass_over(table, commit_lsn);
    return table.ignored || !table.record.copied || commit_lsn < table.record.copied_at;
  }
  void pass_over(Table& table, Lsn commit_lsn);
  void begin();
  /// Hands what is in hand to the target. `whole`: a commit follows before anything else.
  void flush(bool whole = false);
  bool flush_fold(Table& table, bool whole);
  bool flush_run(Table& table);
  enum class Pace { wait, go_on };
  void commit(Lsn progress, Pace pace = Pace::wait);
  void show_conflicts(const std::map<Oid, ConflictCounts>& conflicts);
  void show_names();
  bool has_many_tables();
  bool is_beyond_end(const TransactionSpan& transaction) const;
  void meet_barriers(Lsn progress, Lsn next_commit);
  void meet(Barrier& barrier);
  bool barrier_waits() const { return feedback_.wants_position(Feedback::Waiter::barrier); }
  void read_records();
  schema::Catalog& catalog();

  target::Target& target_;
  std::string source_;
  std::vector<std::string> publications_;
  StatusBoard& board_;
  Checkpoint checkpoint_;  ///< of the last commit, which may still be on its way
  std::map<Oid, Table> tables_;
  std::map<Oid, Xid> truncated_by_;
  std::set<Oid> reshaped_;
  std::vector<Table*> by_index_;  ///< for the relations of the batch in hand
  std::vector<bool> reshaping_;   ///< of those, which describe a table otherwise than it is prepared
  std::vector<Table*> touched_;   ///< with an open fold
  std::vector<Table*> counted_;   ///< with counts that the board does not show yet
  std::map<Oid, std::size_t> columns_in_hand_;  ///< of all these; made anew where it is asked for
  std::vector<Table*> changed_tables_;          ///< with rows changed in the open target transaction
  PgTimestamp time_in_hand_;                    ///< commit time of the last transaction in hand
  Xid xid_in_hand_ = 0;                         ///< and which it is
  Xid visible_ = 0;                             ///< one that the catalogs were waited for
  bool seen_ = true;                            ///< they showed it
  std::set<Xid> unseen_;                        ///< those that they did not show
  std::int64_t lags_ = 0;
  Lsn progress_;      ///< end of the last whole transaction in hand
  PgTimestamp time_;  ///< and when it committed
  schema::Catalog::Labels labels_ = schema::Catalog::Labels::leave;
  bool leaves_new_tables_ = false;
  bool checks_text_ = false;  ///< the source's text may be any bytes, the target's is UTF-8
  bool inside_ = false;       ///< changes of a transaction that is not whole yet are in hand
  bool began_ = false;
  std::int64_t call_ = 0;        ///< counts apply()
  std::int64_t began_call_ = 0;  ///< the call in which the open target transaction began
  bool changed_ = false;         ///< something but the checkpoint goes into this commit
  bool names_changed_ = false;   ///< the status may show older ones
  std::int64_t transactions_ = 0;
  std::int64_t changes_ = 0;
  std::shared_ptr<const Batches> given_;  ///< to the call of apply()
  std::deque<Underway> underway_;         ///< earliest first
  CommitTimes times_;
  std::optional<Ahead> ahead_;
  HoldTable hold_unseen_;
  CopyPreparation* preparation_ = nullptr;
  std::int64_t waited_call_ = -1;  ///< the call that waited for a snapshot
  Between between_;
  Between before_call_;
  std::vector<std::string> to_tell_;  ///< what was left out, once it is committed
  Feedback feedback_;

  std::optional<pg::Connection> connection_;
  std::optional<schema::Catalog> catalog_;

  void wait_while_held();

  std::mutex barrier_mutex_;
  std::condition_variable held_changed_;
  std::chrono::steady_clock::time_point held_until_{};
  Lsn last_commit_;     ///< commit_lsn of the last transaction that was applied
  Lsn arrived_commit_;  ///< and of the last whose commit arrived
  std::vector<std::shared_ptr<Barrier>> barriers_;
  Lsn end_position_;      ///< invalid: none
  PgTimestamp end_time_;  ///< 0: none
  bool ending_ = false;   ///< the commit in hand is the last
  bool ended_ = false;

  std::mutex tasks_mutex_;
  std::vector<std::packaged_task<void(target::Target&)>> tasks_;
};

}  // namespace tailrace::pipeline
