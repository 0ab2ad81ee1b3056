#include <algorithm>

#include "base/log.h"
#include "schema/partition_tree.h"
#include "schema/structure_draft.h"

namespace tailrace::schema {
namespace {

using std::string_view;

/// What needs what, of all that users made. Objects from initdb are at every server, so they do not count.
class Dependencies {
 public:
  explicit Dependencies(pg::Connection& source) {
    auto rows = source.query(
        "select classid, objid, refclassid, refobjid, deptype from pg_catalog.pg_depend where objid >= 16384 "
        "and refobjid >= 16384 and deptype in ('n', 'a', 'i', 'e') "
        "and (classid, objid) <> (refclassid, refobjid)",
        "reading the dependencies");
    for (int row = 0; row < rows.rows(); ++row) {
      Object from{rows.oid(row, 0), rows.oid(row, 1)};
      Object to{rows.oid(row, 2), rows.oid(row, 3)};
      char kind = rows.get(row, 4)[0];
      if (kind == 'e') {
        extension_of_[from] = to;
        continue;
      }
      needs_[from].push_back(to);
      if (kind == 'i') inside_[from] = to;
      if (kind == 'a') belongs_to_.try_emplace(from, to);
      if (kind != 'n') parts_[to].push_back(from);
    }
    rows = source.query("select oid, relkind from pg_catalog.pg_class where oid >= 16384",
                        "reading the relations");
    for (int row = 0; row < rows.rows(); ++row) relation_kinds_[rows.oid(row, 0)] = rows.get(row, 1)[0];
    rows = source.query(
        "select oid from pg_catalog.pg_type where oid >= 16384 and typtype = 'b' and typcategory <> 'A'",
        "reading the base types");
    for (int row = 0; row < rows.rows(); ++row) base_types_.insert(rows.oid(row, 0));
  }

  char relation_kind(Object object) const {
    auto at = relation_kinds_.find(object.oid);
    return object.catalog == catalog_oid::relation && at != relation_kinds_.end() ? at->second : '\0';
  }
  bool is_table(Object object) const { return string_view("rpf").contains(relation_kind(object)); }
  bool is_view(Object object) const { return string_view("vm").contains(relation_kind(object)); }
  bool is_extension_member(Object object) const { return extension_of_.contains(object); }
  bool is_inside_another(Object object) const { return inside_.contains(object); }

  /// Types and operators that C code makes, and other rarities: this copies none of them.
  bool is_copied_kind(Object object) const {
    using namespace catalog_oid;
    if (object.catalog == type) return !base_types_.contains(object.oid);
    return object.catalog == proc || object.catalog == relation || object.catalog == collation ||
           object.catalog == extension || object.catalog == name_space;
  }

  /// The object of its own that this one is, or is a part of: a row type is its table, an array its element
  /// type.
  Object whole(Object object) const {
    // Catalogs are no tree that anybody guarantees: what leads back to itself is a whole of its own.
    std::set<Object> passed;
    while (passed.insert(object).second) {
      if (auto at = extension_of_.find(object); at != extension_of_.end()) return at->second;
      if (auto at = inside_.find(object); at != inside_.end()) {
        object = at->second;
        continue;
      }
      auto at = belongs_to_.find(object);
      bool is_part = string_view("iI").contains(relation_kind(object)) ||
                     (!is_copied_kind(object) && object.catalog != catalog_oid::language &&
                      at != belongs_to_.end() && at->second.catalog == catalog_oid::relation);
      if (!is_part || at == belongs_to_.end()) return object;
      object = at->second;
    }
    return object;
  }

  /// The wholes that `object` itself or a part of it needs. Parts that can be left out alone (triggers, rules,
  /// policies, a table's constraints and indexes) count only if `with_loose_parts`.
  std::set<Object> needs(Object object, bool with_loose_parts) const {
    std::set<Object> out;
    std::set<Object> seen;
    gather(object, with_loose_parts, seen, out);
    out.erase(object);
    return out;
  }

  /// The triggers, rules, policies and constraints of a relation.
  std::vector<Object> loose_parts(Object relation) const {
    std::vector<Object> out;
    if (auto at = parts_.find(relation); at != parts_.end()) {
      for (auto part : at->second) {
        if (is_part(part) && is_loose(part)) out.push_back(part);
      }
    }
    return out;
  }

