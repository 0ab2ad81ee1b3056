#include "pipeline/first_start.h"

#include <filesystem>

#include "base/log.h"
#include "base/sql_text.h"
#include "pipeline/open_options.h"
#include "source/publication.h"
#include "source/slot.h"

namespace tailrace::pipeline {
namespace {

namespace fs = std::filesystem;

bool is_there(const std::string& path) {
  std::error_code ignored;
  return fs::symlink_status(path, ignored).type() != fs::file_type::not_found;
}

/// What one step leaves must not keep the others from being done.
template <typename Work>
void try_to(const std::string& what, const Work& work) noexcept {
  try {
    work();
  } catch (const std::exception& error) {
    log::warn("run", "left behind by this failed start: {} ({})", what, error.what());
  }
}

}  // namespace

FirstStart::FirstStart(const config::Config& config)
    : config_(config), new_file_(config.target.kind == "duckdb" && !is_there(config.target.path)) {}

void FirstStart::look_at(pg::Connection& target) {
  auto there = target.query("select pg_catalog.to_regnamespace('tailrace') is null", "looking for books");
  new_books_ = there.flag(0, 0);
}

void FirstStart::look_at(const target::Target& target) {
  keep_ = keep_ || target.checkpoint().has_value() || !target.tables().empty();
}

void FirstStart::undo() noexcept {
  if (keep_) return;
  undo_source();
  undo_target();
}

void FirstStart::undo_source() {
  if (!publication_ && !slot_) return;
  auto name = config_.publication.names.at(0);
  std::string sql;
  if (slot_) sql += fmt::format("SELECT pg_drop_replication_slot({}); ", quote_literal(config_.slot.name));
  if (publication_) sql += fmt::format("DROP PUBLICATION {};", quote_identifier(name));
  try_to("at the source, " + sql, [&] {
    auto source = open_source(config_, pg::Mode::sql);
    // The slot first: while it is there, a missing publication would break its stream.
    if (slot_) source::drop_slot(*source, config_.slot.name);
    if (publication_) source::drop_publication(*source, name);
  });
}

void FirstStart::undo_target() {
  if (new_books_) {
    try_to("at the target, DROP SCHEMA tailrace CASCADE;", [&] { target::forget(open_options(config_)); });
  }
  if (!new_file_) return;
  try_to("the file " + config_.target.path, [&] {
    for (const char* suffix : {".wal", ""}) fs::remove(config_.target.path + suffix);
  });
}

}  // namespace tailrace::pipeline
