#pragma once
// RowEncoder: tuples of the stream as rows of a COPY, byte for byte where the stream is binary (PostgreSQL
// documentation: "COPY", File Formats).

#include <span>
#include <string>
#include <vector>

#include "model/tuple.h"
#include "pg/copy_in.h"

namespace tailrace::target::postgres {

/// True if COPY must read binary values. Throws Error(fatal) when a row mixes both formats, which no stream
/// does whose tables all have binary types.
bool is_binary(std::span<const Value> values);

/// Gathers rows and writes them in large pieces. Borrows the COPY.
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
