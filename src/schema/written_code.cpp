#include <algorithm>
#include <iterator>

#include "base/sql_text.h"
#include "schema/role_rights.h"
#include "schema/strangers.h"
#include "schema/structure_draft.h"
#include "schema/written_code.h"

namespace tailrace::schema {
namespace {

constexpr const char* looking = "looking at whose code the target's tables run";

/// Of the server's own functions and those of extensions, the ones that neither run what they are given as a
/// text or a name, nor show or touch what an ordinary role may not. What is immutable does none of that.
constexpr std::string_view harmless = R"((p.provolatile = 'i'
or p.oid < 16384 and p.provolatile = 's'
  and not p.proargtypes::pg_catalog.oid[] && '{2275,2281}'::pg_catalog.oid[]
  and (p.proname !~ '^(pg_|lo_|ts_|txid_|inet_|current_setting|.*_to_xml)' or p.proname = 'pg_typeof')
or p.proname in ('nextval', 'currval', 'lastval', 'random', 'random_normal', 'gen_random_uuid', 'uuidv4',
  'uuidv7', 'uuid_generate_v1', 'uuid_generate_v1mc', 'uuid_generate_v4',
  'clock_timestamp', 'timeofday', 'txid_current',
  'pg_current_xact_id', 'pg_backend_pid', 'suppress_redundant_updates_trigger', 'tsvector_update_trigger',
  'tsvector_update_trigger_column')))";

/// Whose key a row of one of the tables has to fit, too.
constexpr std::string_view keys_above = R"(
union all select 3350, p.partrelid, r.relowner, p.partexprs::pg_catalog.text
  from pg_catalog.pg_partitioned_table p join pg_catalog.pg_class r on r.oid = p.partrelid
where p.partexprs is not null and p.partrelid <> all($1) and p.partrelid in (select a.relid::pg_catalog.oid
  from pg_catalog.unnest($1) t cross join lateral pg_catalog.pg_partition_ancestors(t) a(relid)))";

/// Casts between types $6 and the server's own. Who gives an expression such a value has them called, also by
/// functions that are harmless (to_json). A cast is of whoever owns its type.
constexpr std::string_view casts = R"(
union all select 2605, k.oid, t.typowner, ':funcid ' || k.castfunc::pg_catalog.oid
from pg_catalog.pg_cast k join pg_catalog.pg_type t
  on t.oid = case when k.castsource >= 16384 then k.castsource else k.casttarget end
where k.castfunc <> 0 and t.oid >= 16384
  and (k.castsource < 16384 or k.castsource = any($6::pg_catalog.oid[]))
  and (k.casttarget < 16384 or k.casttarget = any($6::pg_catalog.oid[])))";

/// Types of users that an expression `t`.tree has anything to do with.
constexpr std::string_view types_in_tree = R"((
select m[1]::pg_catalog.oid
from pg_catalog.regexp_matches(t.tree, ':[a-z_]*type?(?:id)? ([0-9]+)', 'gi') m
union select s::pg_catalog.oid from pg_catalog.regexp_matches(t.tree, '\(o ([0-9 ]+)\)', 'g') m
cross join lateral pg_catalog.regexp_split_to_table(m[1], ' ') s))";

/// What a type `t` is made of.
std::string parts_of_type(int version) {
  return fmt::format(
      "(select t.typbasetype union all select t.typelem union all select r.rngsubtype from pg_catalog.pg_range "
      "r where r.rngtypid = t.oid{} union all select b.atttypid from pg_catalog.pg_attribute b "
      "where b.attrelid = t.typrelid and t.typrelid <> 0 and b.attnum > 0 and not b.attisdropped)",
      version >= 140000 ? " or r.rngmultitypid = t.oid" : "");
}

/// With what they are made of.
std::string with_parts(pg::Connection& connection, const std::string& types) {
  auto rows = connection.query(
      fmt::format("with recursive used (oid) as (select pg_catalog.unnest($1::pg_catalog.oid[]) "
                  "union select x.oid from used join pg_catalog.pg_type t on t.oid = used.oid "
                  "cross join lateral {} x (oid) where x.oid >= 16384) "
                  "select array(select oid from used order by oid)",
                  parts_of_type(connection.server_version())),
      {types}, looking);
  return rows.str(0, 0);
}

}  // namespace

