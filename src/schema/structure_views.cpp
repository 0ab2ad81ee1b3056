#include "base/log.h"
#include "base/sql_text.h"
#include "schema/structure_draft.h"

namespace tailrace::schema {
namespace {

void read_view_defaults(StructureDraft& draft) {
  auto rows = draft.source.query(
      "select n.nspname, c.relname, a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid) "
      "from pg_catalog.pg_attrdef d join pg_catalog.pg_class c on c.oid = d.adrelid "
      "join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
      "join pg_catalog.pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum "
      "where c.oid = any($1::pg_catalog.oid[]) order by c.oid, a.attnum",
      {as_array(draft.scope.views)}, "reading the defaults of views");
  for (int row = 0; row < rows.rows(); ++row) {
    draft.structure.after_data.push_back({"default of view " + rows.str(row, 0) + "." + rows.str(row, 1),
                                          fmt::format("ALTER VIEW {} ALTER COLUMN {} SET DEFAULT {}",
                                                      quote_qualified(rows.get(row, 0), rows.get(row, 1)),
                                                      quote_identifier(rows.get(row, 2)), rows.get(row, 3))});
  }
}

std::string without_semicolon(std::string query) {
  while (!query.empty() && (query.back() == ';' || query.back() == '\n')) query.pop_back();
  return query;
}

}  // namespace

void read_views(StructureDraft& draft) {
  auto rows = draft.source.query(
      fmt::format("select c.oid, n.nspname, c.relname, c.relkind, pg_catalog.pg_get_viewdef(c.oid), {}, "
                  "coalesce(c.reloptions::pg_catalog.text like '%security_invoker=%', false), "
                  "nullif(am.amname, 'heap') "
                  "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
                  "left join pg_catalog.pg_am am on am.oid = c.relam "
                  "where c.oid = any($1::pg_catalog.oid[]) order by c.oid",
                  storage_options("c.reloptions", "", draft.to())),
      {as_array(draft.scope.views)}, "reading the views");
  for (int row = 0; row < rows.rows(); ++row) {
    bool materialized = rows.get(row, 3) == "m";
    std::string what = fmt::format("{} {}.{}", materialized ? "materialized view" : "view", rows.get(row, 1),
                                   rows.get(row, 2));
    if (rows.flag(row, 6) && draft.to() < 150000) refuse(what, "security_invoker", 15, draft.to());
    std::string options = rows.get(row, 5).empty() ? "" : " WITH (" + rows.str(row, 5) + ")";
    std::string method =
        materialized && !rows.is_null(row, 7) ? " USING " + quote_identifier(rows.get(row, 7)) : "";
    draft.made.insert({catalog_oid::relation, rows.oid(row, 0)});
    draft.structure.after_data.push_back(
        {what, fmt::format("CREATE {} {}{}{} AS {}{}", materialized ? "MATERIALIZED VIEW" : "VIEW",
                           quote_qualified(rows.get(row, 1), rows.get(row, 2)), method, options,
                           without_semicolon(rows.str(row, 4)), materialized ? " WITH NO DATA" : "") +
                   draft.keep_closed('r', quote_qualified(rows.get(row, 1), rows.get(row, 2)))});
  }
  read_view_defaults(draft);
}

void read_refreshes(StructureDraft& draft) {
  auto rows = draft.source.query(
      "select n.nspname, c.relname, w.oid from pg_catalog.pg_class c "
      "join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
      "join pg_catalog.pg_rewrite w on w.ev_class = c.oid and w.rulename = '_RETURN' "
      "where c.oid = any($1::pg_catalog.oid[]) and c.relkind = 'm' and c.relispopulated order by c.oid",
      {as_array(draft.scope.views)}, "reading which materialized views are filled");
  for (int row = 0; row < rows.rows(); ++row) {
    if (draft.must_not_run(catalog_oid::rewrite, rows.oid(row, 2))) continue;
    draft.structure.after_data.push_back(
        {"contents of materialized view " + rows.str(row, 0) + "." + rows.str(row, 1),
         "REFRESH MATERIALIZED VIEW " + quote_qualified(rows.get(row, 0), rows.get(row, 1))});
  }
}

/// A rule reads and writes with the rights of whoever owns the relation. So the target's role, if that owns it
/// there, would lend its rights to whoever may use the relation, but to what was the owner's own as well.
static std::string lends_rights(const StructureDraft& draft) {
  return fmt::format(
      "{} and exists (select from pg_catalog.regexp_matches(pg_catalog.concat(r.ev_qual::pg_catalog.text, "
      "r.ev_action::pg_catalog.text), ':relid ([0-9]+)', 'g') m "
      "left join pg_catalog.pg_class o on o.oid = m[1]::pg_catalog.oid where m[1] <> '0' "
      "and o.oid is distinct from c.oid and (o.relowner is distinct from c.relowner "
      "or o.oid <> all($2::pg_catalog.oid[])))",
      draft.untrusted_owner("c.relowner"));
}

void read_rules(StructureDraft& draft) {
  std::vector<Oid> relations = draft.scope.tables;
  relations.insert(relations.end(), draft.scope.views.begin(), draft.scope.views.end());
  auto rows = draft.source.query(
      fmt::format(
          "select r.oid, n.nspname, c.relname, r.rulename, pg_catalog.pg_get_ruledef(r.oid), r.ev_enabled, "
          "c.relkind, {}, pg_catalog.pg_get_userbyid(c.relowner) "
          "from pg_catalog.pg_rewrite r join pg_catalog.pg_class c on c.oid = r.ev_class "
          "join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
          "where c.oid = any($1::pg_catalog.oid[]) and r.rulename <> '_RETURN' order by r.oid",
          lends_rights(draft)),
      {as_array(relations), as_array(draft.scope.tables)}, "reading the rules");
  std::string lending;
  for (int row = 0; row < rows.rows(); ++row) {
    if (draft.scope.on_left_out.contains(rows.oid(row, 0))) continue;
    std::string what = fmt::format("rule {} of {}.{}", rows.get(row, 3), rows.get(row, 1), rows.get(row, 2));
    if (rows.flag(row, 7)) {
      lending += fmt::format("{}{} of {}", lending.empty() ? "" : ", ", what, rows.get(row, 8));
      continue;
    }
    draft.made.insert({catalog_oid::rewrite, rows.oid(row, 0)});
    std::string table = quote_qualified(rows.get(row, 1), rows.get(row, 2));
    std::string noted = rows.get(row, 6) == "v" || rows.get(row, 6) == "m" ? "" : table;
    draft.structure.after_data.push_back(
        {.what = what, .sql = without_semicolon(rows.str(row, 4)), .relation = noted});
    char state = rows.get(row, 5)[0];
    if (draft.must_not_run(catalog_oid::rewrite, rows.oid(row, 0))) state = state == 'A' ? 'O' : 'D';
    if (state == 'O') continue;
    draft.structure.after_data.push_back({.what = "state of " + what,
                                          .sql = fmt::format("ALTER TABLE {} {} RULE {}", table,
                                                             state == 'D'   ? "DISABLE"
                                                             : state == 'R' ? "ENABLE REPLICA"
                                                                            : "ENABLE ALWAYS",
                                                             quote_identifier(rows.get(row, 3))),
                                          .relation = noted});
  }
  if (lending.empty()) return;
  log::warn("schema",
            "left out of the target's structure, for rules run with the rights of whoever owns the table, and "
            "that is the target's user there, who has rights that these owners do not have: {}. schema.owners: "
            "on brings the owners along; schema.trust_source: on makes all of it as at the source",
            lending);
}

}  // namespace tailrace::schema
