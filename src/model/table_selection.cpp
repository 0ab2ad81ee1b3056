#include "model/table_selection.h"

#include <fmt/format.h>

#include <algorithm>

namespace tailrace {

std::expected<TablePattern::Part, std::string> TablePattern::parse_part(std::string_view text,
                                                                        std::size_t& at) {
  Part part;
  if (at < text.size() && text[at] == '"') {
    for (++at;; ++at) {
      if (at >= text.size()) return std::unexpected("a double quote is never closed");
      if (text[at] == '"') {
        if (at + 1 >= text.size() || text[at + 1] != '"') break;
        ++at;
      }
      part.push_back({text[at], true});
    }
    ++at;
  } else {
    for (; at < text.size() && text[at] != '.'; ++at) {
      if (text[at] == '"') return std::unexpected("quote a whole part or nothing of it");
      part.push_back({text[at], text[at] != '*' && text[at] != '?'});
    }
  }
  if (part.empty()) return std::unexpected("a part of the name is empty");
  return part;
}

std::expected<TablePattern, std::string> TablePattern::parse(std::string_view text) {
  TablePattern out;
  out.text_ = text;
  std::size_t at = 0;
  if (!text.empty() && text[0] == '!') {
    out.excludes_ = true;
    at = 1;
  }
  if (text.substr(at) == "*") {
    out.schema_ = out.table_ = {{'*', false}};
    return out;
  }
  auto schema = parse_part(text, at);
  if (!schema) return std::unexpected(fmt::format("'{}' is no table pattern: {}", text, schema.error()));
  if (at == text.size()) {
    std::string_view bare = text.substr(out.excludes_ ? 1 : 0);
    return std::unexpected(fmt::format("'{}' has no schema: write '{}public.{}' (or '{}*.{}' for any schema)",
                                       text, out.excludes_ ? "!" : "", bare, out.excludes_ ? "!" : "", bare));
  }
  if (text[at] != '.')
    return std::unexpected(fmt::format("'{}' is no table pattern: a dot must follow a quoted schema", text));
  auto table = parse_part(text, ++at);
  if (!table) return std::unexpected(fmt::format("'{}' is no table pattern: {}", text, table.error()));
  if (at != text.size())
    return std::unexpected(fmt::format("'{}' has more than two parts: double-quote names with a dot", text));
  out.schema_ = std::move(*schema);
  out.table_ = std::move(*table);
  return out;
}

bool TablePattern::matches_part(const Part& part, std::string_view name) {
  // Greedy with one point of return, so that no pattern takes exponential time.
  std::size_t p = 0, n = 0, star = part.size(), resume = 0;
  auto any = [&](std::size_t i, char byte) { return !part[i].literal && part[i].byte == byte; };
  while (n < name.size()) {
    if (p < part.size() && any(p, '*')) {
      star = p++;
      resume = n;
    } else if (p < part.size() && (any(p, '?') || (part[p].literal && part[p].byte == name[n]))) {
      // '?' is one character, not one byte: take a UTF-8 character's continuation bytes along.
      bool whole = any(p, '?');
      ++p;
      ++n;
      while (whole && n < name.size() && (static_cast<unsigned char>(name[n]) & 0xC0) == 0x80) ++n;
    } else if (star < part.size()) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < part.size() && any(p, '*')) ++p;
  return p == part.size();
}

bool TablePattern::is_star(const Part& part) {
  return part.size() == 1 && !part[0].literal && part[0].byte == '*';
}

bool TablePattern::matches(std::string_view schema, std::string_view table) const {
  return matches_part(schema_, schema) && matches_part(table_, table);
}

bool TablePattern::matches_everything() const {
  return is_star(schema_) && is_star(table_);
}

bool TablePattern::exact() const {
  auto literal = [](const Symbol& s) { return s.literal; };
  return std::ranges::all_of(schema_, literal) && std::ranges::all_of(table_, literal);
}

const TableRule* TableSelection::decide(std::string_view schema, std::string_view table) const {
  for (auto rule = rules.rbegin(); rule != rules.rend(); ++rule)
    if (rule->pattern.matches(schema, table)) return &*rule;
  return nullptr;
}

bool TableSelection::selects(std::string_view schema, std::string_view table) const {
  if (is_system_schema(schema)) return false;
  if (const TableRule* rule = decide(schema, table)) return !rule->pattern.excludes();
  // A list that only excludes means "everything but these".
  return std::ranges::all_of(rules, [](const TableRule& rule) { return rule.pattern.excludes(); });
}

bool TableSelection::everything() const {
  // What comes before the last `*.*` has no say.
  auto from = std::ranges::find_if(rules.rbegin(), rules.rend(),
                                   [](const TableRule& rule) { return rule.pattern.matches_everything(); });
  bool plain = std::all_of(rules.rbegin(), from, [](const TableRule& rule) {
    return !rule.pattern.excludes() && rule.columns.empty() && rule.where.empty();
  });
  if (from == rules.rend()) return rules.empty();
  return plain && !from->pattern.excludes() && from->columns.empty() && from->where.empty();
}

bool is_system_schema(std::string_view schema) {
  return schema == "pg_catalog" || schema == "information_schema" || schema.starts_with("pg_toast") ||
         schema.starts_with("pg_temp");
}

}  // namespace tailrace
