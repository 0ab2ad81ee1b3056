// Which tables the patterns select, and how partitions stand for each other. Pure.

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "base/sql_text.h"
#include "source/hiding_places.h"
#include "source/publication.h"

namespace tailrace::source {
namespace {

class Selector {
 public:
  Selector(const std::vector<CatalogTable>& catalog, const PublicationSpec& spec)
      : catalog_(catalog), spec_(spec) {
    for (const CatalogTable& table : catalog) {
      by_oid_[table.oid] = &table;
      if (table.parent != 0) children_[table.parent].push_back(&table);
    }
  }

  std::vector<SelectedTable> run() {
    std::vector<SelectedTable> out;
    for (const CatalogTable& table : catalog_) {
      if (!replicable(table)) continue;
      if (const CatalogTable* root = covering(table))
        refuse_excluded_partition(table, *root);
      else if (stands_for_itself(table))
        out.push_back(with_options(table));
    }
    check_exact_patterns();
    return out;
  }

 private:
  static bool replicable(const CatalogTable& table) { return table.kind != 'f' && table.persistence == "p"; }

  bool selects(const CatalogTable& table) const { return spec_.tables.selects(table.schema, table.name); }

  bool excluded(const CatalogTable& table) const {
    const TableRule* rule = spec_.tables.decide(table.schema, table.name);
    return rule != nullptr && rule->pattern.excludes();
  }

  /// Published as a whole, partitions and future ones included.
  bool published_as_root(const CatalogTable& table) const {
    if (!table.partitioned || !selects(table)) return false;
    if (spec_.via_partition_root) return true;
    // Without the root's name, PostgreSQL takes no options on a root, and it takes all leaves or none.
    const TableRule* rule = spec_.tables.decide(table.schema, table.name);
    bool plain = rule == nullptr || (rule->columns.empty() && rule->where.empty());
    return plain && !any_leaf_differs(table);
  }

  bool any_leaf_differs(const CatalogTable& table) const {
    auto found = children_.find(table.oid);
    if (found == children_.end()) return false;
    return std::ranges::any_of(found->second, [&](const CatalogTable* child) {
      const TableRule* rule = spec_.tables.decide(child->schema, child->name);
      bool options = rule != nullptr && (!rule->columns.empty() || !rule->where.empty());
      return excluded(*child) || options || any_leaf_differs(*child);
    });
  }

  /// The ancestor whose publication carries this table's changes, or null.
  const CatalogTable* covering(const CatalogTable& table) const {
    for (auto up = by_oid_.find(table.parent); up != by_oid_.end(); up = by_oid_.find(up->second->parent))
      if (published_as_root(*up->second)) return up->second;
    return nullptr;
  }

  bool stands_for_itself(const CatalogTable& table) const {
    if (table.partitioned) return published_as_root(table);
    return selects(table) || (!excluded(table) && ancestor_selected(table));
  }

  bool ancestor_selected(const CatalogTable& table) const {
    for (auto up = by_oid_.find(table.parent); up != by_oid_.end(); up = by_oid_.find(up->second->parent))
      if (selects(*up->second)) return true;
    return false;
  }

  void refuse_excluded_partition(const CatalogTable& table, const CatalogTable& root) const {
    if (!excluded(table)) return;
    throw Error(
        Retry::needs_operator,
        fmt::format("{} is excluded, but it is a partition of {}, which is published under its root's name",
                    table.qualified(), root.qualified()),
        "Drop the exclusion, exclude the root too, or set publication.via_partition_root: off");
  }

  /// The deciding rule's options; a leaf that only its root selects takes the root's.
  SelectedTable with_options(const CatalogTable& table) const {
    const CatalogTable* at = &table;
    while (!selects(*at) && by_oid_.contains(at->parent)) at = by_oid_.at(at->parent);
    const TableRule* rule = spec_.tables.decide(at->schema, at->name);
    if (rule == nullptr) return {table, {}, {}};
    return {table, rule->columns, rule->where};
  }

  /// A name without wildcards that names nothing is a slip, not a wish.
  void check_exact_patterns() const {
    for (const TableRule& rule : spec_.tables.rules) {
      if (rule.pattern.excludes() || !rule.pattern.exact()) continue;
      auto found = std::ranges::find_if(
          catalog_, [&](const CatalogTable& table) { return rule.pattern.matches(table.schema, table.name); });
      if (found != catalog_.end() && replicable(*found)) continue;
      bool there = found != catalog_.end();
      std::string_view why = !there               ? "there is no such table on the source"
                             : found->kind == 'f' ? "it is a foreign table, which PostgreSQL does not replicate"
                                                  : "it is unlogged, so PostgreSQL writes no WAL of it";
      throw Error(Retry::needs_operator, fmt::format("cannot replicate {}: {}", rule.pattern.text(), why),
                  there && found->kind != 'f'
                      ? fmt::format("ALTER TABLE {} SET LOGGED;", quote_qualified(found->schema, found->name))
                      : "Correct `tables` in the configuration (or --table); names are case-sensitive");
    }
  }

  const std::vector<CatalogTable>& catalog_;
  const PublicationSpec& spec_;
  std::unordered_map<Oid, const CatalogTable*> by_oid_;
  std::unordered_map<Oid, std::vector<const CatalogTable*>> children_;
};

}  // namespace

std::vector<CatalogTable> read_catalog_tables(pg::Connection& connection) {
  auto rows = connection.query(
      "select c.oid, n.nspname, c.relname, c.relkind, c.relpersistence,"
      " coalesce((select i.inhparent from pg_catalog.pg_inherits i "
      "where i.inhrelid = c.oid and c.relispartition), 0)"
      " from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
      " where c.relkind in ('r', 'p', 'f') and c.relpersistence <> 't'"
      " and n.nspname not in ('pg_catalog', 'information_schema', 'tailrace') and n.nspname !~ "
      "'^pg_(toast|temp)'"
      " order by n.nspname, c.relname",
      "listing the source's tables");
  auto hidden = hiding_places(connection);
  std::vector<CatalogTable> out;
  out.reserve(static_cast<std::size_t>(rows.rows()));
  for (int i = 0; i < rows.rows(); ++i) {
    if (hidden.contains(rows.str(i, 1))) continue;
    char kind = rows.get(i, 3).front();
    out.push_back(
        {rows.oid(i, 0), rows.str(i, 1), rows.str(i, 2), kind == 'p', rows.oid(i, 5), rows.str(i, 4), kind});
  }
  return out;
}

std::vector<SelectedTable> select_tables(const std::vector<CatalogTable>& catalog,
                                         const PublicationSpec& spec) {
  return Selector(catalog, spec).run();
}

std::vector<std::string> idle_patterns(const std::vector<CatalogTable>& catalog, const PublicationSpec& spec) {
  std::vector<std::string> out;
  for (const TableRule& rule : spec.tables.rules) {
    bool idle = std::ranges::none_of(
        catalog, [&](const CatalogTable& table) { return rule.pattern.matches(table.schema, table.name); });
    if (idle) out.push_back(rule.pattern.text());
  }
  return out;
}

}  // namespace tailrace::source
