#include "target/duckdb/rows_in_memory.h"

#include "base/log.h"
#include "target/duckdb/database.h"

namespace tailrace::target::duckdb {
namespace {

constexpr std::int64_t vector_size = 2048;
constexpr std::int64_t widest_value = 16;  ///< text, hugeint; the bytes of a long text come besides

std::int64_t taken(Session& session) {
  auto lines =
      read_text(session,
                "SELECT sum(memory_usage_bytes + temporary_storage_bytes)::VARCHAR FROM duckdb_memory() "
                "WHERE tag = 'IN_MEMORY_TABLE'");
  return std::stoll(lines.at(0).at(0));
}

std::int64_t bytes_of(std::size_t columns, std::size_t rows) {
  return static_cast<std::int64_t>(rows * columns) * widest_value;
}

}  // namespace

void RowsInMemory::wrote(Oid table, std::size_t columns, std::size_t rows) {
  took(table, static_cast<std::int64_t>(columns) * 2 * block_, bytes_of(columns, rows));
}

void RowsInMemory::filled(Oid table, std::size_t columns, std::size_t rows) {
  took(table, bytes_of(columns, vector_size), bytes_of(columns, rows));
}

void RowsInMemory::took(Oid table, std::int64_t first, std::int64_t more) {
  if (limit_ == 0) return;
  std::lock_guard lock(mutex_);
  guess_ += tables_.insert(table).second ? first + more : more;
}

void RowsInMemory::make_room(Session& session) {
  if (limit_ == 0 || guess_ < most()) return;
  std::lock_guard turn(making_room_);
  if (guess_ < most()) return;
  auto really = taken(session);
  if (really < most()) {
    guess_ = really;
    return;
  }
  {
    // Who writes while the checkpoint is made counts for the next one.
    std::lock_guard lock(mutex_);
    tables_.clear();
    guess_ = 0;
  }
  try {
    session.query("CHECKPOINT", "writing a checkpoint of the file");
  } catch (const Error& error) {
    // One that alters a table. It is short, and the next transaction asks again.
    if (error.message().find("Cannot CHECKPOINT") == std::string::npos) throw;
    log::debug("target", "{}", error.message());
    guess_ = really;
  }
}

bool RowsInMemory::is_much(const std::map<Oid, std::size_t>& columns_of_tables) {
  if (limit_ == 0) return false;
  std::int64_t bytes = 0;
  std::lock_guard lock(mutex_);
  // Until the commit all have room of their own for rows; those that were written to before take no more after
  // it.
  for (const auto& [table, columns] : columns_of_tables) {
    bytes += bytes_of(columns, vector_size);
    if (!tables_.contains(table)) bytes += static_cast<std::int64_t>(columns) * 2 * block_;
  }
  return bytes > limit_ / 4;
}

}  // namespace tailrace::target::duckdb
