#pragma once
// RowEncoder: tuples of the stream as rows of a COPY, byte for byte where the stream is binary (PostgreSQL
// documentation: "COPY", File Formats).

#include <span>
#include <string>
#include <vector>

#include "model/tuple.h"
#include "pg/copy_in.h"

namespace tailrace::target::postgres {

/// A value as COPY's text format spells it.
void append_copy_text(std::string& out, std::string_view text);

/// Gathers rows and writes them in large pieces. Borrows the COPY. All values of a row are in its one format.
class RowEncoder {
 public:
  RowEncoder(pg::CopyIn& copy, bool binary);

  void row(std::span<const Value> values);
  void finish();

 private:
  void binary_row(std::span<const Value> values);
  void text_row(std::span<const Value> values);

  pg::CopyIn& copy_;
  bool binary_;
  std::string buffer_;
};

}  // namespace tailrace::target::postgres
