// Several publications, read as one. Pure, but for asking which partition belongs where.

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "source/publication.h"

namespace tailrace::source {
namespace {

void check_columns(const PublishedTable& one, const PublishedTable& other) {
  auto sorted = [](std::vector<std::string> columns) {
    std::ranges::sort(columns);
    return columns;
  };
  if (sorted(one.columns) == sorted(other.columns)) return;
  throw Error(
      Retry::needs_operator,
      fmt::format(
          "the publications name different columns of {}.{}, which PostgreSQL refuses to send together: "
          "{}; and {}",
          one.schema, one.name, fmt::join(one.columns, ", "), fmt::join(other.columns, ", ")),
      fmt::format("Give both the same columns: ALTER PUBLICATION ... SET TABLE {}.{} (...);", one.schema,
                  one.name));
}

/// The catalog rows of a membership, sorted.
std::vector<std::string> rows_of(const std::string& membership) {
  std::vector<std::string> rows;
  for (std::size_t at = 0; at < membership.size();) {
    auto end = std::min(membership.find(' ', at), membership.size());
    if (end > at) rows.push_back(membership.substr(at, end - at));
    at = end + 1;
  }
  std::ranges::sort(rows);
  return rows;
}

/// A row of a membership, and what it says of the publication's options.
std::pair<std::string, std::string> split_options(const std::string& row) {
  auto at = row.find_last_of("on");
  if (at == std::string::npos || at == 0) return {row, ""};
  return {row.substr(0, at - 1), row.substr(at)};
}

void add(PublishedTable& to, const PublishedTable& table) {
  check_columns(to, table);
  to.column_list = to.column_list && table.column_list;
  if (to.row_filter.empty() || table.row_filter.empty())
    to.row_filter.clear();
  else if (to.row_filter != table.row_filter)
    to.row_filter = fmt::format("({}) OR ({})", to.row_filter, table.row_filter);
  to.membership += " " + table.membership;
  to.insert |= table.insert;
  to.update |= table.update;
  to.remove |= table.remove;
  to.truncate |= table.truncate;
}

}  // namespace

Since compare_membership(const std::string& recorded, const std::string& now) {
  auto before = rows_of(recorded);
  auto after = rows_of(now);
  if (before.size() != after.size()) return Since::otherwise;
  auto out = Since::same;
  for (std::size_t i = 0; i < before.size(); ++i) {
    auto [was, was_options] = split_options(before[i]);
    auto [is, is_options] = split_options(after[i]);
    // The books of format 1 and 2 do not have what stands after a point, and earlier ones no options.
    if (was != is && !is.starts_with(was + ".")) return Since::otherwise;
    if (!was_options.empty() && was_options != is_options && is_options != "n") out = Since::unsure;
  }
  return out;
}

PublicationInfo merge_publications(const std::vector<PublicationInfo>& publications,
                                   const std::map<Oid, Oid>& parents) {
  PublicationInfo out;
  std::map<std::pair<std::string, std::string>, PublishedTable> tables;
  std::set<Oid> published;
  out.managed = true;
  for (const auto& publication : publications) {
    out.name += (out.name.empty() ? "" : ", ") + publication.name;
    out.all_tables |= publication.all_tables;
    out.via_partition_root |= publication.via_partition_root;
    out.generated_columns |= publication.generated_columns;
    out.managed = out.managed && publication.managed;
    for (const auto& table : publication.tables) {
      published.insert(table.oid);
      auto [there, fresh] = tables.try_emplace({table.schema, table.name}, table);
      if (!fresh) add(there->second, table);
    }
  }
  for (auto& [name, table] : tables) {
    bool in_root = false;
    for (auto up = parents.find(table.oid); up != parents.end() && !in_root; up = parents.find(up->second))
      in_root = published.contains(up->second);
    if (!in_root) out.tables.push_back(std::move(table));
  }
  return out;
}

std::optional<PublicationInfo> read_publications(pg::Connection& connection,
                                                 const std::vector<std::string>& names, Filters filters) {
  std::vector<PublicationInfo> found;
  for (const auto& name : names) {
    auto one = read_publication(connection, name, filters);
    if (!one) return std::nullopt;
    found.push_back(std::move(*one));
  }
  if (found.size() == 1) return std::move(found.front());
  std::map<Oid, Oid> parents;
  for (const auto& table : read_catalog_tables(connection)) {
    if (table.parent != 0) parents.emplace(table.oid, table.parent);
  }
  return merge_publications(found, parents);
}

}  // namespace tailrace::source
