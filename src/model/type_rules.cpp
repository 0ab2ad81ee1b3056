#include "model/type_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>

namespace tailrace {
namespace {

constexpr int most_digits = 38;

/// The place of the last dot that is in no quotes.
std::size_t last_dot(std::string_view text) {
  std::size_t found = std::string_view::npos;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') quoted = !quoted;
    if (text[i] == '.' && !quoted) found = i;
  }
  return found;
}

std::optional<int> number(std::string_view& text) {
  int value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

}  // namespace

std::expected<ChosenType, std::string> ChosenType::parse(std::string_view text) {
  std::string upper;
  for (char c : text) {
    if (c != ' ') upper += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  ChosenType out;
  if (upper == "VARCHAR" || upper == "TEXT") return out;
  if (upper == "DOUBLE") {
    out.kind = Kind::floating;
    return out;
  }
  if (upper == "ENUM") {
    out.kind = Kind::enumeration;
    return out;
  }
  std::string_view rest = upper;
  constexpr std::string_view decimal = "DECIMAL(";
  if (rest.starts_with(decimal)) {
    rest.remove_prefix(decimal.size());
    auto precision = number(rest);
    bool comma = rest.starts_with(',');
    if (comma) rest.remove_prefix(1);
    auto scale = comma ? number(rest) : std::nullopt;
    if (precision && scale && rest == ")" && *precision >= 1 && *precision <= most_digits && *scale >= 0 &&
        *scale <= *precision) {
      out.kind = Kind::decimal;
      out.precision = *precision;
      out.scale = *scale;
      return out;
    }
  }
  return std::unexpected(
      "must be DECIMAL(p,s) with at most 38 digits, s of them after the point, DOUBLE, ENUM or VARCHAR");
}

std::string ChosenType::text() const {
  switch (kind) {
    case Kind::decimal: return fmt::format("DECIMAL({},{})", precision, scale);
    case Kind::floating: return "DOUBLE";
    case Kind::enumeration: return "ENUM";
    case Kind::text: break;
  }
  return "VARCHAR";
}

std::expected<ColumnPattern, std::string> ColumnPattern::parse(std::string_view text) {
  auto dot = last_dot(text);
  if (text.starts_with('!') || dot == std::string_view::npos ||
      last_dot(text.substr(0, dot)) == std::string_view::npos)
    return std::unexpected(
        fmt::format("'{}' is no column: write SCHEMA.TABLE.COLUMN, such as public.orders.price or "
                    "public.*.price",
                    text));
  auto table = TablePattern::parse(text.substr(0, dot));
  if (!table) return std::unexpected(table.error());
  auto column = TablePattern::parse("*." + std::string(text.substr(dot + 1)));
  if (!column) return std::unexpected(column.error());
  return ColumnPattern(std::string(text), std::move(*table), std::move(*column));
}

bool wants_labels(const TypeRules& rules) {
  return std::ranges::any_of(
      rules, [](const auto& rule) { return rule.becomes.kind == ChosenType::Kind::enumeration; });
}

std::string to_text(const TypeRules& rules) {
  std::string out;
  for (const auto& rule : rules) {
    out += fmt::format("{} {}: {}{}\n", rule.column ? "column" : "type",
                       rule.column ? rule.column->text() : rule.type, rule.becomes.text(),
                       rule.becomes.misfit == ChosenType::Misfit::error ? ", or an error" : "");
  }
  return out;
}

bool ColumnPattern::matches(std::string_view schema, std::string_view table, std::string_view column) const {
  return table_.matches(schema, table) && column_.matches("", column);
}

}  // namespace tailrace
