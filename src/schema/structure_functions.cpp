#include "base/log.h"
#include "schema/structure_draft.h"

namespace tailrace::schema {
namespace {

/// CREATE AGGREGATE has no pg_get_..def; this is its list of attributes. modify: how the final function may
/// change the state, whose default differs between kinds of aggregates.
constexpr std::string_view aggregate_attributes = R"(
'SFUNC = ' || a.aggtransfn || ', STYPE = ' || pg_catalog.format_type(a.aggtranstype, null)
|| case when a.aggtransspace > 0 then ', SSPACE = ' || a.aggtransspace else '' end
|| case when a.aggfinalfn <> 0 then ', FINALFUNC = ' || a.aggfinalfn || ', FINALFUNC_MODIFY = '
   || case a.aggfinalmodify
   when 'r' then 'READ_ONLY' when 's' then 'SHAREABLE' else 'READ_WRITE' end else '' end
|| case when a.aggfinalextra then ', FINALFUNC_EXTRA' else '' end
|| case when a.aggcombinefn <> 0 then ', COMBINEFUNC = ' || a.aggcombinefn else '' end
|| case when a.aggserialfn <> 0 then ', SERIALFUNC = ' || a.aggserialfn else '' end
|| case when a.aggdeserialfn <> 0 then ', DESERIALFUNC = ' || a.aggdeserialfn else '' end
|| coalesce(', INITCOND = ' || pg_catalog.quote_literal(a.agginitval), '')
|| case when a.aggmtransfn <> 0 then ', MSFUNC = ' || a.aggmtransfn || ', MINVFUNC = ' || a.aggminvtransfn
   || ', MSTYPE = ' || pg_catalog.format_type(a.aggmtranstype, null) else '' end
|| case when a.aggmtransspace > 0 then ', MSSPACE = ' || a.aggmtransspace else '' end
|| case when a.aggmfinalfn <> 0 then ', MFINALFUNC = ' || a.aggmfinalfn || ', MFINALFUNC_MODIFY = '
   || case a.aggmfinalmodify
   when 'r' then 'READ_ONLY' when 's' then 'SHAREABLE' else 'READ_WRITE' end else '' end
|| case when a.aggmfinalextra then ', MFINALFUNC_EXTRA' else '' end
|| coalesce(', MINITCOND = ' || pg_catalog.quote_literal(a.aggminitval), '')
|| coalesce((select ', SORTOP = OPERATOR(' || pg_catalog.quote_ident(sn.nspname) || '.' || o.oprname || ')'
   from pg_catalog.pg_operator o join pg_catalog.pg_namespace sn on sn.oid = o.oprnamespace
   where o.oid = a.aggsortop), '')
|| case p.proparallel when 's' then ', PARALLEL = SAFE' when 'r' then ', PARALLEL = RESTRICTED' else '' end
|| case when a.aggkind = 'h' then ', HYPOTHETICAL' else '' end)";

std::string_view kind_of(char prokind) {
  return prokind == 'p' ? "procedure" : prokind == 'a' ? "aggregate" : "function";
}

}  // namespace

void read_functions(StructureDraft& draft) {
  auto rows = draft.source.query(
      fmt::format(
          "select p.oid, n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid), "
          "p.prokind, "
          "case when p.prokind <> 'a' then pg_catalog.pg_get_functiondef(p.oid) else "
          "'CREATE AGGREGATE ' || pg_catalog.quote_ident(n.nspname) || '.' || "
          "pg_catalog.quote_ident(p.proname) || '(' || "
          "coalesce(nullif(pg_catalog.pg_get_function_arguments(p.oid), ''), '*') || ') (' || {} || ')' end, "
          "{}, p.prokind = 'p' and 'o' = any(p.proargmodes), p.oid::pg_catalog.regprocedure, "
          "p.prosecdef and {}, pg_catalog.pg_get_userbyid(p.proowner) "
          "from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace "
          "left join pg_catalog.pg_aggregate a on a.aggfnoid = p.oid where p.oid = any($1::pg_catalog.oid[]) "
          "order by p.prokind = 'a', p.oid",
          aggregate_attributes, draft.from() >= 140000 ? "p.prosqlbody is not null" : "false",
          draft.untrusted_owner("p.proowner")),
      {as_array(draft.scope.functions)}, "reading the functions");
  std::string invokers;
  for (int row = 0; row < rows.rows(); ++row) {
    Object object{catalog_oid::proc, rows.oid(row, 0)};
    std::string what = fmt::format("{} {}.{}({})", kind_of(rows.get(row, 4)[0]), rows.get(row, 1),
                                   rows.get(row, 2), rows.get(row, 3));
    if (draft.to() < 140000) {
      if (rows.flag(row, 6)) refuse(what, "a body of parsed SQL (BEGIN ATOMIC, RETURN)", 14, draft.to());
      if (rows.flag(row, 7)) refuse(what, "OUT parameters of a procedure", 14, draft.to());
    }
    draft.made.insert(object);
    std::string sql = rows.str(row, 5) + draft.keep_closed('f', rows.get(row, 8), object.oid);
    if (auto path = draft.paths.find(object.oid); path != draft.paths.end())
      sql += fmt::format("; ALTER ROUTINE {} SET search_path = {}", rows.get(row, 8), path->second);
    // It belongs to the target's role, whose rights it must not lend.
    if (rows.flag(row, 9)) {
      sql += fmt::format("; ALTER ROUTINE {} SECURITY INVOKER", rows.get(row, 8));
      invokers += fmt::format("{}{} of {}", invokers.empty() ? "" : ", ", what, rows.get(row, 10));
    }
    draft.list_for(object).push_back({what, sql});
  }
  if (invokers.empty()) return;
  log::warn(
      "schema",
      "made without SECURITY DEFINER, for the target's user owns them and has rights that their owners do not "
      "have: {}. schema.owners: on brings the owners along",
      invokers);
}

}  // namespace tailrace::schema
