#include <algorithm>
#include <sstream>

#include "base/sql_text.h"
#include "schema/structure_draft.h"

namespace tailrace::schema {

/// What is NOT VALID is made after the data, and holds no row back that is there.
std::string type_definition() {
  return "case t.typtype when 'e' then (select pg_catalog.string_agg(pg_catalog.quote_literal(e.enumlabel), ', "
         "' "
         "order by e.enumsortorder) from pg_catalog.pg_enum e where e.enumtypid = t.oid) "
         "when 'd' then pg_catalog.format_type(t.typbasetype, t.typtypmod) || case when t.typnotnull then "
         "' NOT NULL' else '' end || coalesce((select pg_catalog.string_agg(' ' || "
         "pg_catalog.pg_get_constraintdef(c.oid), '' order by c.conname) from pg_catalog.pg_constraint c "
         "where c.contypid = t.oid and c.contype = 'c' and c.convalidated), '') "
         "when 'c' then (select pg_catalog.string_agg(pg_catalog.quote_ident(a.attname) || ' ' || "
         "pg_catalog.format_type(a.atttypid, a.atttypmod), ', ' order by a.attnum) from "
         "pg_catalog.pg_attribute a "
         "where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped) "
         "when 'r' then (select pg_catalog.format_type(r.rngsubtype, null) from pg_catalog.pg_range r "
         "where r.rngtypid = t.oid) end";
}

void leave_out_present(StructureDraft& draft) {
  if (!draft.options.leaves_out) return;
  auto& scope = draft.scope;
  std::vector<Oid> relations = scope.views;
  relations.insert(relations.end(), scope.sequences.begin(), scope.sequences.end());
  // What has one of these in it is not made either, and is another.
  auto types = scope.types;
  types.insert(types.end(), draft.strange.running.begin(), draft.strange.running.end());
  auto rows = draft.source.query(
      fmt::format("select 1247, t.oid, t.oid::pg_catalog.regtype::pg_catalog.text, {}, "
                  "array(select coalesce(nullif(y.typelem, 0), y.oid) from (select t.typbasetype union "
                  "select a.atttypid from pg_catalog.pg_attribute a where a.attrelid = t.typrelid "
                  "and t.typrelid <> 0 and a.attnum > 0 and not a.attisdropped union select r.rngsubtype "
                  "from pg_catalog.pg_range r where r.rngtypid = t.oid) x (oid) "
                  "join pg_catalog.pg_type y on y.oid = x.oid where y.oid >= 16384)::pg_catalog.oid[] "
                  "from pg_catalog.pg_type t "
                  "where t.oid = any($1::pg_catalog.oid[]) "
                  "union all select 1255, p.oid, p.oid::pg_catalog.regprocedure::pg_catalog.text, "
                  "pg_catalog.md5(p.prosrc), '{{}}' from pg_catalog.pg_proc p "
                  "where p.oid = any($2::pg_catalog.oid[]) "
                  "union all select 3456, c.oid, c.oid::pg_catalog.regcollation::pg_catalog.text, '', '{{}}' "
                  "from pg_catalog.pg_collation c where c.oid = any($3::pg_catalog.oid[]) "
                  "union all select 1259, c.oid, c.oid::pg_catalog.regclass::pg_catalog.text, "
                  "c.relkind::pg_catalog.text, '{{}}' "
                  "from pg_catalog.pg_class c where c.oid = any($4::pg_catalog.oid[])",
                  type_definition()),
      {as_array(types), as_array(scope.functions), as_array(scope.collations), as_array(relations)},
      "naming what belongs to the tables");
  std::vector<NamedObject> objects;
  std::map<std::string, std::string> names;
  for (int row = 0; row < rows.rows(); ++row) {
    if (rows.oid(row, 0) == catalog_oid::type) names.emplace(rows.str(row, 1), rows.str(row, 2));
  }
  for (int row = 0; row < rows.rows(); ++row) {
    objects.push_back({rows.oid(row, 0), rows.str(row, 2), rows.str(row, 3)});
    objects.back().stays_out =
        rows.oid(row, 0) == catalog_oid::type &&
        std::ranges::find(draft.strange.running, rows.oid(row, 1)) != draft.strange.running.end();
    std::istringstream parts(rows.str(row, 4).substr(1, rows.str(row, 4).size() - 2));
    for (std::string part; std::getline(parts, part, ',');) {
      if (auto name = names.find(part); name != names.end()) objects.back().made_of.push_back(name->second);
    }
  }
  auto out = draft.options.leaves_out(objects);
  std::set<Object> left_out;
  for (int row = 0; row < rows.rows(); ++row) {
    if (out.at(static_cast<std::size_t>(row))) left_out.insert({rows.oid(row, 0), rows.oid(row, 1)});
  }
  auto erase = [&](std::vector<Oid>& list, Oid catalog) {
    std::erase_if(list, [&](Oid oid) { return left_out.contains({catalog, oid}); });
  };
  erase(scope.types, catalog_oid::type);
  erase(scope.functions, catalog_oid::proc);
  erase(scope.collations, catalog_oid::collation);
  erase(scope.views, catalog_oid::relation);
  erase(scope.sequences, catalog_oid::relation);
}

}  // namespace tailrace::schema
