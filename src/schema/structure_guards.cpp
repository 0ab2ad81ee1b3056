#include "base/sql_text.h"
#include "schema/structure_draft.h"

namespace tailrace::schema {
namespace {

/// The policy for those of its roles that the target has: the others cannot ask for anything there.
Statement policy_statement(std::string what, const std::string& head, std::vector<std::string> roles,
                           const std::string& tail) {
  if (roles.empty()) return {std::move(what), head + "PUBLIC" + tail};
  if (roles.size() == 1)
    return {std::move(what), head + quote_identifier(roles.front()) + tail, {roles.front()}};
  std::string names;
  for (const auto& role : roles) names += (names.empty() ? "" : ", ") + quote_literal(role);
  std::string body = fmt::format(
      "BEGIN EXECUTE {} || (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(rolname), ', ') "
      "FROM pg_catalog.pg_roles WHERE rolname IN ({})) || {}; END",
      quote_literal(head), names, quote_literal(tail));
  return {std::move(what), "DO " + quote_literal(body), std::move(roles)};
}

}  // namespace

void read_triggers(StructureDraft& draft) {
  std::vector<Oid> relations = draft.scope.tables;
  relations.insert(relations.end(), draft.scope.views.begin(), draft.scope.views.end());
  // A partition's copy of a trigger, internal before 15, follows its original, unless it was switched by
  // itself.
  auto rows = draft.source.query(
      "select t.oid, n.nspname, c.relname, t.tgname, pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled, "
      "p.oid is not null, t.tgenabled <> 'O' or p.tgenabled is distinct from t.tgenabled and p.oid is not "
      "null, c.relkind "
      "from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid "
      "join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
      "left join pg_catalog.pg_trigger p on p.oid = t.tgparentid and p.tgrelid = any($1::pg_catalog.oid[]) "
      "where c.oid = any($1::pg_catalog.oid[]) and (not t.tgisinternal "
      "or t.tgparentid <> 0 and not exists (select "
      "from pg_catalog.pg_constraint k where k.oid = t.tgconstraint and k.contype <> 't')) "
      // tailrace's own are made where they are needed.
      "and t.tgname not in ('tailrace_deletion', 'tailrace_key_change') "
      "order by p.oid is not null, t.oid",
      {as_array(relations)}, "reading the triggers");
  auto& list = draft.structure.after_data;
  for (int row = 0; row < rows.rows(); ++row) {
    if (draft.scope.on_left_out.contains(rows.oid(row, 0))) continue;
    std::string table;
    if (rows.get(row, 8) != "v") table = quote_qualified(rows.get(row, 1), rows.get(row, 2));
    std::string what = fmt::format("trigger {} of {}.{}", rows.get(row, 3), rows.get(row, 1), rows.get(row, 2));
    if (!rows.flag(row, 6)) {
      draft.made.insert({catalog_oid::trigger, rows.oid(row, 0)});
      list.push_back({.what = what, .sql = rows.str(row, 4), .relation = table});
    }
    // A view's trigger has no state of its own.
    if (!rows.flag(row, 7) || rows.get(row, 8) == "v") continue;
    char state = rows.get(row, 5)[0];
    // Where rows are applied it would fire; for everybody else it does as at the source.
    if (draft.must_not_run(catalog_oid::trigger, rows.oid(row, 0))) state = state == 'A' ? 'O' : 'D';
    list.push_back({.what = "state of " + what,
                    .sql = fmt::format("ALTER TABLE ONLY {} {} TRIGGER {}", table,
                                       state == 'D'   ? "DISABLE"
                                       : state == 'R' ? "ENABLE REPLICA"
                                       : state == 'A' ? "ENABLE ALWAYS"
                                                      : "ENABLE",
                                       quote_identifier(rows.get(row, 3))),
                    .relation = table});
  }
}

void read_policies(StructureDraft& draft) {
  auto rows = draft.source.query(
      "select p.oid, n.nspname, c.relname, p.polname, p.polpermissive, case p.polcmd when 'r' then 'SELECT' "
      "when 'a' then 'INSERT' when 'w' then 'UPDATE' when 'd' then 'DELETE' else 'ALL' end, "
      "pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) "
      "from pg_catalog.pg_policy p join pg_catalog.pg_class c on c.oid = p.polrelid "
      "join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
      "where c.oid = any($1::pg_catalog.oid[]) order by p.oid",
      {as_array(draft.scope.tables)}, "reading the policies");
  auto names = draft.source.query(
      "select p.oid, r.rolname from pg_catalog.pg_policy p join pg_catalog.pg_roles r on r.oid = "
      "any(p.polroles) "
      "where p.polrelid = any($1::pg_catalog.oid[]) order by 1, 2",
      {as_array(draft.scope.tables)}, "reading the roles of the policies");
  std::map<Oid, std::vector<std::string>> roles;
  for (int row = 0; row < names.rows(); ++row) roles[names.oid(row, 0)].push_back(names.str(row, 1));
  auto& list = draft.structure.after_data;
  for (int row = 0; row < rows.rows(); ++row) {
    if (draft.scope.on_left_out.contains(rows.oid(row, 0))) continue;
    std::string what = fmt::format("policy {} of {}.{}", rows.get(row, 3), rows.get(row, 1), rows.get(row, 2));
    std::string head =
        fmt::format("CREATE POLICY {} ON {} AS {} FOR {} TO ", quote_identifier(rows.get(row, 3)),
                    quote_qualified(rows.get(row, 1), rows.get(row, 2)),
                    rows.flag(row, 4) ? "PERMISSIVE" : "RESTRICTIVE", rows.get(row, 5));
    std::string tail;
    if (!rows.is_null(row, 6)) tail += fmt::format(" USING ({})", rows.get(row, 6));
    if (!rows.is_null(row, 7)) tail += fmt::format(" WITH CHECK ({})", rows.get(row, 7));
    draft.made.insert({catalog_oid::policy, rows.oid(row, 0)});
    list.push_back(policy_statement(what, head, roles[rows.oid(row, 0)], tail));
    list.back().relation = quote_qualified(rows.get(row, 1), rows.get(row, 2));
  }
  rows = draft.source.query(
      "select n.nspname, c.relname, c.relrowsecurity, c.relforcerowsecurity from pg_catalog.pg_class c "
      "join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
      "where c.oid = any($1::pg_catalog.oid[]) and (c.relrowsecurity or c.relforcerowsecurity) order by c.oid",
      {as_array(draft.scope.tables)}, "reading which tables have row security");
  for (int row = 0; row < rows.rows(); ++row) {
    std::string what = "row security of table " + rows.str(row, 0) + "." + rows.str(row, 1);
    std::string table = quote_qualified(rows.get(row, 0), rows.get(row, 1));
    for (const char* action : {"ENABLE", "FORCE"}) {
      if (!rows.flag(row, action[0] == 'E' ? 2 : 3)) continue;
      list.push_back({.what = what,
                      .sql = fmt::format("ALTER TABLE {} {} ROW LEVEL SECURITY", table, action),
                      .relation = table});
    }
    if (rows.flag(row, 2) && rows.flag(row, 3))
      draft.structure.forced.push_back(rows.str(row, 0) + "." + rows.str(row, 1));
  }
}

}  // namespace tailrace::schema