 private:
  bool is_part(Object part) const {
    using namespace catalog_oid;
    if (part.catalog == relation) return string_view("iIc").contains(relation_kind(part));
    return part.catalog == type || part.catalog == attrdef || part.catalog == rewrite || is_loose(part) ||
           part.catalog == constraint;
  }
  bool is_loose(Object part) const {
    using namespace catalog_oid;
    if (part.catalog == rewrite) return !inside_.contains(part);
    if (part.catalog == constraint) {
      auto at = belongs_to_.find(part);
      return at != belongs_to_.end() && at->second.catalog == relation;
    }
    return part.catalog == trigger || part.catalog == policy || part.catalog == statistics ||
           part.catalog == relation;
  }

  void gather(Object object, bool with_loose_parts, std::set<Object>& seen, std::set<Object>& out) const {
    if (!seen.insert(object).second) return;
    if (auto at = needs_.find(object); at != needs_.end()) {
      for (auto need : at->second) {
        if (need.catalog != catalog_oid::name_space) out.insert(whole(need));
      }
    }
    if (auto at = parts_.find(object); at != parts_.end()) {
      for (auto part : at->second) {
        bool composite = part.catalog == catalog_oid::relation && relation_kind(part) == 'c';
        if (is_part(part) && (with_loose_parts || composite || !is_loose(part)))
          gather(part, with_loose_parts, seen, out);
      }
    }
  }

