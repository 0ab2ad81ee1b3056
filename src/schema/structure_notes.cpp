#include "base/sql_text.h"
#include "schema/structure_draft.h"

namespace tailrace::schema {
namespace {

/// The objects as a table m(catalog, oid) of a query: its two parameters.
std::vector<std::optional<std::string>> as_parameters(const std::set<Object>& objects) {
  std::vector<Oid> catalogs;
  std::vector<Oid> oids;
  for (auto object : objects) {
    catalogs.push_back(object.catalog);
    oids.push_back(object.oid);
  }
  return {as_array(catalogs), as_array(oids)};
}

constexpr std::string_view made =
    "unnest($1::pg_catalog.oid[], "
    "$2::pg_catalog.oid[]) m(catalog, oid)";

}  // namespace

void read_comments(StructureDraft& draft) {
  auto rows = draft.source.query(
      fmt::format(
          "select case when i.type like '% column' then 'COLUMN' when i.type like '% constraint' then "
          "'CONSTRAINT' "
          "when i.type = 'statistics object' then 'STATISTICS' when i.type = 'composite type' then 'TYPE' "
          "else pg_catalog.upper(i.type) end, "
          "case when i.type = 'domain constraint' then (select pg_catalog.quote_ident(conname) || ' ON DOMAIN "
          "' || "
          "pg_catalog.format_type(contypid, null) from pg_catalog.pg_constraint where oid = d.objoid) "
          "when i.type = 'aggregate' then pg_catalog.replace(i.identity, '()', '(*)') else i.identity end, "
          "d.description "
          "from {} join pg_catalog.pg_description d on d.classoid = m.catalog and d.objoid = m.oid, "
          "lateral pg_catalog.pg_identify_object(d.classoid, d.objoid, d.objsubid) i "
          // Every database has that one, and its owner alone may set it.
          "where (i.type, i.identity, d.description) <> ('schema', 'public', 'standard public schema') "
          "order by d.classoid, "
          "d.objoid, "
          "d.objsubid",
          made),
      as_parameters(draft.made), "reading the comments");
  for (int row = 0; row < rows.rows(); ++row) {
    std::string on = rows.str(row, 0) + " " + rows.str(row, 1);
    draft.structure.after_data.push_back(
        {"comment on " + on,
         fmt::format("COMMENT ON {} IS {}", on, quote_literal(rows.get(row, 2))),
         {},
         true});
  }
}

void read_owners(StructureDraft& draft) {
  // Indexes, constraints and sequences that belong to a column follow their table.
  auto rows = draft.source.query(
      fmt::format(
          "select case i.type when 'statistics object' then 'STATISTICS' else pg_catalog.upper(i.type) end, "
          "case when i.type = 'aggregate' then pg_catalog.replace(i.identity, '()', '(*)') else i.identity "
          "end, "
          "r.rolname, x.catalog, x.oid, x.late from (select m.catalog, m.oid, coalesce("
          "(select relowner from pg_catalog.pg_class c where m.catalog = 1259 and c.oid = m.oid and "
          "(c.relkind in ('r', 'p', 'v', 'm') or c.relkind = 'S' and not exists (select from "
          "pg_catalog.pg_depend d "
          "where d.classid = 1259 and d.objid = c.oid and d.refclassid = 1259 and d.deptype in ('a', 'i')))), "
          "(select proowner from pg_catalog.pg_proc o where m.catalog = 1255 and o.oid = m.oid), "
          "(select typowner from pg_catalog.pg_type o where m.catalog = 1247 and o.oid = m.oid), "
          "(select collowner from pg_catalog.pg_collation o where m.catalog = 3456 and o.oid = m.oid), "
          "(select stxowner from pg_catalog.pg_statistic_ext o where m.catalog = 3381 and o.oid = m.oid), "
          "(select nspowner from pg_catalog.pg_namespace o where m.catalog = 2615 and o.oid = m.oid)) as "
          "owner, "
          "exists (select from pg_catalog.pg_class c where m.catalog = 1259 and c.oid = m.oid "
          "and c.relkind in ('v', 'm')) or m.catalog = 3381 as late "
          "from {}) x join pg_catalog.pg_roles r on r.oid = x.owner, "
          "lateral pg_catalog.pg_identify_object(x.catalog, x.oid, 0) i order by x.catalog <> 2615, x.catalog, "
          "x.oid",
          made),
      as_parameters(draft.made), "reading the owners");
  for (int row = 0; row < rows.rows(); ++row) {
    if (draft.stronger.contains(rows.str(row, 2))) continue;
    std::string of = rows.str(row, 0) + " " + rows.str(row, 1);
    draft.structure.roles.insert(rows.str(row, 2));
    // With what makes it, in one transaction: nobody must find it with the rights of who made it.
    auto& list =
        rows.flag(row, 5) ? draft.structure.after_data : draft.list_for({rows.oid(row, 3), rows.oid(row, 4)});
    list.push_back({"owner of " + of,
                    fmt::format("ALTER {} OWNER TO {}", of, quote_identifier(rows.get(row, 2))),
                    {rows.str(row, 2)}});
  }
}

void read_privileges(StructureDraft& draft) {
  // What stands for "nothing granted or revoked" is null and gives no row here.
  std::string objects = fmt::format(
      "select 1 as part, m.catalog, m.oid, 'TABLE' as kind, '' as columns, relacl as acl, relowner as owner "
      "from {0} join pg_catalog.pg_class c on m.catalog = 1259 and c.oid = m.oid and relkind in ('r', 'p', "
      "'v', 'm') and (relkind in ('r', 'p') or not {1}) "
      "union all select 1, m.catalog, m.oid, 'SEQUENCE', '', relacl, relowner "
      "from {0} join pg_catalog.pg_class c on m.catalog = 1259 and c.oid = m.oid and relkind = 'S' "
      "union all select 2, m.catalog, m.oid, 'TABLE', ' (' || pg_catalog.quote_ident(attname) || ')', attacl, "
      "relowner "
      "from {0} join pg_catalog.pg_class c on m.catalog = 1259 and c.oid = m.oid "
      "join pg_catalog.pg_attribute a on a.attrelid = c.oid where relkind in ('r', 'p') or not {1} "
      "union all select 1, m.catalog, m.oid, 'ROUTINE', '', proacl, proowner "
      "from {0} join pg_catalog.pg_proc o on m.catalog = 1255 and o.oid = m.oid "
      "union all select 1, m.catalog, m.oid, 'TYPE', '', typacl, typowner "
      "from {0} join pg_catalog.pg_type o on m.catalog = 1247 and o.oid = m.oid "
      "union all select 1, m.catalog, m.oid, 'SCHEMA', '', nspacl, nspowner "
      "from {0} join pg_catalog.pg_namespace o on m.catalog = 2615 and o.oid = m.oid",
      // A view reads with its owner's rights; without owners that is the target's role.
      made, draft.untrusted_owner("relowner"));
  auto rows = draft.source.query(
      fmt::format(
          "select x.kind || ' ' || i.identity, x.kind in ('ROUTINE', 'TYPE'), r.rolname, a.is_grantable, "
          "pg_catalog.string_agg(a.privilege_type || x.columns, ', ' order by a.privilege_type), "
          "case when x.catalog = 1259 and exists (select from pg_catalog.pg_class c where c.oid = x.oid and "
          "c.relkind in ('r', 'p')) then i.identity end "
          "from ({}) x left join lateral pg_catalog.aclexplode(x.acl) a on a.grantee <> x.owner "
          "and (a.privilege_type <> 'MAINTAIN' or {}) left join pg_catalog.pg_roles r on r.oid = a.grantee, "
          "lateral pg_catalog.pg_identify_object(x.catalog, x.oid, 0) i where x.acl is not null "
          "and (a.grantee is null or a.grantee = 0 or r.oid is not null) "
          "group by x.catalog, x.oid, x.part, 1, 2, 3, 4, 6 order by x.catalog, x.oid, x.part, r.rolname nulls "
          "first",
          objects, draft.to() >= 170000),
      as_parameters(draft.made), "reading the privileges");
  auto& list = draft.structure.after_data;
  std::string last;
  for (int row = 0; row < rows.rows(); ++row) {
    std::string on = rows.str(row, 0);
    // Everybody may call a function and use a type, unless that was revoked.
    if (rows.flag(row, 1) && on != last)
      list.push_back({"privileges on " + on, fmt::format("REVOKE ALL ON {} FROM PUBLIC", on)});
    last = on;
    if (rows.is_null(row, 4)) continue;
    std::vector<std::string> roles;
    if (!rows.is_null(row, 2)) roles.push_back(rows.str(row, 2));
    draft.structure.roles.insert(roles.begin(), roles.end());
    list.push_back({.what = "privileges on " + on,
                    .sql = fmt::format("GRANT {} ON {} TO {}{}", rows.get(row, 4), on,
                                       roles.empty() ? "PUBLIC" : quote_identifier(roles.front()),
                                       rows.flag(row, 3) ? " WITH GRANT OPTION" : ""),
                    .roles = roles,
                    .relation = rows.str(row, 5)});
  }
}

}  // namespace tailrace::schema
