#pragma once
// TupleData: one row version as pgoutput sends it (PostgreSQL documentation: "Logical Replication Message
// Formats", TupleData), borrowed from the arena of the batch that carries it. A decoder validated its layout
// once, so walking it needs no checks.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/byte_reader.h"

namespace tailrace {

enum class ValueKind : char {
  null = 'n',
  unchanged = 'u',  ///< unchanged TOAST: the value was not sent; never the same as NULL
  text = 't',
  binary = 'b',
};

/// Borrowed bytes of one column. `bytes` is empty for null and unchanged.
struct Value {
  ValueKind kind = ValueKind::null;
  std::string_view bytes;
};

struct TupleData {
  const std::byte* data = nullptr;  ///< first column's kind byte
  std::uint32_t size = 0;           ///< bytes from `data` on
  std::uint16_t column_count = 0;
  bool has_unchanged = false;  ///< at least one column is ValueKind::unchanged

  bool present() const { return data != nullptr; }
};

/// Walks the columns of a validated tuple in order.
class TupleWalker {
 public:
  explicit TupleWalker(const TupleData& tuple) : at_(tuple.data), left_(tuple.column_count) {}

  bool done() const { return left_ == 0; }
  const std::byte* position() const { return at_; }

  Value next() {
    --left_;
    auto kind = static_cast<ValueKind>(*at_++);
    if (kind == ValueKind::null || kind == ValueKind::unchanged) return {kind, {}};
    auto length = load_big_endian<std::uint32_t>(at_);
    Value out{kind, {reinterpret_cast<const char*>(at_ + 4), length}};
    at_ += 4 + length;
    return out;
  }

 private:
  const std::byte* at_;
  std::uint16_t left_;
};

}  // namespace tailrace
