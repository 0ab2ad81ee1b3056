#pragma once
// TupleStore: makes rows by hand, for tests, fuzz seeds and simulated sources.

#include <compare>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "model/tuple.h"

namespace tailrace {

/// One column of a row; by default NULL.
struct Cell {
  ValueKind kind = ValueKind::null;
  std::string bytes;

  auto operator<=>(const Cell&) const = default;
};
using Cells = std::vector<Cell>;

inline Cell text_cell(std::string bytes) {
  return {ValueKind::text, std::move(bytes)};
}
inline Cell binary_cell(std::string bytes) {
  return {ValueKind::binary, std::move(bytes)};
}
inline Cell null_cell() {
  return {};
}
inline Cell unchanged_cell() {
  return {ValueKind::unchanged, {}};
}

/// The columns of a row as the stream carries them, behind their count.
inline void append_columns(const Cells& cells, std::string& out) {
  for (const auto& cell : cells) {
    out.push_back(static_cast<char>(cell.kind));
    if (cell.kind != ValueKind::text && cell.kind != ValueKind::binary) continue;
    std::byte length[4];
    store_big_endian(length, static_cast<std::uint32_t>(cell.bytes.size()));
    out.append(reinterpret_cast<const char*>(length), sizeof(length));
    out.append(cell.bytes);
  }
}

inline Cells cells_of(const TupleData& tuple) {
  Cells out;
  for (TupleWalker columns(tuple); !columns.done();) {
    Value value = columns.next();
    out.push_back({value.kind, std::string(value.bytes)});
  }
  return out;
}

/// Owns the bytes of the tuples that it makes.
class TupleStore {
 public:
  TupleData make(const Cells& cells) {
    std::string& bytes = bytes_.emplace_back();
    append_columns(cells, bytes);
    TupleData out{reinterpret_cast<const std::byte*>(bytes.data()), static_cast<std::uint32_t>(bytes.size()),
                  static_cast<std::uint16_t>(cells.size()), false};
    for (const auto& cell : cells) out.has_unchanged |= cell.kind == ValueKind::unchanged;
    return out;
  }

 private:
  std::deque<std::string> bytes_;
};

}  // namespace tailrace