  std::map<Object, std::vector<Object>> needs_;
  std::map<Object, std::vector<Object>> parts_;
  std::map<Object, Object> inside_;
  std::map<Object, Object> belongs_to_;
  std::map<Object, Object> extension_of_;
  std::map<Oid, char> relation_kinds_;
  std::set<Oid> base_types_;
};

std::vector<Oid> with_partitions(pg::Connection& source, const std::vector<Oid>& tables) {
  auto rows = source.query(
      fmt::format("with recursive {} select distinct c.oid from tree t join pg_catalog.pg_class c on c.oid = "
                  "t.relid order by 1",
                  partition_tree(source.server_version(), "$1")),
      {as_array(tables)}, "reading the partitions of the selected tables");
  std::vector<Oid> out;
  for (int row = 0; row < rows.rows(); ++row) out.push_back(rows.oid(row, 0));
  return out;
}

/// What the tables' schemas hold besides tables. A sequence of a table that is not selected goes with its
/// table.
std::set<Object> schema_objects(pg::Connection& source, const std::vector<Oid>& tables) {
  auto rows = source.query(
      "with n as (select distinct relnamespace as oid from pg_catalog.pg_class "
      "where oid = any($1::pg_catalog.oid[])) "
      "select 1247, t.oid from pg_catalog.pg_type t join n on n.oid = t.typnamespace where t.typtype in ('e', "
      "'d', 'r') "
      "or (select relkind from pg_catalog.pg_class c where c.oid = t.typrelid) = 'c' "
      "union all select 1255, p.oid from pg_catalog.pg_proc p join n on n.oid = p.pronamespace "
      "union all select 3456, l.oid from pg_catalog.pg_collation l join n on n.oid = l.collnamespace "
      "union all select 1259, c.oid from pg_catalog.pg_class c join n on n.oid = c.relnamespace "
      "where c.relkind in ('v', 'm') or c.relkind = 'S' and not exists (select from pg_catalog.pg_depend d "
      "where d.classid = 1259 and d.objid = c.oid and d.refclassid = 1259 and d.deptype = 'a' "
      "and d.refobjid <> all($1::pg_catalog.oid[]))",
      {as_array(tables)}, "reading what the schemas hold");
  std::set<Object> out;
  for (int row = 0; row < rows.rows(); ++row) out.insert({rows.oid(row, 0), rows.oid(row, 1)});
  return out;
}

std::set<Object> closure(const Dependencies& dependencies, const std::set<Object>& seeds, const Scope& scope) {
  std::set<Object> out;
  std::vector<Object> open(seeds.begin(), seeds.end());
  while (!open.empty()) {
    Object object = open.back();
    open.pop_back();
    if (!out.insert(object).second) continue;
    // What is not copied itself asks for nothing.
    if (dependencies.is_table(object) && !scope.has_table(object.oid)) continue;
    for (auto need : dependencies.needs(object, /*with_loose_parts=*/true)) open.push_back(need);
  }
  return out;
}

/// Adds what needs, directly or not, one of the `marked`.
template <typename Skip>
void spread(const Dependencies& dependencies, const std::set<Object>& objects, std::set<Object>& marked,
            Skip skip) {
  std::map<Object, std::vector<Object>> needed_by;
  for (auto object : objects) {
    if (skip(object)) continue;
    for (auto need : dependencies.needs(object, /*with_loose_parts=*/false)) needed_by[need].push_back(object);
  }
  std::vector<Object> open(marked.begin(), marked.end());
  while (!open.empty()) {
    Object object = open.back();
    open.pop_back();
    for (auto other : needed_by[object]) {
      if (marked.insert(other).second) open.push_back(other);
    }
  }
}

void find_left_out(const Dependencies& dependencies, const std::set<Object>& objects,
                   const std::vector<Oid>& types, Scope& scope) {
  for (Oid type : types) {
    if (objects.contains({catalog_oid::type, type})) scope.left_out.insert({catalog_oid::type, type});
  }
  for (auto object : objects) {
    bool other_table =
        dependencies.is_table(object) && !scope.has_table(object.oid) && !scope.is_followed(object.oid);
    if (other_table || !dependencies.is_copied_kind(object)) scope.left_out.insert(object);
  }
  auto is_selected = [&](Object object) {
    return dependencies.is_table(object) && scope.has_table(object.oid);
  };
  // A table is copied in any case: without what its columns and checks need it is not the same table, and the
  // target will say so.
  spread(dependencies, objects, scope.left_out, is_selected);
  for (auto object : objects) {
    if (object.catalog != catalog_oid::relation || scope.left_out.contains(object)) continue;
    for (auto part : dependencies.loose_parts(object)) {
      auto needs = dependencies.needs(part, true);
      if (std::any_of(needs.begin(), needs.end(), [&](Object need) { return scope.left_out.contains(need); }))
        scope.on_left_out.insert(part.oid);
    }
  }
}

void sort_out(const Dependencies& dependencies, const std::set<Object>& objects, Scope& scope) {
  for (auto object : objects) {
    if (scope.left_out.contains(object)) continue;
    if (object.catalog == catalog_oid::extension) scope.extensions.push_back(object.oid);
    // A range type's constructors and an identity column's sequence come with what they are a part of.
    if (dependencies.is_extension_member(object) || dependencies.is_inside_another(object)) continue;
    if (object.catalog == catalog_oid::type) scope.types.push_back(object.oid);
    if (object.catalog == catalog_oid::proc) scope.functions.push_back(object.oid);
    if (object.catalog == catalog_oid::collation) scope.collations.push_back(object.oid);
    if (dependencies.is_view(object)) scope.views.push_back(object.oid);
    if (dependencies.relation_kind(object) == 'S') scope.sequences.push_back(object.oid);
  }
  std::set<Object> views;
  for (auto view : scope.views) views.insert({catalog_oid::relation, view});
  scope.late = views;
  spread(dependencies, objects, scope.late, [&](Object object) {
    return object.catalog != catalog_oid::type && object.catalog != catalog_oid::proc;
  });
}

std::string described(pg::Connection& source, const std::string& objects) {
  // A partition's copy of a foreign key goes with its original; a check is never left out, see find_left_out().
  auto rows = source.query(
      "select pg_catalog.string_agg(distinct d, ', ' order by d) from (select pg_catalog.pg_describe_object(c, "
      "o, 0) "
      "d from (" +
          objects +
          ") x(c, o) where not exists (select from pg_catalog.pg_constraint k where x.c = 2606 "
          "and k.oid = x.o and (k.contype in ('c', 'n') or k.conparentid <> 0))) y where d is not null",
      "naming what is left out");
  return rows.str(0, 0);
}

void warn_of_left_out(pg::Connection& source, const Dependencies& dependencies, const Scope& scope) {
  std::string needing;
  auto add = [&](Object object) {
    needing += fmt::format("{}({}::pg_catalog.oid, {}::pg_catalog.oid)", needing.empty() ? "values " : ", ",
                           object.catalog, object.oid);
  };
  for (auto object : scope.left_out) {
    if (!dependencies.is_table(object) && dependencies.is_copied_kind(object)) add(object);
  }
  for (const auto* relations : {&scope.tables, &scope.views}) {
    for (auto relation : *relations) {
      for (auto part : dependencies.loose_parts({catalog_oid::relation, relation})) {
        if (scope.on_left_out.contains(part.oid)) add(part);
      }
    }
  }
  if (!needing.empty()) {
    log::warn("schema", "left out of the target's structure, as they need something that is not copied: {}",
              described(source, needing));
  }
  // Each of the catalogs has its own columns for the namespace and says nothing of extensions.
  auto of = [&](std::string_view catalog, std::string_view name_space, std::string_view where) {
    return fmt::format(
        "select 'pg_catalog.{0}'::pg_catalog.regclass::pg_catalog.oid, o.oid from pg_catalog.{0} o "
        "where o.{1} in (select relnamespace from "
        "pg_catalog.pg_class where oid = any('{2}'::pg_catalog.oid[])) and {3} and not exists (select from "
        "pg_catalog.pg_depend d where d.classid = 'pg_catalog.{0}'::pg_catalog.regclass "
        "and d.objid = o.oid and d.deptype in ('e', "
        "'i'))",
        catalog, name_space, as_array(scope.tables), where);
  };
  std::string kinds =
      of("pg_operator", "oprnamespace", "true") + " union all " + of("pg_opclass", "opcnamespace", "true") +
      " union all " + of("pg_ts_config", "cfgnamespace", "true") + " union all " +
      of("pg_ts_dict", "dictnamespace", "true") + " union all " + of("pg_conversion", "connamespace", "true") +
      " union all " + of("pg_class", "relnamespace", "o.relkind = 'f'") + " union all " +
      of("pg_type", "typnamespace", "o.typtype = 'b' and o.typelem = 0") +
      " union all select 2605, c.oid from pg_catalog.pg_cast c where c.oid >= 16384 and not exists "
      "(select from pg_catalog.pg_depend d where d.classid = 2605 and d.objid = c.oid and "
      "d.deptype in ('e', 'i'))";
  if (auto names = described(source, kinds); !names.empty()) {
    log::warn("schema", "left out of the target's structure, as objects of their kind are not copied: {}",
              names);
  }
}

void warn_of_types(pg::Connection& source, const std::set<Object>& objects, const std::vector<Oid>& types) {
  std::string names;
  for (Oid type : types) {
    if (objects.contains({catalog_oid::type, type}))
      names += fmt::format("{}{}", names.empty() ? "" : ",", type);
  }
  if (names.empty()) return;
  auto rows = source.query(
      fmt::format("select pg_catalog.string_agg(oid::pg_catalog.regtype::pg_catalog.text, ', ' order by oid) "
                  "from pg_catalog.pg_type where oid in ({})",
                  names),
      "naming what is left out");
  log::warn("schema",
            "left out of the target's structure, but for tables, is what needs these types, for what somebody "
            "else has at the target under their names would run with the rights of the target's user: {}. {}",
            rows.get(0, 0), what_to_do_about_strangers);
}

}  // namespace

bool Scope::has_table(Oid oid) const {
  return std::binary_search(tables.begin(), tables.end(), oid);
}

bool Scope::is_followed(Oid oid) const {
  return std::binary_search(followed.begin(), followed.end(), oid);
}

Scope read_scope(pg::Connection& source, const std::vector<Oid>& tables, const std::vector<Oid>& followed,
                 const std::vector<Oid>& types) {
  Dependencies dependencies(source);
  Scope scope;
  scope.tables = with_partitions(source, tables);
  if (!followed.empty()) scope.followed = with_partitions(source, followed);
  std::erase_if(scope.tables,
                [&](Oid table) { return dependencies.is_extension_member({catalog_oid::relation, table}); });
  std::set<Object> seeds = schema_objects(source, scope.tables);
  std::erase_if(seeds, [&](Object object) {
    return dependencies.is_extension_member(object) || dependencies.is_inside_another(object);
  });
  for (auto table : scope.tables) seeds.insert({catalog_oid::relation, table});
  auto objects = closure(dependencies, seeds, scope);
  find_left_out(dependencies, objects, types, scope);
  sort_out(dependencies, objects, scope);
  warn_of_left_out(source, dependencies, scope);
  warn_of_types(source, objects, types);
  return scope;
}

std::string as_array(const std::vector<Oid>& oids) {
  std::string out = "{";
  for (Oid oid : oids) out += fmt::format("{}{}", out.size() > 1 ? "," : "", oid);
  return out + "}";
}

}  // namespace tailrace::schema
