#pragma once
// Database, Session: RAII around the DuckDB C API. One Session is used by one thread at a time; several
// Sessions of one Database work side by side, each with its own transaction.

#include <duckdb.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "target/duckdb/rows_in_memory.h"

namespace tailrace::target::duckdb {

/// An owned result. Values are read as text; scans use fetch().
class Rows {
 public:
  explicit Rows(const duckdb_result& raw) : raw_(raw) {}
  Rows(Rows&& other) noexcept;
  Rows& operator=(Rows&&) = delete;
  ~Rows();

  /// The next chunk, null at the end; the caller destroys it.
  duckdb_data_chunk fetch() { return duckdb_fetch_chunk(raw_); }
  idx_t columns() { return duckdb_column_count(&raw_); }
  /// Rows changed by INSERT, UPDATE or DELETE.
  std::int64_t changed() { return static_cast<std::int64_t>(duckdb_rows_changed(&raw_)); }

 private:
  duckdb_result raw_{};
};

class Session {
 public:
  explicit Session(duckdb_database database);
  Session(Session&& other) noexcept;
  Session& operator=(Session&&) = delete;
  ~Session();

  /// One or more statements; the last one's result. `purpose` completes "while ..." in an error.
  Rows query(const std::string& sql, std::string_view purpose);
  /// Like query, but the rows come as they are asked for, not all at once. Until they are all read the session
  /// must not be used otherwise.
  Rows stream(const std::string& sql, std::string_view purpose);

  void begin() { query("BEGIN TRANSACTION", "beginning a transaction"); }
  /// Throws with Retry::in_doubt when the outcome is unknown.
  void commit();
  void rollback() noexcept;

  duckdb_connection raw() const { return raw_; }

 private:
  duckdb_connection raw_ = nullptr;
};

/// A small result whose columns were all cast to VARCHAR; NULL comes as an empty string.
std::vector<std::vector<std::string>> read_text(Session& session, const std::string& sql);

/// DuckDB's name for a database without a file.
constexpr const char* in_memory = ":memory:";

struct DatabaseOptions {
  std::string file;
  std::int64_t memory_bytes = 0;
  bool read_only = false;
  unsigned new_file_mode = 0600;
};

class Database {
 public:
  /// Opens or creates the file. A file that another process holds, or that is no DuckDB file, is explained.
  /// A new file gets `new_file_mode`; the log beside a file, and what does not fit into memory, have the
  /// file's own mode. DuckDB has no setting for it, so it is the process's umask that is set.
  explicit Database(const DatabaseOptions& options);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  Session session() const { return Session(raw_); }
  RowsInMemory& rows_in_memory() { return *rows_in_memory_; }
  const std::string& file() const { return file_; }

 private:
  void open(const DatabaseOptions& options);

  std::string file_;
  duckdb_database raw_ = nullptr;
  std::unique_ptr<RowsInMemory> rows_in_memory_;
};

/// The database of this file that is open in this process already, else a new one. DuckDB's lock keeps out
/// other processes only: two instances in one would each write over what the other wrote, and a view that is
/// compared may outlive the target that it came from.
std::shared_ptr<Database> share_database(const DatabaseOptions& options);

/// The Error for a message of DuckDB, with the remedies for a full disk and exhausted memory.
Error duckdb_error(std::string_view message, std::string_view purpose);

}  // namespace tailrace::target::duckdb
