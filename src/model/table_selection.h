#pragma once
// TableSelection: which tables of a source are replicated, by patterns such as `public.*` and
// `!public.audit_*`. Pure; names are compared as the catalogs hold them, without case folding.

#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace tailrace {

/// `schema.table`, either part with `*` (any run) and `?` (any one character). A leading `!` excludes. Double
/// quotes take a part literally: "my.schema"."odd*name". A lone `*` is `*.*`.
class TablePattern {
 public:
  /// The error is a sentence without a location.
  static std::expected<TablePattern, std::string> parse(std::string_view text);

  bool matches(std::string_view schema, std::string_view table) const;
  bool excludes() const { return excludes_; }
  bool matches_everything() const;
  /// No wildcard: it names one table.
  bool exact() const;
  const std::string& text() const { return text_; }

 private:
  /// One character of a part; literal ones are compared, the others are wildcards.
  struct Symbol {
    char byte = 0;
    bool literal = true;
  };
  using Part = std::vector<Symbol>;

  static std::expected<Part, std::string> parse_part(std::string_view text, std::size_t& at);
  static bool matches_part(const Part& part, std::string_view name);
  static bool is_star(const Part& part);

  std::string text_;
  Part schema_;
  Part table_;
  bool excludes_ = false;
};

struct TableRule {
  TablePattern pattern;
  std::vector<std::string> columns;  ///< the only columns to publish; empty: all
  std::string where;                 ///< a row filter in SQL; empty: every row
};

/// Rules in order; the last one that matches a table decides, its options included. No rules: every table.
struct TableSelection {
  std::vector<TableRule> rules;

  /// The deciding rule, or null if none matches. A null with empty `rules` means selected.
  const TableRule* decide(std::string_view schema, std::string_view table) const;
  bool selects(std::string_view schema, std::string_view table) const;
  /// True if every user table is selected whole, future ones included.
  bool everything() const;
};

/// pg_catalog, information_schema, TOAST and temporary schemas: never selected, whatever the rules say.
bool is_system_schema(std::string_view schema);

}  // namespace tailrace
