#pragma once
// DuckDbCopyWriter: the rows of a COPY, text or binary, into one table, in a transaction of its own.

#include <functional>

#include "target/duckdb/mirror.h"
#include "target/duckdb/row_appender.h"
#include "target/target.h"

namespace tailrace::target::duckdb {

class DuckDbCopyWriter : public CopyWriter {
 public:
  /// `memory` is told of the rows, and borrowed. `must_widen` is told the DuckDB column whose value did not
  /// fit, before CopyAgain is thrown.
  DuckDbCopyWriter(Session session, RowsInMemory& memory, MirrorTable table, bool binary,
                   std::function<void(std::size_t)> must_widen);
  ~DuckDbCopyWriter() override;

  void row(std::string_view copy_row) override;
  void settle() override { appender_->flush_if_full(); }
  void finish() override;

 private:
  void binary_row(std::string_view bytes);
  void text_row(std::string_view bytes);
  [[noreturn]] void damaged() const;

  Session session_;
  RowsInMemory& memory_;
  std::size_t rows_ = 0;
  MirrorTable table_;
  bool binary_;
  bool no_columns_;
  std::function<void(std::size_t)> must_widen_;
  std::string scratch_;  ///< a field without its escapes; the appender copies it at once
  std::unique_ptr<RowAppender> appender_;
  bool open_ = false;
};

}  // namespace tailrace::target::duckdb
