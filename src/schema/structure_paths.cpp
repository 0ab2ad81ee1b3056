#include "base/log.h"
#include "base/sql_text.h"
#include "schema/structure_draft.h"

namespace tailrace::schema {
namespace {

/// Functions that the target will call while rows are written or things are made, with an empty search_path,
/// and that name something without its schema: each with the schemas in which what it names is, and where it is
/// called. The catalogs do not know what a body names, so its words are held against them. A name that
/// pg_catalog has too (soft) is found there without a path, though it may not be what was meant; what is in two
/// schemas depends on an order that is not known here. A schema is safe where only those can make things whose
/// rights are not less than what the functions run with.
constexpr std::string_view leaning = R"sql(
with recursive place as ({}),
call as (
  select p.c, p.o, m[1]::pg_catalog.oid as f from place p
  cross join lateral pg_catalog.regexp_matches(p.tree, ':(?:funcid|opfuncid) ([0-9]+)', 'g') m
  where p.c <> 2620 and not exists (select from pg_catalog.pg_rewrite w
    where p.c = 2618 and w.oid = p.o and w.rulename <> '_RETURN')
  union
  select k.c, k.o, x.f from call k join pg_catalog.pg_proc p on p.oid = k.f and p.oid >= 16384
  cross join lateral (
    select d.refobjid from pg_catalog.pg_depend d
    where d.classid = 1255 and d.objid = p.oid and d.refclassid = 1255 and d.deptype = 'n'
    union all
    select q.oid from pg_catalog.regexp_matches(p.prosrc, '([A-Za-z_]\w*)"?\s*\(', 'g') m
    cross join lateral (values (m[1]::pg_catalog.name), (pg_catalog.lower(m[1])::pg_catalog.name)) s(name)
    join pg_catalog.pg_proc q on q.proname = s.name and q.oid >= 16384) x(f)),
body as (
  select p.oid, p.prosrc from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid = p.prolang
  where p.oid in (select f from call) and p.oid >= 16384 and l.lanname not in ('internal', 'c') and {}
    and not exists (select from pg_catalog.unnest(p.proconfig) s where s like 'search\_path=%')
    and not exists (select from pg_catalog.pg_depend d
      where d.classid = 1255 and d.objid = p.oid and d.deptype = 'e')),
word as (
  select b.oid, 1255 as kind, m[1] as name, true as hard from body b
  cross join lateral pg_catalog.regexp_matches(b.prosrc, '(?<![.\w$"])"?([A-Za-z_]\w*)"?\s*\(', 'g') m
  union
  select b.oid, 1259, m[1], true from body b cross join lateral pg_catalog.regexp_matches(b.prosrc,
    '\m(?:from|join|into|update|only|table)\s+"?([A-Za-z_]\w*)\M"?(?!\s*[.])', 'gi') m
  union
  select b.oid, 1259, m[1], false from body b
  cross join lateral pg_catalog.regexp_matches(b.prosrc, '''"?([A-Za-z_]\w*)"?''', 'g') m
  union
  select b.oid, 1247, m[1], true from body b
  cross join lateral pg_catalog.regexp_matches(b.prosrc, '(?<![.\w$"])([A-Za-z_]\w*)\M(?!"?\s*[.(])', 'g') m),
spelled as (
  select w.oid, w.kind, w.name, w.hard, s.name::pg_catalog.name as spelled from word w
  cross join lateral (values (w.name), (pg_catalog.lower(w.name))) s(name)),
trusted as (
  select r.oid from pg_catalog.pg_roles r where r.rolsuper or r.rolname = $4
  or r.rolname = 'pg_database_owner' and exists (select from pg_catalog.pg_database d
    join pg_catalog.pg_roles o on o.oid = d.datdba
    where d.datname = pg_catalog.current_database() and (o.rolsuper or o.rolname = $4))),
meant as (
  select w.oid, w.kind, w.name, x.n, pg_catalog.bool_or(w.hard and x.hard) as hard,
    pg_catalog.bool_or(x.o = any($8::pg_catalog.oid[]) or w.kind <> 1259 and x.n in (select c.relnamespace
        from pg_catalog.pg_class c where c.oid = any($1) or c.oid = any($9::pg_catalog.oid[]))
      or exists (select from pg_catalog.pg_depend d where d.classid = w.kind::pg_catalog.oid
        and d.objid = x.o and d.deptype = 'e')) as copied,
    pg_catalog.bool_or(not $7::pg_catalog.bool and not x.owner in (select oid from trusted)) as strange
  from spelled w cross join lateral (
    select p.oid, p.pronamespace, p.proowner, not exists (select from pg_catalog.pg_proc b
      where b.proname = p.proname and b.pronamespace = 11)
    from pg_catalog.pg_proc p where w.kind = 1255 and p.proname = w.spelled
    union all
    select c.oid, c.relnamespace, c.relowner, true from pg_catalog.pg_class c where w.kind = 1259
      and c.relname = w.spelled and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    union all
    select t.oid, t.typnamespace, t.typowner, true from pg_catalog.pg_type t where w.kind = 1247
      and t.typname = w.spelled and (t.typtype in ('b', 'd', 'e', 'r')
      or t.typtype = 'c' and exists (select from pg_catalog.pg_class c
        where c.oid = t.typrelid and c.relkind = 'c'))) x(o, n, owner, hard)
  join pg_catalog.pg_namespace n on n.oid = x.n
  where n.nspname !~ '^(pg|tailrace)_' and n.nspname not in ('information_schema', 'tailrace')
  group by w.oid, w.kind, w.name, x.n),
unsafe as (
  select n.oid, n.nspname from pg_catalog.pg_namespace n where n.nspname = any($6::pg_catalog.text[])
  or not $7::pg_catalog.bool and (not n.nspowner in (select oid from trusted)
    or exists (select from pg_catalog.aclexplode(n.nspacl) a
      where a.privilege_type = 'CREATE' and not a.grantee in (select oid from trusted))
    or exists (select from pg_catalog.pg_proc p
      where p.pronamespace = n.oid and not p.proowner in (select oid from trusted))
    or exists (select from pg_catalog.pg_operator p
      where p.oprnamespace = n.oid and not p.oprowner in (select oid from trusted)))),
verdict as (
  select m.oid, pg_catalog.bool_or(m.hard) as hard,
    (select pg_catalog.string_agg(distinct pg_catalog.quote_ident(n.nspname), ', ')
     from meant a join pg_catalog.pg_namespace n on n.oid = a.n where a.oid = m.oid) as path,
    coalesce((select pg_catalog.min(s.name || ' is in more than one schema') from (
       select a.name from meant a where a.oid = m.oid and (a.hard or a.kind = 1255)
       group by a.kind, a.name having pg_catalog.count(*) > 1) s),
      (select pg_catalog.min(a.name || ' is not copied') from meant a
       where a.oid = m.oid and a.hard and not a.copied),
      (select pg_catalog.min(a.name || ' belongs to somebody with fewer rights') from meant a
       where a.oid = m.oid and a.strange),
      (select pg_catalog.min('others may make things in the schema ' || u.nspname)
       from meant a join unsafe u on u.oid = a.n where a.oid = m.oid)) as why_not
  from meant m group by m.oid)
select v.oid, v.oid::pg_catalog.regprocedure, v.path, v.why_not, k.c, k.o,
  case k.c when 3350 then 'partition key of table ' || k.o::pg_catalog.regclass::pg_catalog.text
  when 3541 then 'canonical function of type ' || k.o::pg_catalog.regtype::pg_catalog.text
  when 2618 then 'contents of materialized view ' || (select w.ev_class::pg_catalog.regclass::pg_catalog.text
    from pg_catalog.pg_rewrite w where w.oid = k.o)
  else pg_catalog.pg_describe_object(k.c, k.o, 0) end
from verdict v join call k on k.f = v.oid where v.hard or v.why_not is null order by 1, 5, 6)sql";

[[noreturn]] void refuse_place(std::string_view what, std::string_view function, std::string_view why) {
  throw Error(
      Retry::needs_operator,
      fmt::format("the {} calls {}, which names what it uses without its schema, and {}", what, function, why),
      fmt::format("Tell it where to look, at the source: ALTER FUNCTION {} SET search_path = ...; or "
                  "make the table at the target by hand",
                  function));
}

std::vector<Oid> come_along(const Scope& scope) {
  std::vector<Oid> out;
  for (const auto* some :
       {&scope.tables, &scope.followed, &scope.types, &scope.functions, &scope.sequences, &scope.views})
    out.insert(out.end(), some->begin(), some->end());
  return out;
}

void add(std::string& list, std::string_view what) {
  if (!list.empty()) list += ", ";
  list += what;
}

}  // namespace