/// The expressions of `places`, and of the views that these read.
static std::string trees_of(std::string_view places) {
  return fmt::format(R"(place as ({}),
tree as (
  select c, o, owner, tree from place
  union
  select t.c, t.o, t.owner, w.ev_action::pg_catalog.text
  from tree t cross join lateral pg_catalog.regexp_matches(t.tree, ':relid ([0-9]+)', 'g') m
  join pg_catalog.pg_class v on v.oid = m[1]::pg_catalog.oid and v.relkind = 'v' and v.oid >= 16384
  join pg_catalog.pg_rewrite w on w.ev_class = v.oid and w.rulename = '_RETURN'))",
                     places);
}

std::string what_must_not_run(std::string_view places, const Strange& strange) {
  return fmt::format(R"(
with recursive role as (
  select r.oid, r.rolname, r.rolsuper, r.rolname = any($4::pg_catalog.text[]) as trusted
  from pg_catalog.pg_roles r),
{},
call as (
  select t.c, t.o, t.owner, m[1]::pg_catalog.oid as f
  from tree t cross join lateral
  pg_catalog.regexp_matches(t.tree, ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([0-9]+)', 'g') m
  union
  select t.c, t.o, t.owner, op.oprcode::pg_catalog.oid
  from tree t cross join lateral pg_catalog.regexp_matches(t.tree, ':opno ([0-9]+)', 'g') m
  join pg_catalog.pg_operator op on op.oid = m[1]::pg_catalog.oid
  union
  select k.c, k.o, k.owner, d.refobjid from call k join pg_catalog.pg_depend d
  on d.classid = 1255 and d.objid = k.f and d.refclassid = 1255 and d.deptype = 'n'),
bad as (
  select k.c, k.o, k.owner, 'function ' || p.oid::pg_catalog.regprocedure::pg_catalog.text as what,
    k.f = any('{}'::pg_catalog.oid[]) as strange
  from call k join pg_catalog.pg_proc p on p.oid = k.f left join role a on a.oid = k.owner
  left join role b on b.oid = p.proowner
  cross join lateral (select p.oid < 16384 or coalesce(b.rolsuper, false) and exists (select
    from pg_catalog.pg_depend d
    where d.classid = 1255 and d.objid = p.oid and d.deptype = 'e') as installed) i
  where k.f = any('{}'::pg_catalog.oid[])
  or not case when coalesce(a.trusted, false) then i.installed or coalesce(b.trusted, false)
    else i.installed and {} end
  union all
  select t.c, t.o, t.owner, 'catalog ' || m[1]::pg_catalog.oid::pg_catalog.regclass::pg_catalog.text, false
  from tree t cross join lateral pg_catalog.regexp_matches(t.tree, ':relid ([0-9]+)', 'g') m
  left join role a on a.oid = t.owner
  where m[1]::pg_catalog.oid < 16384 and m[1] <> '0' and not coalesce(a.trusted, false)
  union all
  select t.c, t.o, t.owner, x.what, true from tree t cross join lateral (
    select 'operator ' || m[1]::pg_catalog.oid::pg_catalog.regoperator::pg_catalog.text
    from pg_catalog.regexp_matches(t.tree, ':opno ([0-9]+)', 'g') m
    where m[1]::pg_catalog.oid = any('{}'::pg_catalog.oid[])
    union all select 'relation ' || m[1]::pg_catalog.oid::pg_catalog.regclass::pg_catalog.text
    from pg_catalog.regexp_matches(t.tree, ':relid ([0-9]+)', 'g') m
    where m[1]::pg_catalog.oid = any('{}'::pg_catalog.oid[])
    union all select 'type ' || m.oid::pg_catalog.regtype::pg_catalog.text from {} m (oid)
    where m.oid = any('{}'::pg_catalog.oid[])) x (what))
select b.c, b.o, pg_catalog.min(b.what), (select rolname from role where role.oid = b.owner),
  case b.c when 3350 then 'partition key of table ' || b.o::pg_catalog.regclass::pg_catalog.text
  when 3541 then 'canonical function of type ' || b.o::pg_catalog.regtype::pg_catalog.text
  when 1247 then case when (select typtype from pg_catalog.pg_type t where t.oid = b.o) = 'd'
  then 'default of type '
    else 'subtype_diff of type ' end || b.o::pg_catalog.regtype::pg_catalog.text
  when 2618 then (select case when w.rulename = '_RETURN' then 'contents of materialized view '
    || w.ev_class::pg_catalog.regclass::pg_catalog.text
    else pg_catalog.pg_describe_object(b.c, b.o, 0) end from pg_catalog.pg_rewrite w where w.oid = b.o)
  else pg_catalog.pg_describe_object(b.c, b.o, 0) end, pg_catalog.bool_or(b.strange)
from bad b group by b.c, b.o, b.owner order by b.c, b.o)",
                     trees_of(places), as_array(strange.functions), as_array(strange.functions), harmless,
                     as_array(strange.operators), as_array(strange.relations), types_in_tree,
                     as_array(strange.types));
}

