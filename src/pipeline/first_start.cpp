#include "pipeline/first_start.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/kill_point.h"
#include "base/log.h"
#include "base/sql_text.h"
#include "pipeline/open_options.h"
#include "source/publication.h"
#include "source/slot.h"
#include "target/postgres/books_format.h"
#include "target/postgres/origins.h"

namespace tailrace::pipeline {
namespace {

namespace fs = std::filesystem;

bool is_there(const std::string& path) {
  std::error_code ignored;
  return fs::symlink_status(path, ignored).type() != fs::file_type::not_found;
}

/// What one step leaves must not keep the others from being done.
template <typename Work>
bool try_to(const std::string& what, const Work& work) noexcept {
  try {
    work();
    return true;
  } catch (const std::exception& error) {
    log::warn("run", "left behind by this failed start: {} ({})", what, error.what());
    return false;
  }
}

}  // namespace

FirstStart::FirstStart(const config::Config& config)
    : config_(config), new_file_(config.target.kind == "duckdb" && !is_there(config.target.path)) {}

void FirstStart::watch(target::OpenOptions& options) {
  if (options.kind != "postgres") return;
  options.made = [this](const auto& objects) {
    if (!keep_) traces_.objects.insert(traces_.objects.end(), objects.begin(), objects.end());
  };
}

void FirstStart::look_at(pg::Connection& target) {
  if (std::exchange(touched_, true)) return;
  traces_.origins = target::postgres::origins_of(target, config_.name);
  // What an earlier start had made, and was killed before it noted a table.
  keep_ = keep_ || target::postgres::is_begun(target, config_.name);
}

void FirstStart::look_at(const target::Target& target) {
  auto tables = target.tables();
  if (!std::exchange(traces_.opened, true)) keep_ = keep_ || target.checkpoint().has_value() || !tables.empty();
  keep_ = keep_ || std::ranges::any_of(
                       tables, [](const auto& table) { return table.copied || table.copied_at.valid(); });
}

/// The target comes first: where a kill comes between, the next start finds a slot that has everything, and
/// goes on with it. The reverse would leave a checkpoint whose slot is gone.
bool FirstStart::undo() noexcept {
  if (keep_) return false;
  bool target = undo_target();
  // It was found out there.
  if (keep_) return false;
  kill_point("undo.target.done");
  return undo_source() && target;
}

bool FirstStart::undo_source() {
  if (!publication_ && !slot_) return true;
  auto name = config_.publication.names.at(0);
  std::string sql;
  if (slot_) sql += fmt::format("SELECT pg_drop_replication_slot({}); ", quote_literal(config_.slot.name));
  if (publication_) sql += fmt::format("DROP PUBLICATION {};", quote_identifier(name));
  return try_to("at the source, " + sql, [&] {
    auto source = open_source(config_, pg::Mode::sql);
    // The slot first: while it is there, a missing publication would break its stream.
    if (slot_) source::drop_slot(*source, config_.slot.name);
    kill_point("undo.slot.dropped");
    if (publication_) source::drop_publication(*source, name);
  });
}

bool FirstStart::undo_target() {
  if (new_file_) return remove_file();
  bool untouched = config_.target.kind == "postgres" ? !touched_ : !traces_.opened;
  if (untouched) return true;
  bool all = true;
  bool done = try_to("what it noted at the target (tailrace teardown removes it)", [&] {
    auto left = target::take_back(open_options(config_), traces_);
    keep_ = !left;
    if (!left) return;
    for (const auto& sql : *left) {
      log::warn("run", "left behind by this failed start, for something else needs it: at the target, {};",
                sql);
      all = false;
    }
  });
  return done && all;
}

/// One that was never opened is another's, who made it meanwhile.
bool FirstStart::remove_file() {
  if (!traces_.opened) return true;
  return try_to("the file " + config_.target.path, [&] {
    for (const char* suffix : {".wal", ""}) fs::remove(config_.target.path + suffix);
  });
}

}  // namespace tailrace::pipeline
