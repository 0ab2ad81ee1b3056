#include "target/duckdb/database.h"

#include <sys/stat.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/pulse.h"
#include "base/real_path.h"
#include "target/duckdb/new_file.h"
#include "target/duckdb/unreadable_log.h"

namespace tailrace::target::duckdb {
namespace {

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

Error open_error(std::string_view message, const std::string& file) {
  if (contains(message, "Could not set lock") || contains(message, "Conflicting lock")) {
    auto pid = message.find("PID ");
    std::string holder;
    if (pid != std::string_view::npos) {
      auto end = message.find_first_not_of("0123456789", pid + 4);
      holder = fmt::format(" (process {})", message.substr(pid + 4, end - pid - 4));
    }
    return Error(Retry::needs_operator, fmt::format("another process{} has {} open", holder, file),
                 "A DuckDB file admits one process. Stop that one, or ask it: 'tailrace status' and 'tailrace "
                 "verify' talk to a running tailrace by themselves");
  }
  if (contains(message, "not a valid DuckDB database file")) {
    return Error(Retry::needs_operator, fmt::format("{} exists and is not a DuckDB file", file),
                 "Name another file, or move this one away");
  }
  if (contains(message, "No such file or directory") || contains(message, "Permission denied") ||
      contains(message, "Read-only file system") || contains(message, "Is a directory")) {
    auto what = std::string(message.substr(0, 600));
    std::ranges::replace(what, '\n', ' ');
    return Error(
        Retry::needs_operator, fmt::format("{} cannot be opened: {}", file, what),
        "Name a file in a folder that is there, which this user may read and write, and the folder too");
  }
  auto error = duckdb_error(message, fmt::format("opening {}", file));
  if (error.retry() != Retry::fatal || !error.remedy().empty()) return error;
  return Error(
      Retry::fatal, error.message(),
      "If the file is damaged, move it away, with the .wal beside it, and run again: everything is copied "
      "into a new one; or put a backup in its place");
}

void set(duckdb_config config, const char* name, const std::string& value) {
  if (duckdb_set_config(config, name, value.c_str()) == DuckDBError) {
    throw Error(Retry::fatal, fmt::format("DuckDB does not know the setting {}={}", name, value),
                "Another libduckdb than the one this program was built with is loaded; install tailrace anew");
  }
}

/// What DuckDB makes from here on can be read and written by whom the file's mode names, or `new_file_mode` if
/// there is no file yet. Directories take the right to enter from the right to read.
void make_private_as(const std::string& file, unsigned new_file_mode) {
  struct stat info{};
  mode_t mode = ::stat(file.c_str(), &info) == 0 ? info.st_mode : new_file_mode;
  mode_t forbidden = 077;
  if ((mode & 040) != 0) forbidden &= ~050U;
  if ((mode & 020) != 0) forbidden &= ~020U;
  if ((mode & 004) != 0) forbidden &= ~005U;
  if ((mode & 002) != 0) forbidden &= ~002U;
  ::umask(forbidden);
}

/// `path` is where it is opened now; an error names the file that the options name.
duckdb_database open_file(const std::string& path, const DatabaseOptions& options) {
  duckdb_config config = nullptr;
  if (duckdb_create_config(&config) == DuckDBError)
    throw Error(Retry::fatal, "DuckDB cannot make a configuration");
  std::unique_ptr<duckdb_config, void (*)(duckdb_config*)> guard(&config, &duckdb_destroy_config);
  // Extensions are never fetched: what a mirror needs is linked in, and production machines have no way out.
  set(config, "autoinstall_known_extensions", "false");
  set(config, "autoload_known_extensions", "false");
  set(config, "preserve_insertion_order", "false");
  // The walsender and our reader want cores too, and one thread that works beats two that hand over.
  set(config, "threads", std::to_string(std::max(1u, std::thread::hardware_concurrency() / 2)));
  if (options.read_only) set(config, "access_mode", "READ_ONLY");
  if (options.memory_bytes > 0) set(config, "memory_limit", fmt::format("{}B", options.memory_bytes));
  // Else it is what the disk had free when the file was opened, for good: of a disk that was full then,
  // nothing.
  set(config, "max_temp_directory_size", "1000000GB");
  // A checkpoint after every 16 MB of log, DuckDB's default, rewrites the row groups that were touched each
  // time; see docs/dev/architecture.md.
  set(config, "wal_autocheckpoint", "256MB");
  // For a new file. DuckDB's own 256 kB are taken for every column of a table that is written to: 400 MB for
  // 1,600 columns. Neither copying nor following was slower with 64 kB.
  set(config, "default_block_size", "65536");
  duckdb_database opened = nullptr;
  char* error = nullptr;
  if (duckdb_open_ext(path.c_str(), &opened, config, &error) == DuckDBError) {
    std::string message = error != nullptr ? error : "no reason given";
    duckdb_free(error);
    throw open_error(message, options.file);
  }
  return opened;
}

/// Whoever looks at the file of a mirror that does not run ('tailrace status') has it for a moment only.
duckdb_database open_soon(const std::string& path, const DatabaseOptions& options) {
  constexpr int attempts = 20;
  for (int attempt = 1;; ++attempt) {
    try {
      return open_file(path, options);
    } catch (const Error& error) {
      if (attempt == attempts || !contains(error.message(), "another process")) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
}

}  // namespace

std::vector<std::vector<std::string>> read_text(Session& session, const std::string& sql) {
  Rows rows = session.query(sql, "reading the metadata");
  std::vector<std::vector<std::string>> out;
  while (duckdb_data_chunk chunk = rows.fetch()) {
    idx_t size = duckdb_data_chunk_get_size(chunk);
    idx_t columns = duckdb_data_chunk_get_column_count(chunk);
    for (idx_t row = 0; row < size; ++row) {
      auto& line = out.emplace_back();
      for (idx_t column = 0; column < columns; ++column) {
        duckdb_vector vector = duckdb_data_chunk_get_vector(chunk, column);
        auto* validity = duckdb_vector_get_validity(vector);
        auto* data = static_cast<duckdb_string_t*>(duckdb_vector_get_data(vector));
        bool valid = validity == nullptr || duckdb_validity_row_is_valid(validity, row);
        line.push_back(valid ? std::string(duckdb_string_t_data(&data[row]), duckdb_string_t_length(data[row]))
                             : std::string());
      }
    }
    duckdb_destroy_data_chunk(&chunk);
  }
  return out;
}

Error duckdb_error(std::string_view message, std::string_view purpose) {
  auto what = fmt::format("DuckDB failed while {}: {}", purpose, message.substr(0, 600));
  std::replace(what.begin(), what.end(), '\n', ' ');
  if (contains(message, "No space left") || contains(message, "Disk quota exceeded")) {
    return Error(Retry::transient, what,
                 "Free space on the disk of the target file; a mirror that is set up goes on by itself then");
  }
  if (contains(message, "Input/output error") || contains(message, "Too many open files"))
    return Error(Retry::transient, what,
                 "It is tried again; look at the disk of the target file, and at ulimit -n");
  if (message.starts_with("INTERRUPT")) return Error(Retry::transient, what);
  if (contains(message, "Out of Memory") || contains(message, "could not allocate") ||
      contains(message, "failed to pin block")) {
    return Error(Retry::needs_operator, what,
                 "DuckDB needs some three times the largest value, and some 130 kB for each column of each "
                 "table that one "
                 "transaction changes: raise --memory, or limits.duckdb_memory");
  }
  return Error(Retry::fatal, what);
}

Rows::Rows(Rows&& other) noexcept : raw_(std::exchange(other.raw_, duckdb_result{})) {}
Rows::~Rows() {
  duckdb_destroy_result(&raw_);
}

Session::Session(duckdb_database database) {
  if (duckdb_connect(database, &raw_) == DuckDBError) {
    throw Error(Retry::fatal, "DuckDB refused one more connection to its own file");
  }
  query("SET TimeZone = 'UTC'", "preparing a session");
}

Session::Session(Session&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}

Session::~Session() {
  if (raw_ != nullptr) duckdb_disconnect(&raw_);
}

Rows Session::query(const std::string& sql, std::string_view purpose) {
  Waiting waiting;
  duckdb_result raw{};
  if (duckdb_query(raw_, sql.c_str(), &raw) == DuckDBError) {
    Rows failed(raw);
    throw duckdb_error(duckdb_result_error(&raw), purpose);
  }
  return Rows(raw);
}

Rows Session::stream(const std::string& sql, std::string_view purpose) {
  Waiting waiting;
  duckdb_prepared_statement statement = nullptr;
  if (duckdb_prepare(raw_, sql.c_str(), &statement) == DuckDBError) {
    std::string message = duckdb_prepare_error(statement);
    duckdb_destroy_prepare(&statement);
    throw duckdb_error(message, purpose);
  }
  duckdb_pending_result pending = nullptr;
  duckdb_result raw{};
  bool failed = duckdb_pending_prepared_streaming(statement, &pending) == DuckDBError;
  std::string message = failed ? duckdb_pending_error(pending) : "";
  if (!failed && duckdb_execute_pending(pending, &raw) == DuckDBError) {
    failed = true;
    message = duckdb_result_error(&raw);
    duckdb_destroy_result(&raw);
  }
  duckdb_destroy_pending(&pending);
  duckdb_destroy_prepare(&statement);
  if (failed) throw duckdb_error(message, purpose);
  return Rows(raw);
}

void Session::commit() {
  try {
    query("COMMIT", "committing");
  } catch (const Error& error) {
    // A full disk or too little memory undid the commit; after anything else only the file itself can tell.
    if (error.retry() != Retry::fatal) throw;
    throw Error(Retry::in_doubt, error.message(), error.remedy());
  }
}

void Session::rollback() noexcept {
  Waiting waiting;
  duckdb_result raw{};
  duckdb_query(raw_, "ROLLBACK", &raw);
  duckdb_destroy_result(&raw);
}

namespace {

/// 0: it cannot be asked.
std::int64_t block_size(Session session) {
  try {
    return std::stoll(read_text(session, "SELECT block_size::VARCHAR FROM pragma_database_size()").at(0).at(0));
  } catch (const std::exception& error) {
    log::debug("target", "the size of the file's blocks is not known: {}", error.what());
    return 0;
  }
}

}  // namespace

Database::Database(const DatabaseOptions& options)
    : file_(options.file == in_memory ? options.file : real_path(options.file)) {
  open(options);
  bool writes = !options.read_only && file_ != in_memory && options.memory_bytes > 0;
  rows_in_memory_ = std::make_unique<RowsInMemory>(options.memory_bytes, writes ? block_size(session()) : 0);
}

void Database::open(const DatabaseOptions& options) {
  if (file_ == in_memory) {
    raw_ = open_file(file_, options);
    return;
  }
  make_private_as(file_, options.new_file_mode);
  if (!options.read_only) {
    finish_replay(file_);
    create_whole(file_, [&](const std::string& path) {
      duckdb_database created = open_file(path, options);
      duckdb_close(&created);
    });
  }
  try {
    raw_ = options.read_only ? open_file(file_, options) : open_soon(file_, options);
  } catch (const Error& error) {
    if (!has_unreadable_log(file_, error.message())) throw;
    replay_unreadable_log(file_, options.memory_bytes);
    raw_ = open_file(file_, options);
  }
}

Database::~Database() {
  duckdb_close(&raw_);
}

std::shared_ptr<Database> share_database(const DatabaseOptions& options) {
  // Opening and closing exclude each other, so a file is never opened while it is being closed.
  struct OpenFile {
    std::weak_ptr<Database> database;
    bool open = false;  ///< until the instance is gone for good, which is later than the last reference to it
  };
  static std::mutex mutex;
  static std::condition_variable closed;
  static std::map<std::string, OpenFile> files;
  std::unique_lock lock(mutex);
  OpenFile& file = files[real_path(options.file)];
  for (;;) {
    if (auto alive = file.database.lock()) return alive;
    if (!file.open) break;
    closed.wait(lock);
  }
  std::shared_ptr<Database> opened(new Database(options), [&file](const Database* closing) {
    delete closing;
    std::lock_guard closing_lock(mutex);
    file.open = false;
    closed.notify_all();
  });
  file.database = opened;
  file.open = true;
  return opened;
}

}  // namespace tailrace::target::duckdb
