#include "schema/role_rights.h"
#include "schema/structure_draft.h"

namespace tailrace::schema {
namespace {

/// What of the source goes by the names of strangers ($1 to $4: catalogs, schemas, names, whether each value of
/// the type runs something), and what leans on that. What a body names, the catalogs do not know: words of it
/// are enough. Without a schema it finds only what its own search_path has; what is made with another one, of
/// read_paths(), looks nowhere where strangers have anything.
///
/// Each body is taken apart into words once, and everything else is an equality: strangers may have thousands
/// of names, the source thousands of bodies, and a pattern for each pair of them took minutes.
constexpr const char* leaning = R"sql(
with recursive wanted (c, schema, name, runs) as (
  select * from unnest($1::pg_catalog.oid[], $2::pg_catalog.text[], $3::pg_catalog.text[],
    $4::pg_catalog.bool[])),
body (oid, text, path) as materialized (
  select oid, prosrc, pg_catalog.concat((select pg_catalog.string_agg(s, '') from pg_catalog.unnest(proconfig) s
    where s like 'search\_path=%'))
  from pg_catalog.pg_proc where oid >= 16384),
word (oid, word) as materialized (
  select distinct b.oid, w from body b
  cross join pg_catalog.regexp_split_to_table(pg_catalog.lower(b.text), '\W+') w where w <> ''),
sees (oid, schema) as materialized (
  select b.oid, s.schema from (
    select schema, '(?<!\w)' || pg_catalog.regexp_replace(schema, '(\W)', '\\\1', 'g') || '(?!\w)'
    from wanted group by schema) s (schema, pattern)
  join body b on b.text ~* s.pattern or b.path ~* s.pattern or b.path like '%$user%'),
named (c, o, name) as materialized (
  select 1255, oid, pg_catalog.lower(proname::pg_catalog.text collate "default") from pg_catalog.pg_proc
  where oid >= 16384
  union all select 1259, oid, pg_catalog.lower(relname::pg_catalog.text collate "default")
  from pg_catalog.pg_class where oid >= 16384),
edge (rc, ro, c, o, keeps) as materialized (
  select d.refclassid, d.refobjid, d.classid, d.objid, false from pg_catalog.pg_depend d
  where d.classid in (1255, 2617)
  union select 1247, d.refobjid, 1247, coalesce(r.reltype, d.objid), true from pg_catalog.pg_depend d
  left join pg_catalog.pg_class r on d.classid = 1259 and r.oid = d.objid and r.reltype <> 0
  where d.refclassid = 1247 and (d.classid = 1247 or r.oid is not null)
  union select d.refclassid, d.refobjid, 1259, w.ev_class, false from pg_catalog.pg_depend d
  join pg_catalog.pg_rewrite w on w.oid = d.objid where d.classid = 2618 and w.rulename = '_RETURN'
  union select n.c, n.o, 1255, w.oid, false from named n join word w on w.word = n.name
  union select n.c, n.o, 1255, b.oid, false from named n
  join body b on pg_catalog.strpos(pg_catalog.lower(b.text), n.name) > 0 where n.name ~ '\W'),
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
  select 1255, s.oid, false from wanted w join word b on b.word = pg_catalog.lower(w.name)
  join sees s on s.oid = b.oid and s.schema = w.schema
  union
  select 1255, s.oid, false from (
    select schema, name, c = 2617 from wanted where c = 2617 or name ~ '\W' group by schema, name, c = 2617
  ) w (schema, name, sign)
  join sees s on s.schema = w.schema join body b on b.oid = s.oid and pg_catalog.strpos(
    case when w.sign then b.text else pg_catalog.lower(b.text) end,
    case when w.sign then w.name else pg_catalog.lower(w.name) end) > 0
  union
  select e.c, e.o, e.keeps and h.runs from hit h join edge e on e.rc = h.c and e.ro = h.o)
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
