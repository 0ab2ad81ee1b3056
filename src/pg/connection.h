#pragma once
// Connection: RAII around libpq, the only room that includes its header. Errors are tailrace::Error with the
// SQLSTATE, the statement's purpose and a retry class. Not thread-safe; one thread at a time, except
// cancel_soon().

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/errand.h"
#include "base/error.h"
#include "base/lsn.h"
#include "base/stop.h"

struct pg_conn;
struct pg_result;

namespace tailrace::pg {

/// An owned query result; all values as text. Rows and columns count from 0.
class Result {
 public:
  explicit Result(pg_result* raw) : raw_(raw, &free) {}
  int rows() const;
  int columns() const;
  bool is_null(int row, int column) const;
  std::string_view get(int row, int column) const;
  std::string str(int row, int column) const { return std::string(get(row, column)); }
  /// NULL is 0, and for lsn() no position. Throws Error for what is there and cannot be read.
  std::int64_t i64(int row, int column) const;
  Oid oid(int row, int column) const { return static_cast<Oid>(i64(row, column)); }
  bool flag(int row, int column) const { return get(row, column) == "t"; }
  Lsn lsn(int row, int column) const;
  /// Rows touched by INSERT, UPDATE, DELETE, COPY.
  std::int64_t affected() const;
  pg_result* raw() const { return raw_.get(); }

 private:
  static void free(pg_result* raw);
  std::unique_ptr<pg_result, void (*)(pg_result*)> raw_;
};

enum class Mode { sql, replication };

struct ConnectOptions {
  Mode mode = Mode::sql;
  std::string application_name = "tailrace";  ///< wins over one in the connection string
  int connect_timeout_seconds = 10;
};

class Connection {
 public:
  /// `conninfo`: a URL or a keyword string, as libpq takes it. The session's settings are pinned, see
  /// session_settings.h: search_path before anything runs, so that no name means what a database's owner put in
  /// its way.
  static Connection open(const std::string& conninfo, const ConnectOptions& options = {});

  Connection(Connection&&) noexcept = default;
  Connection& operator=(Connection&&) noexcept = default;

  /// True of a database of encoding SQL_ASCII: its text is any bytes, in both directions, and nobody says
  /// which.
  bool raw_text() const;

  /// One or more statements by the simple query protocol. `purpose` completes "while ..." in an error.
  Result query(const std::string& sql, std::string_view purpose);
  /// One statement with text parameters ($1 ...); nullopt is NULL.
  Result query(const std::string& sql, const std::vector<std::optional<std::string>>& parameters,
               std::string_view purpose);
  /// The same, prepared when it first comes: for what is asked of many tables, one after the other.
  Result query_prepared(const std::string& sql, const std::vector<std::optional<std::string>>& parameters,
                        std::string_view purpose);
  /// Of query_prepared(), and whatever else has been prepared here.
  void deallocate_all(std::string_view purpose);
  /// One statement with one binary parameter, $1.
  Result query_binary(const std::string& sql, std::string_view parameter, std::string_view purpose);

  /// From now on a query() that waits leaves at once, by StopRequested, when a stop is requested; without it, a
  /// moment after the stop of the process (process_stop.h). Borrows the signal.
  void leave_on(const StopSignal& stop) { stop_ = &stop; }
  bool leaves() const { return stop_ != nullptr && stop_->requested(); }

  /// From now on a query() that gets no answer for so long counts as a lost connection, and is one then: a
  /// network that swallows packets tells nobody. 0, the default, waits for ever, as a copy under a lock must.
  void set_patience(std::chrono::milliseconds patience) { patience_ = patience; }

  /// Calls `read` whenever the socket has something, `while_this()` holds; leaves and gives up as query() does.
  void wait_while(const std::function<bool()>& while_this, const std::function<void()>& read,
                  std::string_view purpose);

  /// Between queries, without asking anything: throws as a query() would where the server has closed the
  /// connection, which an idle one else finds out by its next query.
  void notice_loss(std::string_view purpose);

  int server_version() const;  ///< as 150004
  int backend_pid() const;
  int socket() const;
  bool is_unix_socket() const;
  bool is_near() const;  ///< a round trip costs little
  pg_conn* raw() const { return raw_.get(); }

  /// Asks the server to cancel what runs, and waits a moment until that is said; safe from another thread while
  /// the connection lives. Nothing happens where no thread can be had.
  void cancel_soon() const noexcept;
  /// The same without waiting, for whoever calls it again and again until what runs has ended: where that does
  /// not help for 10 s, the connection is cut, and a call that waits fails as by a lost connection.
  void cancel_or_cut() const noexcept;
  /// Asks without waiting; the errand is over once the server has been told.
  std::optional<Errand> begin_cancel() const noexcept;

 private:
  explicit Connection(pg_conn* raw) : raw_(raw, &finish) {}
  static void finish(pg_conn* raw);
  Result check(Result result, std::string_view purpose);
  /// The last result of what was sent, as PQexec gives it.
  Result wait_for_result(bool sent, std::string_view purpose);
  /// `bytes`: of the answer so far.
  void wait_until_answered(std::size_t& bytes, std::string_view purpose);
  std::unique_ptr<pg_conn, void (*)(pg_conn*)> raw_;
  std::map<std::string, std::string> prepared_;  ///< SQL -> its name
  std::chrono::milliseconds patience_{0};
  const StopSignal* stop_ = nullptr;
  /// When cancel_or_cut() was called, first and last of those that followed one another closely.
  struct Cancels {
    std::mutex mutex;
    std::chrono::steady_clock::time_point first;
    std::chrono::steady_clock::time_point last;
  };
  std::unique_ptr<Cancels> cancels_ = std::make_unique<Cancels>();
};

/// One message of a stream or a copy, or the answer to one query, that is larger is refused before it is read
/// whole: Error(needs_operator). For the whole process; without it there is no limit.
void set_largest_answer(std::size_t bytes);
std::size_t largest_answer();

/// A connection string without its secrets, for people: "postgres://app@db:5432/shop".
std::string redact(const std::string& conninfo);

/// What libpq finds wrong with it before it connects to anything, in words without its secrets; empty: nothing.
std::string conninfo_problem(const std::string& conninfo);

/// What an ErrorResponse says.
struct ServerError {
  std::string sqlstate;
  std::string message;
  std::string detail;
  std::string hint;
};
Error make_error(const ServerError& said, std::string_view purpose);
/// The Error for a failed result or a lost connection. `purpose` completes "while ...".
Error make_error(pg_conn* connection, pg_result* result, std::string_view purpose);

}  // namespace tailrace::pg
