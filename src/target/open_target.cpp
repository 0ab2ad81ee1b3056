#include "target/open_target.h"

#include <fmt/format.h>

#include <filesystem>

#include "target/postgres/foreseeing.h"

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

DuckDbOptions duckdb_options(const OpenOptions& options) {
  return {options.path, options.memory_bytes, options.keep_rows, options.file_mode, options.types};
}

PostgresOptions postgres_options(const OpenOptions& options) {
  return {.conninfo = options.path,
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
          .doing = options.doing,
          .made = options.made};
}

}  // namespace

std::unique_ptr<Target> open(const OpenOptions& options) {
  if (options.kind == "duckdb") {
    tell_of_log(options);
    return open_duckdb(duckdb_options(options));
  }
  TAILRACE_CHECK(options.kind == "postgres");
  return open_postgres(postgres_options(options));
}

std::vector<Error> foresee_refusals(const OpenOptions& options, pg::Connection& target,
                                    const std::vector<schema::Table>& tables, const std::set<Oid>& coming,
                                    const schema::ReadStructure& read) {
  TAILRACE_CHECK(options.kind == "postgres");
  return postgres::foresee_refusals(target, postgres_options(options), tables, coming, read);
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

std::optional<Books> read_books(const OpenOptions& options) {
  if (options.kind == "duckdb") return read_duckdb_books(options.path);
  TAILRACE_CHECK(options.kind == "postgres");
  return read_postgres_books({.conninfo = options.path, .subscription = options.name});
}

Peeked peek(const OpenOptions& options) {
  TAILRACE_CHECK(options.kind == "duckdb");
  return peek_duckdb(duckdb_options(options));
}

void check_chosen_types(const OpenOptions& options, const std::function<std::vector<schema::Table>()>& read) {
  TAILRACE_CHECK(options.kind == "duckdb");
  check_duckdb_types(duckdb_options(options), read);
}

Forgotten forget(const OpenOptions& options) {
  if (options.kind != "postgres") return {};
  return forget_postgres({options.path, options.name});
}

std::optional<std::vector<std::string>> take_back(const OpenOptions& options, const PostgresTraces& traces) {
  if (options.kind == "duckdb") return take_back_duckdb(options.path);
  TAILRACE_CHECK(options.kind == "postgres");
  return take_back_postgres(
      {.conninfo = options.path, .subscription = options.name, .keep_rows = options.keep_rows}, traces);
}

}  // namespace tailrace::target
