#pragma once
// Target: the contract between the pipeline and whatever is kept in step with a source.
//
// Exactly once: commit() makes the applied changes and the checkpoint visible in one atomic step, durable()
// tells what no crash takes back, and open() tells that checkpoint again. Order of calls: open, then any number
// of
//   begin, (apply | take | evolve)*, commit | commit_soon | rollback.
// One thread, except copy(): each CopyWriter belongs to one thread of its own and works beside the others.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/stop.h"
#include "model/ahead_transaction.h"
#include "model/apply_batch.h"
#include "model/checkpoint.h"
#include "model/conflict.h"
#include "pg/connection.h"
#include "pg/copy_out.h"
#include "schema/same_table.h"
#include "schema/structure.h"
#include "schema/table.h"
#include "target/bad_changes.h"
#include "target/target_probe.h"

namespace tailrace::target {

/// A column as the target was last prepared for it.
struct RecordedColumn {
  std::int16_t attnum = 0;
  std::string name;
  Oid type_oid = 0;
  std::int32_t typmod = -1;
  bool is_key = false;
  std::uint32_t version = 0;  ///< see schema::Column

  bool operator==(const RecordedColumn&) const = default;
};

/// What the target durably knows of a source table.
struct TableRecord {
  Oid oid = 0;
  std::string schema;
  std::string name;
  std::string target_name;  ///< qualified, as a user of the target writes it
  std::vector<RecordedColumn> columns;
  bool copied = false;     ///< false: its copy is missing or unfinished, and must be made anew
  Lsn copied_at;           ///< changes of transactions that commit before this are in the copy
  Oid filenode = 0;        ///< of the source's heap when it was copied
  std::string membership;  ///< of schema::Table when it was copied: another one means that rows are missing
  std::int64_t rows_copied = 0;
  std::string storage;  ///< schema::Storage of the source's table, as text; empty: not known
  std::string note;     ///< what a user should know: widened columns
  std::string held;     ///< why it is not followed, though it is published; empty: it is
  // Of a PostgreSQL target: the relation there that is this table's, and the name under which it was left. The
  // name differs from the source's while another table that has taken it there was moved out of its way.
  Oid target_oid = 0;
  std::string target_schema = {};
  std::string target_table = {};

  bool is_held() const { return !held.empty(); }
  std::string qualified() const { return schema + "." + name; }
  bool is_moved() const { return target_oid != 0 && (target_schema != schema || target_table != name); }
};

/// Thrown after the target changed durably so that what was applied since the last commit (now rolled back)
/// must come again from the checkpoint: a column was widened, or a table must be copied anew.
class RestartFromCheckpoint : public std::exception {
 public:
  explicit RestartFromCheckpoint(std::string reason) : reason_(std::move(reason)) {}
  const char* what() const noexcept override { return reason_.c_str(); }

 private:
  std::string reason_;
};

/// Thrown by whatever is asked of a target for one table, when nothing but that table is in the way: a
/// definition that cannot be followed, a value that it cannot hold. Nothing is wrong with the other tables, so
/// the caller rolls back, holds this one (see Target::hold), and begins again from the checkpoint.
class TableRefused : public std::exception {
 public:
  /// `reason`: a sentence that names the table. `remedy`: what somebody could do about it, before the table is
  /// copied anew; may be empty.
  TableRefused(Oid table, std::string reason, std::string remedy = {})
      : table_(table), reason_(std::move(reason)), remedy_(std::move(remedy)) {}
  const char* what() const noexcept override { return reason_.c_str(); }
  Oid table() const { return table_; }
  const std::string& reason() const { return reason_; }
  const std::string& remedy() const { return remedy_; }

 private:
  Oid table_;
  std::string reason_;
  std::string remedy_;
};

/// Thrown by apply() or commit() when the net effect of changes cannot be applied set-wise, because a
/// constraint is violated on the way though not in the end. The caller rolls back and applies the same changes
/// again; needs_row_order() is true for the table by then.
class NeedsRowOrder : public std::exception {
 public:
  explicit NeedsRowOrder(std::string reason) : reason_(std::move(reason)) {}
  const char* what() const noexcept override { return reason_.c_str(); }

 private:
  std::string reason_;
};

/// Thrown by commit() when what the target checks last (deferred constraints) does not hold, and the commit was
/// of one source transaction.
class CommitRefused : public std::exception {
 public:
  CommitRefused(std::string words, std::string sqlstate)
      : words_(std::move(words)), sqlstate_(std::move(sqlstate)) {}
  const char* what() const noexcept override { return words_.c_str(); }
  const std::string& sqlstate() const { return sqlstate_; }

