#include "schema/strangers.h"

#include "schema/role_rights.h"
#include "schema/structure_draft.h"

namespace tailrace::schema {
namespace {

constexpr const char* looking = "looking at what others than superusers have";

/// Without any of these nothing can be theirs, nor have anything of theirs in it.
constexpr const char* anything = R"(
with stranger as (select oid from pg_catalog.pg_roles where not rolsuper)
select exists (select from pg_catalog.pg_proc where oid >= 16384 and proowner in (select oid from stranger))
or exists (select from pg_catalog.pg_operator where oid >= 16384 and oprowner in (select oid from stranger))
or exists (select from pg_catalog.pg_type where oid >= 16384 and typowner in (select oid from stranger))
or exists (select from pg_catalog.pg_class where oid >= 16384 and relowner in (select oid from stranger)))";

constexpr const char* named_things = R"(
with stranger as (select oid from pg_catalog.pg_roles where not rolsuper)
select 1255, n.nspname, p.proname from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where p.oid >= 16384 and p.proowner in (select oid from stranger)
union select 2617, n.nspname, o.oprname from pg_catalog.pg_operator o
join pg_catalog.pg_namespace n on n.oid = o.oprnamespace
where o.oid >= 16384 and o.oprowner in (select oid from stranger)
union select 1259, n.nspname, c.relname from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid >= 16384 and c.relkind in ('v', 'm', 'f') and c.relowner in (select oid from stranger))";

/// From what must not run of types ($1: constraints, $2: types) and from casts that only others can have made,
/// on to what is made of such a type.
constexpr const char* types_with_code = R"(
with recursive bad (oid, runs) as (
  select contypid, true from pg_catalog.pg_constraint where oid = any($1::pg_catalog.oid[])
  union select oid, true from pg_catalog.pg_type where oid = any($2::pg_catalog.oid[])
  union select t.oid, false from pg_catalog.pg_cast k join pg_catalog.pg_proc p on p.oid = k.castfunc
    join pg_catalog.pg_roles author on author.oid = p.proowner
    join pg_catalog.pg_type t on t.oid in (k.castsource, k.casttarget) and t.oid >= 16384
    join pg_catalog.pg_roles owner on owner.oid = t.typowner
  where not owner.rolsuper and not author.rolsuper
  union select x.oid, x.runs from bad
    join pg_catalog.pg_depend d on d.refclassid = 1247 and d.refobjid = bad.oid
    cross join lateral (
      select d.objid, bad.runs where d.classid = 1247
      union all select c.reltype, bad.runs from pg_catalog.pg_class c
        where d.classid = 1259 and c.oid = d.objid and c.reltype <> 0
      union all select k.contypid, true from pg_catalog.pg_constraint k
        where d.classid = 2606 and k.oid = d.objid and k.contypid <> 0 and k.contypid <> bad.oid) x (oid, runs))
select n.nspname, t.typname, pg_catalog.bool_or(bad.runs), t.oid::pg_catalog.regtype::pg_catalog.text
from bad join pg_catalog.pg_type t on t.oid = bad.oid join pg_catalog.pg_namespace n on n.oid = t.typnamespace
group by n.nspname, t.typname, t.oid)";

void read_types(pg::Connection& target, Strangers& out) {
  auto types = target.query(
      "select array(select oid from pg_catalog.pg_type where oid >= 16384 and typtype in ('d', 'r'))", looking);
  auto bad = target.query(
      what_must_not_run(evaluated_places(target.server_version(), "$5")),
      {"{}", "{}", types.str(0, 0), as_text_array(superusers(read_role_rights(target))), "false"}, looking);
  std::vector<Oid> constraints;
  std::vector<Oid> others;
  for (int row = 0; row < bad.rows(); ++row)
    (bad.oid(row, 0) == catalog_oid::constraint ? constraints : others).push_back(bad.oid(row, 1));
  auto rows = target.query(types_with_code, {as_array(constraints), as_array(others)}, looking);
  for (int row = 0; row < rows.rows(); ++row) {
    out.types.emplace(rows.str(row, 0), rows.str(row, 1));
    if (rows.flag(row, 2))
      out.running.emplace(rows.str(row, 3), Strangers::Name(rows.str(row, 0), rows.str(row, 1)));
  }
}

}  // namespace

bool others_have_anything(pg::Connection& connection) {
  return connection.query(anything, looking).flag(0, 0);
}

Strangers read_strangers(pg::Connection& target) {
  Strangers out;
  if (!may_be_superuser(target) || !others_have_anything(target)) return out;
  auto rows = target.query(named_things, looking);
  for (int row = 0; row < rows.rows(); ++row) {
    auto catalog = rows.oid(row, 0);
    auto& names = catalog == catalog_oid::proc       ? out.routines
                  : catalog == catalog_oid::relation ? out.relations
                                                     : out.operators;
    names.emplace(rows.str(row, 1), rows.str(row, 2));
  }
  read_types(target, out);
  return out;
}

}  // namespace tailrace::schema
