#include "pipeline/followed.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "pg/connection.h"
#include "pg/one_database.h"
#include "pipeline/open_options.h"
#include "target/open_target.h"

namespace tailrace::pipeline {

Error follows_nothing(const config::Config& config) {
  return Error(Retry::needs_operator, fmt::format("{} follows nothing yet", config.target.url()),
               "Is this the right target, and the right --name? A first copy that was stopped goes on with "
               "'tailrace run'");
}

namespace {

constexpr const char* undefined_column = "42703";

/// Where the two are one database, that is what is wrong.
void refuse_itself(const config::Config& config) {
  if (config.target.kind != "postgres" || config.source.empty()) return;
  std::optional<pg::Connection> source;
  try {
    source.emplace(pg::Connection::open(config.source, {pg::Mode::sql, config.name}));
  } catch (const Error&) {
    return;
  }
  auto target = pg::Connection::open(open_options(config).path, {pg::Mode::sql, config.name});
  pg::refuse_one_database(*source, target);
}

}  // namespace

void refuse_unfollowed(const config::Config& config) {
  bool file = config.target.kind == "duckdb";
  std::error_code unknown;
  if (file && !std::filesystem::exists(config.target.path, unknown) && !unknown) throw follows_nothing(config);
  std::optional<target::Books> books;
  try {
    books = target::read_books(open_options(config));
  } catch (const Error& error) {
    // A file that cannot be read without more ado is there, and so are books of an earlier tailrace, which are
    // migrated when they are opened. Whoever opens either makes nothing of it.
    if (!file && error.sqlstate() != undefined_column) throw;
    return;
  }
  if (books) return;
  refuse_itself(config);
  throw follows_nothing(config);
}

}  // namespace tailrace::pipeline
