#include "target/duckdb/row_appender.h"

#include "base/pulse.h"
#include "pg/codec/wire.h"
#include "target/target.h"

namespace tailrace::target::duckdb {

RowAppender::RowAppender(Session& session, const char* catalog, const std::string& schema,
                         const std::string& table, std::vector<ColumnType> types)
    : table_(schema + "." + table), types_(std::move(types)), capacity_(duckdb_vector_size()) {
  if (duckdb_appender_create_ext(session.raw(), catalog, schema.c_str(), table.c_str(), &appender_) ==
      DuckDBError) {
    std::string message = duckdb_appender_error(appender_);
    duckdb_appender_destroy(&appender_);
    throw duckdb_error(message, fmt::format("preparing to write {}", table_));
  }
  std::vector<duckdb_logical_type> logical;
  logical.reserve(types_.size());
  writers_.reserve(types_.size());
  for (const auto& type : types_) {
    logical.push_back(make_logical_type(type));
    writers_.emplace_back(type);
  }
  chunk_ = duckdb_create_data_chunk(logical.data(), logical.size());
  for (auto& type : logical) duckdb_destroy_logical_type(&type);
  bind();
}

RowAppender::~RowAppender() {
  // An appender that is destroyed flushes what it still holds; after a failure that must not reach the table,
  // which the rollback of the caller's transaction sees to.
  Waiting waiting;
  duckdb_destroy_data_chunk(&chunk_);
  duckdb_appender_destroy(&appender_);
}

void RowAppender::bind() {
  for (std::size_t i = 0; i < writers_.size(); ++i) writers_[i].bind(duckdb_data_chunk_get_vector(chunk_, i));
}

void RowAppender::flush_chunk() {
  if (row_ == 0) return;
  Waiting waiting;
  duckdb_data_chunk_set_size(chunk_, row_);
  if (duckdb_append_data_chunk(appender_, chunk_) == DuckDBError) fail("writing rows to");
  pending_ += bytes_ + row_ * 16 * types_.size();
  row_ = 0;
  bytes_ = 0;
  // The chunk's values go before the appender makes yet another copy of them.
  duckdb_data_chunk_reset(chunk_);
  bind();
  if (pending_ >= max_pending_bytes) {
    if (duckdb_appender_flush(appender_) == DuckDBError) fail("flushing rows to");
    pending_ = 0;
  }
}

void RowAppender::finish() {
  flush_chunk();
  Waiting waiting;
  if (duckdb_appender_close(appender_) == DuckDBError) fail("flushing rows to");
}

void RowAppender::fail(std::string_view purpose) const {
  throw duckdb_error(duckdb_appender_error(appender_), fmt::format("{} {}", purpose, table_));
}

void RowAppender::reject(WriteResult result, std::size_t column, const Value& value) const {
  if (result == WriteResult::does_not_fit) {
    std::string shown;
    if (value.kind == ValueKind::text) shown = value.bytes;
    if (value.kind == ValueKind::binary &&
        !pg::codec::append_text_of_binary(types_[column].wire, value.bytes, shown))
      shown.clear();
    throw DoesNotFit{column, shown.substr(0, 60)};
  }
  // A column that was added while the stream brings values in binary: the next one will bring them as text.
  if (value.kind == ValueKind::binary && !types_[column].binary_readable)
    throw RestartFromCheckpoint(fmt::format("column {} of {} has no binary form here", column + 1, table_));
  throw Error(
      Retry::needs_operator,
      fmt::format("a value for column {} of {} ({}) is not what its type promises", column + 1, table_,
                  types_[column].shown()),
      "If the source database's encoding is SQL_ASCII, its text may not be UTF-8: leave that column out "
      "(tables: columns:), or convert it to bytea");
}

}  // namespace tailrace::target::duckdb