/// What the row of what_must_not_run() is about, for people.
std::string name_of_place(const pg::Result& rows, int row) {
  return fmt::format("{} of {} ({})", rows.get(row, 4), rows.get(row, 3), rows.get(row, 2));
}

std::string code_of_others(pg::Connection& connection, const std::vector<Oid>& tables) {
  if (tables.empty() || !may_be_superuser(connection) || !others_have_anything(connection)) return {};
  int version = connection.server_version();
  auto all = connection.query(
      "with leaf (oid) as (select oid from pg_catalog.pg_class where oid = any($1::pg_catalog.oid[]) "
      "union select p.relid::pg_catalog.oid from pg_catalog.pg_class t cross join lateral "
      "pg_catalog.pg_partition_tree(t.oid) p where t.oid = any($1::pg_catalog.oid[]) and t.relkind = 'p') "
      "select array(select oid from leaf), array(select a.atttypid from leaf join pg_catalog.pg_attribute a "
      "on a.attrelid = leaf.oid where a.attnum > 0 and not a.attisdropped and a.atttypid >= 16384)",
      {as_array(tables)}, looking);
  auto leaves = all.str(0, 0);
  auto used = with_parts(connection, all.str(0, 1));
  // tailrace's own triggers, on tables of anybody, whose conditions (2620 in pg_depend) call nothing but the
  // server's own, call nothing of anybody's; who owns the schema tailrace has been looked at.
  auto own = connection.query(
      "select t.oid from pg_catalog.pg_trigger t join pg_catalog.pg_proc p on p.oid = t.tgfoid "
      "join pg_catalog.pg_namespace n on n.oid = p.pronamespace where n.nspname = 'tailrace' and not "
      "exists (select from pg_catalog.pg_depend d where d.classid = 2620 and d.objid = t.oid and d.refclassid "
      "in (1255, 2617) and d.refobjid <> t.tgfoid)",
      looking);
  std::string ours;
  for (int row = 0; row < own.rows(); ++row) ours += fmt::format("{}{}", row == 0 ? "" : ",", own.oid(row, 0));
  auto places = fmt::format(
      "select c, o, owner, tree from ({}{}) p where c <> {} or o <> all('{{{}}}'::pg_catalog.oid[])",
      evaluated_places(version, "$5"), keys_above, catalog_oid::trigger, ours);
  // Expressions use types, and these may have expressions.
  std::string mentioned;
  for (std::string before; before != used || mentioned.empty();) {
    before = used;
    auto rows = connection.query(
        fmt::format("with recursive {}, seen as (select distinct x.oid from tree t cross join lateral {} "
                    "x (oid) where x.oid >= 16384) select array(select oid from seen), "
                    "array(select oid from seen union select pg_catalog.unnest($3::pg_catalog.oid[])) "
                    "from (select $4::pg_catalog.text, $5::pg_catalog.bool) unused",
                    trees_of(places), types_in_tree),
        {leaves, "{}", used, "", "false"}, looking);
    mentioned = with_parts(connection, rows.str(0, 0));
    used = with_parts(connection, rows.str(0, 1));
  }
  auto rows = connection.query(
      what_must_not_run(places + std::string(casts)),
      {leaves, "{}", used, as_text_array(superusers(read_role_rights(connection))), "false", mentioned},
      looking);
  std::string names;
  for (int row = 0; row < rows.rows(); ++row) {
    names += (names.empty() ? "" : ", ") + name_of_place(rows, row);
  }
  return names;
}

}  // namespace tailrace::schema