 private:
  std::string words_;
  std::string sqlstate_;
};

/// Thrown by apply() when rows that were to be changed are not there. Nothing of the batch is applied.
class RowsMissing : public Error {
 public:
  RowsMissing(Oid table, Retry retry, std::string what, std::string remedy)
      : Error(retry, std::move(what), std::move(remedy)), table_(table) {}
  Oid table() const { return table_; }

 private:
  Oid table_;
};

/// Thrown by a CopyWriter when the table's column had to be widened: all of the table's copy starts over.
class CopyAgain : public std::exception {
 public:
  explicit CopyAgain(std::string reason) : reason_(std::move(reason)) {}
  const char* what() const noexcept override { return reason_.c_str(); }

 private:
  std::string reason_;
};

/// One reader's share of a table's copy. Destroyed without finish(), it leaves nothing behind that counts.
class CopyWriter {
 public:
  virtual ~CopyWriter() = default;
  /// One row as COPY sends it: without header and trailer in the binary format, without its newline in text.
  virtual void row(std::string_view copy_row) = 0;
  /// Takes rows of a COPY that are already here, as row() and settle() would: as many of the next as it likes,
  /// or none, and in binary never the trailer. How many it took, and how large they were.
  struct Rows {
    std::int64_t count = 0;
    std::int64_t bytes = 0;
  };
  virtual Rows take(pg::CopyOut& stream);
  /// Hands on what has gathered, if it is much. Call it when the last row's bytes are freed, so that a very
  /// large row is never held in every form at once.
  virtual void settle() = 0;
  /// Makes the rows durable. They count only once finish_copy was called for the table.
  virtual void finish() = 0;
};

/// Cheap, exact changes of a table's definition, in this order. Anything else is a new copy.
struct Evolution {
  std::optional<std::string> rename;                                 ///< new name within its schema
  std::vector<std::string> dropped_columns;                          ///< never all of them
  std::vector<std::pair<std::string, std::string>> renamed_columns;  ///< from, to
  struct Added {
    schema::Column column;
    std::optional<std::string> value;  ///< what existing rows have there, as text; nothing is NULL
  };
  std::vector<Added> added_columns;
  std::vector<schema::Column>
      retyped_columns;                  ///< same values, other declared type (varchar(10) -> varchar(20))
  std::vector<RecordedColumn> columns;  ///< the whole list afterwards
  std::string storage;                  ///< to be recorded
  bool empty() const {
    return !rename && renamed_columns.empty() && dropped_columns.empty() && added_columns.empty() &&
           retyped_columns.empty();
  }
};

/// Rows of a table at one consistent state, as text the way PostgreSQL shows it.
using RowVisitor = std::function<void(const std::vector<std::optional<std::string_view>>&)>;

/// A table that a PostgreSQL database can be asked about, in the transaction of its view.
struct QueryableTable {
  pg::Connection* connection = nullptr;
  schema::SeenTable table;
};

/// What a mirror's books at its target say, on which nothing runs that answers here.
struct Books {
  Checkpoint checkpoint;
  std::int64_t unfinished = 0;  ///< tables of which not all rows are there: their copy was not ended
  std::string held_by = {};     ///< who runs on it all the same, as the target's server sees it; empty: nobody
};

/// A consistent, unchanging view of the target, to compare with; used by one thread, beside the writer.
class TargetView {
 public:
  virtual ~TargetView() = default;
  virtual std::optional<Checkpoint> checkpoint() const = 0;
  virtual std::vector<TableRecord> tables() const = 0;
  /// Throws schema::TableAltered where another table has its name now.
  virtual void scan(Oid table, const RowVisitor& visit) = 0;
  /// How it shows a value of the source's that it keeps as a number alone, from the source's text: by column of
  /// TableRecord; null: to the letter. Empty: all of them.
  using Shown = std::function<void(std::string_view text, std::string& out)>;
  virtual std::vector<Shown> shown(Oid table) const;
  /// Nothing where the target speaks no PostgreSQL. It is to be read by schema::read_as_seen().
  virtual std::optional<QueryableTable> queryable(Oid table);
};

class Target {
 public:
  virtual ~Target() = default;

  /// Of the last commit.
  virtual std::optional<Checkpoint> checkpoint() const = 0;
  virtual std::vector<TableRecord> tables() const = 0;

