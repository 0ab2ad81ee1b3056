#include "schema/role_rights.h"
#include "schema/structure_draft.h"

namespace tailrace::schema {
namespace {

/// What of the source goes by the names of strangers ($1 to $4: catalogs, schemas, names, whether each value of
/// the type runs something), and what leans on that. What a body names, the catalogs do not know: words of it
/// are enough. Without a schema it finds only what its own search_path has; what is made with another one, of
/// read_paths(), looks nowhere where strangers have anything.
constexpr const char* leaning = R"sql(
with recursive wanted (c, schema, name, runs) as (
  select * from unnest($1::pg_catalog.oid[], $2::pg_catalog.text[], $3::pg_catalog.text[],
    $4::pg_catalog.bool[])),
word (c, schema, name) as (
  select c, '(?<!\w)' || pg_catalog.regexp_replace(schema, '(\W)', '\\\1', 'g') || '(?!\w)',
    case when c = 2617 then pg_catalog.regexp_replace(name, '(\W)', '\\\1', 'g')
    else '(?<!\w)' || pg_catalog.regexp_replace(name, '(\W)', '\\\1', 'g') || '(?!\w)' end from wanted),
body (oid, text, path) as (
  select oid, prosrc, pg_catalog.concat((select pg_catalog.string_agg(s, '') from pg_catalog.unnest(proconfig) s
    where s like 'search\_path=%'))
  from pg_catalog.pg_proc where oid >= 16384),
hit (c, o, runs) as (
  select w.c, x.o, w.runs from wanted w join pg_catalog.pg_namespace n on n.nspname = w.schema
  cross join lateral (
    select oid from pg_catalog.pg_proc where w.c = 1255 and proname = w.name and pronamespace = n.oid
    union all select oid from pg_catalog.pg_operator
    where w.c = 2617 and oprname = w.name and oprnamespace = n.oid
    union all select oid from pg_catalog.pg_class where w.c = 1259 and relname = w.name and relnamespace = n.oid
    union all select oid from pg_catalog.pg_type where w.c = 1247 and typname = w.name and typnamespace = n.oid
  ) x (o)
  union
  select 1255, b.oid, false from body b join word w on b.text ~* w.name
    and (b.text ~* w.schema or b.path ~* w.schema or b.path like '%$user%')
  union
  select x.c, x.o, x.runs from hit h cross join lateral (
    select d.classid, d.objid, false from pg_catalog.pg_depend d
    where d.refclassid = h.c and d.refobjid = h.o and d.classid in (1255, 2617)
    union all select 1247, coalesce(r.reltype, d.objid), h.runs from pg_catalog.pg_depend d
    left join pg_catalog.pg_class r on d.classid = 1259 and r.oid = d.objid and r.reltype <> 0
    where d.refclassid = h.c and d.refobjid = h.o and h.c = 1247 and (d.classid = 1247 or r.oid is not null)
    union all select 1259, w.ev_class, false from pg_catalog.pg_depend d
    join pg_catalog.pg_rewrite w on w.oid = d.objid
    where d.refclassid = h.c and d.refobjid = h.o and d.classid = 2618 and w.rulename = '_RETURN'
    union all select 1255, b.oid, false from (
      select proname::pg_catalog.text from pg_catalog.pg_proc where h.c = 1255 and oid = h.o
      union all select relname::pg_catalog.text from pg_catalog.pg_class where h.c = 1259 and oid = h.o
    ) s (name)
    join body b on b.text ~* ('(?<!\w)' || pg_catalog.regexp_replace(s.name, '(\W)', '\\\1', 'g') || '(?!\w)')
  ) x (c, o, runs))
select c, o, pg_catalog.bool_or(runs) from hit group by c, o order by c, o)sql";

}  // namespace

Strange find_strange(pg::Connection& source, const Strangers& strangers) {
  Strange out;
  if (strangers.empty()) return out;
  std::vector<Oid> catalogs;
  std::vector<std::string> schemas;
  std::vector<std::string> names;
  std::vector<std::string> running;
  auto want = [&](Oid catalog, const Strangers::Name& name, bool runs) {
    catalogs.push_back(catalog);
    schemas.push_back(name.first);
    names.push_back(name.second);
    running.emplace_back(runs ? "t" : "f");
  };
  for (const auto& name : strangers.routines) want(catalog_oid::proc, name, false);
  for (const auto& name : strangers.operators) want(catalog_oid::oper, name, false);
  for (const auto& name : strangers.relations) want(catalog_oid::relation, name, false);
  for (const auto& name : strangers.types) want(catalog_oid::type, name, false);
  for (const auto& [_, name] : strangers.running) want(catalog_oid::type, name, true);
  auto rows = source.query(
      leaning, {as_array(catalogs), as_text_array(schemas), as_text_array(names), as_text_array(running)},
      "looking for what is somebody else's at the target");
  for (int row = 0; row < rows.rows(); ++row) {
    auto catalog = rows.oid(row, 0);
    auto& list = catalog == catalog_oid::proc       ? out.functions
                 : catalog == catalog_oid::oper     ? out.operators
                 : catalog == catalog_oid::relation ? out.relations
                                                    : out.types;
    list.push_back(rows.oid(row, 1));
    if (rows.flag(row, 2)) out.running.push_back(rows.oid(row, 1));
  }
  return out;
}

}  // namespace tailrace::schema
