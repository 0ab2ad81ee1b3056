#pragma once
// TypeRules: what columns of the source become in a DuckDB file, where the user says so, and what is done with
// a value that such a column cannot hold. Pure.

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/table_selection.h"

namespace tailrace {

struct ChosenType {
  enum class Kind { decimal, floating, enumeration, text };
  enum class Misfit { text, error };

  Kind kind = Kind::text;
  int precision = 0;  ///< of a decimal
  int scale = 0;
  Misfit misfit = Misfit::text;

  /// "DECIMAL(20,6)", "DOUBLE", "ENUM", "VARCHAR"; the error is a sentence without a location.
  static std::expected<ChosenType, std::string> parse(std::string_view text);
  /// The same again.
  std::string text() const;
};

/// `schema.table.column`, each part as in a TablePattern.
class ColumnPattern {
 public:
  static std::expected<ColumnPattern, std::string> parse(std::string_view text);
  bool matches(std::string_view schema, std::string_view table, std::string_view column) const;
  const std::string& text() const { return text_; }

 private:
  ColumnPattern(std::string text, TablePattern table, TablePattern column)
      : text_(std::move(text)), table_(std::move(table)), column_(std::move(column)) {}

  std::string text_;
  TablePattern table_;
  TablePattern column_;  ///< of any schema
};

/// One of both is there.
struct TypeRule {
  std::optional<ColumnPattern> column;
  std::string type;  ///< of the source, as pg_type names it, or enum: columns that would be VARCHAR
  ChosenType becomes;
};

using TypeRules = std::vector<TypeRule>;

/// Some column may become what takes knowing its enum's labels.
bool wants_labels(const TypeRules& rules);
/// The same rules have the same text.
std::string to_text(const TypeRules& rules);

}  // namespace tailrace
