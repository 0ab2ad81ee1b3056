#pragma once
// Arrays in both forms (PostgreSQL documentation: "Arrays", "Array Input and Output Syntax"). The delimiter is
// a comma; only box has another one, and extension types may.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "pg/codec/wire.h"

namespace tailrace::pg::codec {

constexpr int max_array_dimensions = 6;  // MAXDIM

/// Walks the text form from left to right. The text is borrowed.
class ArrayTextReader {
 public:
  enum class Event { open, close, element, null, end, malformed };

  explicit ArrayTextReader(std::string_view text) : text_(text) {}

  /// "[0:1]={...}": the text says its bounds, so some are not 1.
  bool has_bounds() const { return text_.starts_with('['); }
  /// After end or malformed, call no more.
  Event next();
  /// Of the element that next() just reported, unquoted; valid until the next call.
  std::string_view element() const { return element_; }

 private:
  Event fail() { return Event::malformed; }
  Event read_quoted();
  Event read_bare();

  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
  bool after_value_ = false;  // a value or a closed list stands to the left: now a comma or a brace
  bool after_comma_ = false;
  bool done_ = false;
  std::string_view element_;
  std::string unescaped_;
};

/// The header of the binary form. Elements follow in row-major order, each an int32 length (-1: NULL) and
/// bytes.
struct ArrayHeader {
  int dimensions = 0;  ///< 0: the empty array
  std::array<std::uint32_t, max_array_dimensions> sizes{};
  std::array<std::int32_t, max_array_dimensions> lower_bounds{};
  std::size_t elements = 0;
  std::string_view body;

  bool usual_bounds() const;
};

/// Empty when malformed. The number of elements is bounded by the bytes that hold them.
std::optional<ArrayHeader> read_array_header(std::string_view bytes);

/// Takes one element from the front of `body`: nullopt inside means NULL. False when malformed.
[[nodiscard]] bool take_array_element(std::string_view& body, std::optional<std::string_view>& element);

/// Appends an element of the text form with quotes and backslashes where array_out puts them.
void append_array_element(std::string& out, std::string_view element);

/// The text of a whole binary array; false when malformed. `element` has a binary form.
[[nodiscard]] bool append_array(std::string& out, Wire element, std::string_view bytes);

}  // namespace tailrace::pg::codec
