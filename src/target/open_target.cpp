#include "target/open_target.h"

#include <fmt/format.h>

#include <filesystem>

#include "target/duckdb/duckdb_target.h"
#include "target/postgres/postgres_target.h"

namespace tailrace::target {

namespace {

constexpr std::uintmax_t long_log = 64 << 20;  // takes some seconds

/// What a run that was killed had not written into the file yet is read again when that is opened.
void tell_of_log(const OpenOptions& options) {
  std::error_code unknown;
  auto size = std::filesystem::file_size(options.path + ".wal", unknown);
  if (!unknown && size > long_log && options.doing)
    options.doing(fmt::format("replaying the log of the file, {} MB", size >> 20U));
}

}  // namespace

std::unique_ptr<Target> open(const OpenOptions& options) {
  if (options.kind == "duckdb") {
    tell_of_log(options);
    return open_duckdb({options.path, options.memory_bytes, options.keep_rows, options.file_mode});
  }
  TAILRACE_CHECK(options.kind == "postgres");
  return open_postgres({.conninfo = options.path,
                        .subscription = options.name,
                        .structure = options.make_structure ? StructureMode::copy : StructureMode::expect,
                        .connections = options.connections,
                        .lz4 = options.lz4,
                        .owners = options.owners,
                        .privileges = options.privileges,
                        .trust_source = options.trust_source,
                        .keep_rows = options.keep_rows,
                        .in_loop = options.in_loop,
                        .on_error = options.quarantine ? OnError::quarantine : OnError::stop,
                        .after_quarantine = options.hold ? AfterQuarantine::hold : AfterQuarantine::go_on,
                        .conflicts = options.conflicts,
                        .found_empty = options.found_empty,
                        .before_writing = options.before_writing,
                        .doing = options.doing});
}

postgres::SequencesSet sync_sequences(const OpenOptions& options, pg::Connection& source,
                                      const std::vector<Oid>& tables) {
  TAILRACE_CHECK(options.kind == "postgres");
  return sync_sequences_postgres(
      {.conninfo = options.path,
       .subscription = options.name,
       .structure = options.make_structure ? StructureMode::copy : StructureMode::expect,
       .keep_rows = options.keep_rows},
      source, tables);
}

std::optional<Checkpoint> read_checkpoint(const OpenOptions& options) {
  if (options.kind == "duckdb") return read_duckdb_checkpoint(options.path);
  TAILRACE_CHECK(options.kind == "postgres");
  return read_postgres_checkpoint({.conninfo = options.path, .subscription = options.name});
}

bool forget(const OpenOptions& options) {
  if (options.kind != "postgres") return false;
  return forget_postgres({options.path, options.name});
}

}  // namespace tailrace::target