  /// Which database is followed, by a name that is the same wherever it is asked for. Before anything else that
  /// a session does.
  virtual void follows(const std::string& source);
  /// Those of the tables that the target cannot take as they are; nothing is written. Throws Error when that
  /// cannot be found out.
  virtual std::vector<TableRefused> check_tables(const std::vector<schema::Table>& tables);
  /// The settings say otherwise of what columns become there than when tables were copied:
  /// check_chosen_types() is to be asked.
  virtual bool chooses_otherwise() const;
  /// Throws Error where that makes a difference to a table that is copied; else it is asked no more.
  virtual void check_chosen_types(const std::vector<schema::Table>& followed);
  /// Those of the followed ones that cannot be followed on as they are at the target now. With no transaction
  /// open.
  virtual std::vector<TableRefused> check_followed();
  /// Before tables are copied, all of these: of copies that were interrupted goes what they cannot go on from.
  virtual void forget_unfinished(const std::vector<schema::Table>& tables);
  /// Before tables are copied: makes what the target lacks for them (schemas, types, the tables themselves), as
  /// far as it keeps the source's own structure; `read` gives that as the copy's snapshot shows it. Durable.
  virtual void prepare_structure(const std::vector<schema::Table>& tables, const schema::ReadStructure& read);
  /// After all copies, and before anything is applied: indexes, constraints, triggers, views. Goes on where an
  /// earlier attempt ended. Durable.
  virtual void complete_structure(const StopSignal& stop);
  /// False: an attempt of it was not finished.
  virtual bool structure_is_complete();

  /// What the source's structure got since is missing here: follow_structure(), which reads it as it is now,
  /// before anything else is applied. Throws TableRefused.
  virtual bool wants_structure() const;
  virtual void follow_structure(const schema::ReadStructure& read);

  /// Makes the table new and empty, to be copied; what was there under this oid goes. Durable.
  virtual void create_table(const schema::Table& table) = 0;
  /// Throws Error when the rows that the target has of these tables are not such as adopt() takes; writes
  /// nothing. `coming`: those of which all rows come by the stream, so that they need not be there.
  virtual void check_rows(const std::vector<schema::Table>& tables, const std::set<Oid>& coming) = 0;
  /// Takes the rows that are there for the source's as of `at`, and makes an empty table where there is none:
  /// nothing is copied, and what was committed from then on comes by the stream. Throws as check_rows() does.
  /// Durable.
  virtual void adopt(const schema::Table& table, Lsn at) = 0;
  /// Removes the table and what is known of it. Durable.
  virtual void drop_table(Oid table) = 0;
  /// The table is published no more, and the source gave its name to another one, which is about to be copied.
  virtual void give_up_name(Oid table);
  /// The same, of one that was moved out of another's way: it goes, if the source has it no more; else it gets
  /// the name that it has there now, as far as that is free, and nothing else is known of it. Durable.
  using NameAtSource = std::optional<std::pair<std::string, std::string>>;  ///< schema, name
  virtual void settle_moved(Oid table, const NameAtSource& now);
  /// Forgets that the table was copied, and that it was held, durably; the next start copies it anew.
  virtual void mark_for_copy(Oid table, const std::string& reason) = 0;
  struct NamedTable {
    Oid oid = 0;
    std::string schema;
    std::string name;
  };
  /// The table is not followed from here on, until mark_for_copy(): what is there stays as it is. `table` may
  /// be one that the target knows nothing of yet; then a record of it says no more than its name. Durable; with
  /// no transaction open.
  virtual void hold(const NamedTable& table, const std::string& reason) = 0;
  /// These tables are about to be copied: a record of each that is not known says so from now on, and no more
  /// than its name. Durable.
  virtual void expect_copies(const std::vector<NamedTable>& tables) = 0;
  /// Records where the rows of these tables are at the source, durably; they are what the stream says.
  virtual void note_storage(const std::map<Oid, std::string>& storage) = 0;
  /// None of the tables counts as copied from here on, and none is held: all of them are to be copied anew. The
  /// checkpoint is `nowhere`, which has no position. One durable step.
  virtual void begin_anew(const Checkpoint& nowhere) = 0;
  /// The first checkpoint: where the stream will begin. Durable.
  virtual void initialize(const Checkpoint& checkpoint) = 0;

  /// For somebody else's thread, as long as the target lives, and longer.
  virtual std::unique_ptr<TargetProbe> probe() const = 0;

  /// True: text may be any bytes. False: it is UTF-8.
  virtual bool takes_raw_text() const;
  /// True when it takes every column in PostgreSQL's binary format.
  virtual bool reads_binary(const schema::Table& table) const = 0;
  /// The first of which that is not true; null: none. Asks the target once for all of them.
  virtual const schema::Table* first_not_binary(const std::vector<schema::Table>& tables);
  /// `alone`: all of the table's rows come by this one, and they fill some pages.
  virtual std::unique_ptr<CopyWriter> copy(Oid table, bool binary, bool alone) = 0;
  virtual void finish_copy(Oid table, Lsn snapshot, std::int64_t rows) = 0;
  /// No part of any table is left for one of the copy's readers: in its place the target may begin with what
  /// complete_structure() would do for finished tables. From any thread.
  virtual void free_reader();

