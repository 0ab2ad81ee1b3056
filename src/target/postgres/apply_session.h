#pragma once
// ApplySession: the connection that changes are applied by. Small changes go through libpq's pipeline mode, as
// many as there are without waiting; what cannot (COPY) first waits for them. Each says which table it belongs
// to.

#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/lsn.h"
#include "pg/connection.h"
#include "pg/pipeline.h"

namespace tailrace::target::postgres {

struct ApplyOptions {
  std::string conninfo;
  std::string subscription;
  /// Compresses wide values with lz4 (PostgreSQL documentation: "default_toast_compression") where the server
  /// can and nobody has set what with: it takes much less of the CPU that applying them is bound by.
  bool lz4 = true;
};

/// The target refused a change of a table: a constraint, a value that does not fit, a trigger.
struct ConstraintFailed : std::exception {
  ConstraintFailed(Oid of_table, Lsn of_commit, Error words, std::size_t at_entry)
      // NOLINTNEXTLINE(bugprone-throw-keyword-missing): a member is made
      : table(of_table), commit_lsn(of_commit), error(std::move(words)), entry(at_entry) {}
  const char* what() const noexcept override { return error.what(); }

  Oid table = 0;
  Lsn commit_lsn;  ///< of the source transaction, where it is known
  Error error;
  std::size_t entry = 0;  ///< see ApplySession::at_entry()
};

/// A row that a change is about is not there.
struct RowMissing : std::exception {
  RowMissing(Oid of_table, Lsn of_commit, const char* of_change, std::size_t at_entry)
      : table(of_table), commit_lsn(of_commit), change(of_change), entry(at_entry) {}
  const char* what() const noexcept override { return "a change is of a row that the target does not have"; }

  Oid table = 0;
  Lsn commit_lsn;
  const char* change = "";
  std::size_t entry = 0;  ///< see ApplySession::at_entry()
};

/// An integrity constraint refused it (SQLSTATE class 23).
bool is_constraint(const Error& error);

/// One thread.
class ApplySession {
 public:
  explicit ApplySession(const ApplyOptions& options);

  /// By the pipeline, in order; parameters are copied. Prepared under its text when it is new.
  void send(const std::string& sql, const std::vector<pg::Parameter>& parameters);
  /// The same, as a change of `table`, for the words of a failure.
  void change(Oid table, const char* what, Lsn commit_lsn, const std::string& sql,
              const std::vector<pg::Parameter>& parameters);
  /// What change() gets from now on is of this one of the caller's entries, for who wants to know which failed.
  void at_entry(std::size_t entry) { entry_ = entry; }
  /// Waits for all that was sent. Throws ConstraintFailed, RowMissing, and Error for everything else.
  void settle();
  /// The same, and the row of the last statement.
  std::vector<std::string> settle_with_row();
  /// Sends, waits, and gives all rows that came of it; nothing is NULL.
  using Rows = std::vector<std::vector<std::optional<std::string>>>;
  Rows ask(const std::string& sql, const std::vector<pg::Parameter>& parameters);

  /// What was sent last is a commit: what fails after it failed in a transaction that is there.
  void note_commit() { commit_ = pipeline().sent() - 1; }

  /// Until the open transaction ends. For what was refused: lz4 leaves some values larger, and an index has a
  /// limit for them.
  void compress_as_server();

  /// Its server process.
  int backend() const { return connection_.backend_pid(); }
  /// Asks the server to stop what runs, without waiting for it; from any thread. Called again and again, it is
  /// obeyed.
  void cancel() const noexcept { connection_.cancel_or_cut(); }
  /// The bare connection, after waiting for the pipeline.
  pg::Connection& direct();
  /// Drops what is in flight: for a rollback.
  void abandon() noexcept;
  /// Forgets prepared statements whose tables changed.
  void forget_statements();

 private:
  struct Expected {
    std::size_t statement = 0;
    Oid table = 0;
    const char* what = "";
    Lsn commit_lsn;
    std::size_t entry = 0;
  };

  pg::Pipeline& pipeline();
  const std::string& prepared(const std::string& sql);
  void wait(Rows* last_rows);

  pg::Connection connection_;
  bool lz4_ = false;  ///< it is we who chose it
  std::optional<pg::Pipeline> pipeline_;
  std::unordered_map<std::string, std::string> prepared_;  ///< SQL -> statement name
  std::vector<std::string> unsure_;                        ///< prepared since the last wait(): lost if it fails
  std::deque<Expected> expected_;
  std::optional<std::size_t> commit_;
  std::size_t entry_ = 0;
  int serial_ = 0;
};

}  // namespace tailrace::target::postgres
