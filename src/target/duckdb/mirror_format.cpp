#include "target/duckdb/mirror_format.h"

#include <charconv>
#include <iterator>

#include "base/kill_point.h"
#include "base/log.h"

namespace tailrace::target::duckdb {
namespace {

/// The first is the metadata as format 1 had it; a new file goes through all of them too, so that there is one
/// way to each shape. DuckDB must be able to replay every statement from its log: constants as defaults, never
/// an expression, and no ALTER of a table whose rows a step before it in the list changed.
constexpr const char* steps[] = {
    // 1
    R"(
CREATE SCHEMA tailrace;
CREATE TABLE tailrace.checkpoint (
  format_version BIGINT NOT NULL, slot VARCHAR NOT NULL, system_identifier VARCHAR NOT NULL,
  timeline UINTEGER NOT NULL, lsn UBIGINT NOT NULL, commit_time TIMESTAMP WITH TIME ZONE,
  commit_micros BIGINT NOT NULL);
CREATE TABLE tailrace.tables (
  oid UINTEGER NOT NULL, source_schema VARCHAR NOT NULL, source_name VARCHAR NOT NULL,
  target_schema VARCHAR NOT NULL, target_name VARCHAR NOT NULL, copied BOOLEAN NOT NULL,
  copied_at UBIGINT NOT NULL,
  filenode UINTEGER NOT NULL, rows_copied BIGINT NOT NULL, membership VARCHAR NOT NULL, note VARCHAR NOT NULL);
CREATE TABLE tailrace.columns (
  table_oid UINTEGER NOT NULL, position INTEGER NOT NULL, attnum SMALLINT NOT NULL,
  source_name VARCHAR NOT NULL, target_name VARCHAR NOT NULL, type_oid UINTEGER NOT NULL,
  typmod INTEGER NOT NULL, is_key BOOLEAN NOT NULL, version UINTEGER NOT NULL,
  widened BOOLEAN NOT NULL, column_type VARCHAR NOT NULL);
)",
    // 2: the format has a table of its own. In the checkpoint it stands only once there is one, and there it
    // stays
    // for the tailrace of format 1, which looks there, and leaves a newer file alone.
    R"(
CREATE TABLE tailrace.format (version BIGINT NOT NULL);
)",
    // 3: why a table is held; NULL: it is not.
    "ALTER TABLE tailrace.tables ADD COLUMN held VARCHAR;",
    // 4: what the snapshot showed that a stream from before it must not bring again
    R"(
ALTER TABLE tailrace.checkpoint ADD COLUMN seen VARCHAR DEFAULT '';
)",
    // 5: where a table's rows are at the source; not known of tables that are there.
    R"(
ALTER TABLE tailrace.tables ADD COLUMN storage VARCHAR DEFAULT '';
)",
    // 6: what the user chose for a column when its rows were written, and by which rules.
    R"(
ALTER TABLE tailrace.columns ADD COLUMN chosen VARCHAR DEFAULT '';
ALTER TABLE tailrace.columns ADD COLUMN misfit_is_error BOOLEAN DEFAULT false;
CREATE TABLE tailrace.types (rules VARCHAR NOT NULL);
)",
};

constexpr std::int64_t newest = std::ssize(steps);

Error damaged(const std::string& what) {
  return {Retry::needs_operator, "the schema tailrace of the target file is damaged: " + what,
          "Something else wrote there: restore the file, or start with a new one"};
}

std::int64_t number(const std::string& table, const std::string& text) {
  std::int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1)
    throw damaged(fmt::format("{} says that its format is '{}'", table, text));
  return value;
}

/// Something is there already, is missing, or is of another kind. DuckDB has no codes for it.
bool is_about_shape(const Error& error) {
  return error.retry() == Retry::fatal && (error.message().find("Catalog Error") != std::string::npos ||
                                           error.message().find("Binder Error") != std::string::npos);
}

void take_step(Session& session, std::int64_t format, const char* step) {
  try {
    session.query(step, "bringing the metadata up to date");
  } catch (const Error& error) {
    if (!is_about_shape(error)) throw;
    throw damaged(fmt::format("it is not as format {} has it: {}", format, error.message()));
  }
}

std::int64_t format_of(Session& session) {
  auto known = read_text(session,
                         "SELECT 'table' FROM duckdb_tables() WHERE database_name = current_database() "
                         "AND schema_name = 'tailrace' AND table_name = 'format' "
                         "UNION ALL SELECT 'view' FROM duckdb_views() WHERE database_name = current_database() "
                         "AND schema_name = 'tailrace' AND view_name = 'format'");
  bool has_own = !known.empty();
  if (has_own && known[0][0] != "table") throw damaged("tailrace.format is a view");
  auto lines = read_text(session, has_own ? "SELECT version::VARCHAR FROM tailrace.format"
                                          : "SELECT format_version::VARCHAR FROM tailrace.checkpoint");
  // Format 1 has no number before the first checkpoint.
  if (!has_own) return lines.empty() ? 1 : number("tailrace.checkpoint", lines[0][0]);
  if (lines.size() != 1) throw damaged(fmt::format("tailrace.format holds {} rows, not one", lines.size()));
  auto format = number("tailrace.format", lines[0][0]);
  // Format 1 had no such table.
  if (format < 2) throw damaged(fmt::format("tailrace.format says {}", format));
  return format;
}

/// Throws Error where it is a newer tailrace's, or damaged.
std::int64_t known_format(Session& session) {
  std::int64_t format = 0;
  try {
    format = format_of(session);
  } catch (const Error& error) {
    if (is_about_shape(error)) throw damaged(error.message());
    throw;
  }
  if (format <= newest) return format;
  throw Error(Retry::needs_operator,
              fmt::format("the target file has format {}, this tailrace knows {}", format, newest),
              "It was written by a newer tailrace; use that one");
}

}  // namespace

void refuse_newer(Session& session) {
  known_format(session);
}

bool is_up_to_date(Session& session) {
  return known_format(session) == newest;
}

void bring_up_to_date(Session& session, bool metadata_is_there) {
  std::int64_t format = metadata_is_there ? known_format(session) : 0;
  if (format == newest) return;
  session.begin();
  try {
    for (auto step = format; step < newest; ++step) take_step(session, format, steps[step]);
    session.query(fmt::format("DELETE FROM tailrace.format; INSERT INTO tailrace.format VALUES ({0}); "
                              "UPDATE tailrace.checkpoint SET format_version = {0}",
                              newest),
                  "bringing the metadata up to date");
    kill_point("duckdb.format.made");
    session.commit();
    kill_point("duckdb.format.committed");
  } catch (...) {
    session.rollback();
    throw;
  }
  if (metadata_is_there)
    log::info("target", "the file's metadata was brought from format {} to {}", format, newest);
}

}  // namespace tailrace::target::duckdb