  /// So much is worth a commit, whichever is reached first: waiting for more gains nothing.
  struct Worth {
    std::size_t bytes;
    std::size_t changes;
  };
  virtual Worth worth_a_commit() const;

  /// From any thread, between construction and destruction: what a call waits for at the database is cancelled,
  /// and the call throws a transient Error. Again and again, for it may go on to wait for the next thing.
  virtual void interrupt() noexcept;

  virtual void begin() = 0;
  /// Throws RestartFromCheckpoint when a column had to be widened.
  virtual void apply(Oid table, const TableBatch& batch) = 0;
  /// The same, at any time up to the commit. `borrowed` keeps what the batch borrows from.
  virtual void take(Oid table, TableBatch batch, std::shared_ptr<const void> borrowed);
  /// True when a table's changes must come by apply_in_order().
  virtual bool needs_row_order(Oid table) const;
  virtual void apply_in_order(Oid table, const RowRun& run);
  /// Rows that are written whatever policy and quarantine say of the source's changes. False: it knows neither,
  /// so apply() will do. Throws Error for a row that it refuses.
  virtual bool mend(Oid table, const RowRun& run);
  /// True: truncations come by truncate(), in their place among the changes; else table by table, in their
  /// TableBatch.
  virtual bool truncates_together() const;
  virtual void truncate(const std::vector<Oid>& tables, const Truncate& how, const ChangePlace& place);
  virtual void evolve(Oid table, const Evolution& evolution) = 0;
  /// True while each source transaction must be committed by itself: because its time counts, or to find the
  /// one that a commit failed for.
  virtual bool one_transaction_a_commit() const;
  /// A commit that writes to these tables costs much memory: no more should come into it, where source
  /// transactions need not be split for that.
  virtual bool is_much(const std::map<Oid, std::size_t>& columns_of_tables) const;
  /// What was not as the source expects, since the last call, of what was committed.
  virtual std::map<Oid, ConflictCounts> take_conflicts();
  /// One atomic step. Durable at once, or when durable() says so.
  virtual void commit(const Checkpoint& checkpoint) = 0;
  /// The same, but the commit may still be on its way afterwards: none overtakes another, and checkpoint()
  /// tells the last that arrived. If it fails, a later call of take(), commit(), commit_soon() or settle()
  /// throws why; nothing after checkpoint() is applied then.
  virtual void commit_soon(const Checkpoint& checkpoint);
  /// Whether commits are to be durable as soon as can be, from now on: somebody waits for that. Else it may
  /// take as long as the target likes.
  virtual void hurry(bool hurried);
  /// Waits for commits that are on their way.
  virtual void settle();
  /// The position of the last commit that no crash of the target takes back; invalid before the first. Throws
  /// where the target is known to be gone.
  virtual Lsn durable() = 0;
  /// Also of what is on its way, and of a transaction ahead.
  virtual void rollback() noexcept = 0;

  /// True: it can apply a transaction that is in progress at the source, beside the others, and commits or
  /// rolls it back when that is known.
  virtual bool applies_ahead() const;
  /// A part of it, which comes after everything given for a commit so far. Gives the transaction up when it
  /// cannot be applied so.
  virtual void apply_ahead(const std::shared_ptr<AheadTransaction>& transaction, Oid table, TableBatch batch,
                           std::shared_ptr<const void> borrowed);
  /// With nothing else in hand or on its way. False: it was given up. Durable when durable() says so.
  virtual bool commit_ahead(AheadTransaction& transaction, const Checkpoint& checkpoint);
  /// Whatever is applied ahead is rolled back.
  virtual void give_up_ahead() noexcept;

  /// Sets the target's sequences that belong to these tables at least `margin` increments beyond the source's,
  /// never back. Between transactions. How many there are; -1 if the target knows no sequences.
  virtual std::int64_t keep_sequences(pg::Connection& source, const std::vector<Oid>& tables,
                                      std::int64_t margin);

  /// Called when there is nothing to do for a while, and before a clean end.
  virtual void tidy() = 0;

  virtual std::unique_ptr<TargetView> view() = 0;

  /// Null where the target keeps none.
  virtual SkipBook* skips();
  virtual Quarantine* quarantine();
};

}  // namespace tailrace::target