void read_paths(StructureDraft& draft) {
  if (!draft.evaluates) return;
  std::string open;
  for (const auto& schema : draft.options.open_schemas) add(open, quote_identifier(schema));
  auto rows = draft.source.query(
      fmt::format(leaning, evaluated_places(draft.from(), "$5"),
                  draft.from() >= 140000 ? "p.prosqlbody is null" : "true"),
      {as_array(draft.scope.tables), as_array(draft.scope.views), as_array(draft.scope.types), draft.acts_as(),
       draft.options.owners ? "true" : "false", "{" + open + "}", draft.options.trust_source ? "true" : "false",
       as_array(come_along(draft.scope)), as_array(draft.scope.followed)},
      "reading what functions name without its schema");
  std::set<Oid> copied(draft.scope.functions.begin(), draft.scope.functions.end());
  std::string with_path;
  std::string left_out;
  for (int row = 0; row < rows.rows(); ++row) {
    Object place{rows.oid(row, 4), rows.oid(row, 5)};
    if (draft.untrusted.contains(place)) continue;
    auto function = rows.oid(row, 0);
    if (rows.is_null(row, 3)) {
      if (copied.contains(function) &&
          draft.paths.emplace(function, fmt::format("pg_catalog, {}, pg_temp", rows.get(row, 2))).second)
        add(with_path, fmt::format("{} ({})", rows.get(row, 1), rows.get(row, 2)));
      continue;
    }
    if (place.catalog == catalog_oid::partitioned && draft.options.are_there) {
      draft.refused.emplace(place.oid,
                            fmt::format("the {} calls {}, which names what it uses without its schema, "
                                        "and {}",
                                        rows.get(row, 6), rows.get(row, 1), rows.get(row, 3)));
      continue;
    }
    if (place.catalog == catalog_oid::partitioned || place.catalog == catalog_oid::range)
      refuse_place(rows.get(row, 6), rows.get(row, 1), rows.get(row, 3));
    if (draft.cannot_run.insert(place).second)
      add(left_out, fmt::format("{} ({}: {})", rows.get(row, 6), rows.get(row, 1), rows.get(row, 3)));
  }
  if (!with_path.empty())
    log::warn("schema",
              "these functions name what they use without its schema, and the target calls them with an empty "
              "search_path: they are made with the one that they need: {}. ALTER FUNCTION ... SET search_path "
              "= ... at the source makes both ends the same",
              with_path);
  if (!left_out.empty())
    log::warn("schema",
              "left out of the target's structure, for a function names what it uses without its schema, and "
              "the target calls it with an empty search_path: {}. A generated column among these is a plain "
              "one at the target, which stays NULL. Tell the functions where to look, at both ends (ALTER "
              "FUNCTION ... SET search_path = ...), and make this at the target by hand",
              left_out);
}  // namespace

}  // namespace tailrace::schema
