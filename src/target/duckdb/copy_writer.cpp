#include "target/duckdb/copy_writer.h"

#include <cstring>

#include "base/byte_reader.h"
#include "base/kill_point.h"
#include "pg/copy_text.h"
#include "target/duckdb/table_shape.h"

namespace tailrace::target::duckdb {

DuckDbCopyWriter::DuckDbCopyWriter(Session session, RowsInMemory& memory, MirrorTable table, bool binary,
                                   std::function<void(std::size_t)> must_widen)
    : session_(std::move(session)),
      memory_(memory),
      table_(std::move(table)),
      binary_(binary),
      no_columns_(table_.columns.size() == 1 && table_.columns[0].source.attnum == 0),
      must_widen_(std::move(must_widen)) {
  session_.begin();
  open_ = true;
  appender_ = std::make_unique<RowAppender>(session_, nullptr, table_.target_schema, table_.target_name,
                                            table_.types());
}

DuckDbCopyWriter::~DuckDbCopyWriter() {
  appender_.reset();
  if (open_) session_.rollback();
}

void DuckDbCopyWriter::row(std::string_view copy_row) {
  try {
    if (no_columns_) {
      appender_->write(0, Value{});
    } else if (binary_) {
      binary_row(copy_row);
    } else {
      text_row(copy_row);
    }
    appender_->end_row();
    ++rows_;
  } catch (const DoesNotFit& unfit) {
    if (const auto& column = table_.columns[unfit.column]; column.misfit_is_error)
      throw misfit(table_, column, unfit.value);
    must_widen_(unfit.column);
    throw CopyAgain(fmt::format("column {} of {}.{} becomes VARCHAR: a value does not fit {}",
                                table_.columns[unfit.column].source.name, table_.schema, table_.name,
                                table_.columns[unfit.column].type.shown()));
  }
}

void DuckDbCopyWriter::binary_row(std::string_view bytes) {
  ByteReader in(bytes);
  if (in.u16() != table_.columns.size()) damaged();
  for (std::size_t i = 0; i < table_.columns.size(); ++i) {
    std::int32_t length = in.i32();
    if (length < -1) damaged();
    if (length == -1) {
      appender_->write(i, Value{});
    } else {
      appender_->write(i, Value{ValueKind::binary, in.bytes(static_cast<std::size_t>(length))});
    }
  }
  if (!in.at_end()) damaged();
}

void DuckDbCopyWriter::text_row(std::string_view bytes) {
  const char* at = bytes.data();
  const char* end = at + bytes.size();
  for (std::size_t i = 0; i < table_.columns.size(); ++i) {
    if (at > end) damaged();
    const auto* tab = static_cast<const char*>(
        at == end ? nullptr : std::memchr(at, '\t', static_cast<std::size_t>(end - at)));
    const char* stop = tab != nullptr ? tab : end;
    std::string_view field(at, static_cast<std::size_t>(stop - at));
    at = stop + 1;
    if (field == "\\N") {
      appender_->write(i, Value{});
    } else {
      appender_->write(i, Value{ValueKind::text, pg::unescape_copy_text(field, scratch_)});
    }
  }
  if (at != end + 1) damaged();
}

void DuckDbCopyWriter::finish() {
  appender_->finish();
  appender_.reset();
  memory_.filled(table_.oid, table_.columns.size(), rows_);
  session_.commit();
  open_ = false;
  kill_point("duckdb.copy_part.committed");
}

void DuckDbCopyWriter::damaged() const {
  throw Error(
      Retry::fatal,
      fmt::format("a row of the copy of {}.{} is not laid out as announced", table_.schema, table_.name),
      "The table's columns changed while it was copied, or the connection is damaged; it is copied anew on "
      "the next start");
}

}  // namespace tailrace::target::duckdb
