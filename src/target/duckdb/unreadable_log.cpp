#include "target/duckdb/unreadable_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>

#include "base/log.h"
#include "base/sql_text.h"
#include "target/duckdb/database.h"
#include "target/duckdb/text_function.h"

namespace tailrace::target::duckdb {
namespace {

namespace fs = std::filesystem;

std::string log_of(const std::string& file) {
  return file + ".wal";
}
std::string copy_of(const std::string& file) {
  return file + ".tailrace-replayed";
}
std::string set_aside(const std::string& file) {
  return file + ".wal.tailrace-unreadable";
}

std::set<std::string> functions_in(const std::string& file) {
  std::ifstream in(log_of(file), std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  static const std::regex name("tailrace_text_[0-9]+");
  return {std::sregex_token_iterator(bytes.begin(), bytes.end(), name), std::sregex_token_iterator()};
}

/// The types of columns as the file had them at DuckDB's last checkpoint. Two of the same DuckDB type that show
/// as different text would not be told apart.
std::vector<ColumnType> types_in(const std::string& file) {
  Database database({.file = file, .memory_bytes = 0, .read_only = true});
  Session session = database.session();
  std::map<std::string, ColumnType> by_name;
  for (const auto& line : read_text(session, "SELECT DISTINCT column_type FROM tailrace.columns")) {
    auto type = parse_column_type(line[0]);
    if (!type || type->codec == Codec::text) continue;
    auto [same, first] = by_name.try_emplace(type->sql, *type);
    if (!first && same->second != *type)
      throw Error(Retry::needs_operator,
                  fmt::format("columns of {} may hold {}", type->sql, "values of two types of PostgreSQL"));
  }
  std::vector<ColumnType> out;
  for (const auto& [sql, type] : by_name) out.push_back(type);
  return out;
}

void sync(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

void replay(const std::string& file, const std::string& copy, std::int64_t memory_bytes) {
  // Of an attempt that was killed: DuckDB would replay it as soon as the copy is opened.
  fs::remove(log_of(copy));
  fs::copy_file(file, copy, fs::copy_options::overwrite_existing);
  auto types = types_in(copy);
  fs::copy_file(log_of(file), log_of(copy), fs::copy_options::overwrite_existing);
  Database database({.file = in_memory, .memory_bytes = memory_bytes});
  Session session = database.session();
  for (const auto& name : functions_in(file)) register_text_function(session, name, types);
  session.query(fmt::format("ATTACH {} AS replayed; CHECKPOINT replayed; DETACH replayed", quote_literal(copy)),
                "replaying the log");
  sync(copy);
}

}  // namespace

bool has_unreadable_log(const std::string& file, std::string_view message) {
  return message.find("replaying WAL") != std::string_view::npos && !functions_in(file).empty();
}

void replay_unreadable_log(const std::string& file, std::int64_t memory_bytes) {
  auto copy = copy_of(file);
  auto remove_copy = [&] {
    std::error_code ignored;
    fs::remove(copy, ignored);
    fs::remove(log_of(copy), ignored);
  };
  try {
    replay(file, copy, memory_bytes);
    // From here to the second rename the copy is the file, and finish_replay() knows it by the log set aside.
    fs::rename(log_of(file), set_aside(file));
    finish_replay(file);
  } catch (const std::exception& failed) {
    if (!fs::exists(set_aside(file))) remove_copy();
    throw Error(Retry::needs_operator,
                fmt::format("the log of {} cannot be replayed: an earlier tailrace wrote into it what DuckDB "
                            "does not understand ({})",
                            file, failed.what()),
                "The file was left as it is. Copy anew: 'tailrace teardown', then run with a new target file");
  }
  log::warn("target", "the log of {}, which DuckDB cannot replay by itself, was replayed", file);
}

void finish_replay(const std::string& file) {
  auto aside = set_aside(file);
  if (!fs::exists(aside)) return;
  if (fs::exists(copy_of(file))) fs::rename(copy_of(file), file);
  sync(fs::absolute(file).parent_path().string());
  fs::remove(aside);
}

}  // namespace tailrace::target::duckdb
