#include "schema/reading.h"

#include <fmt/format.h>

#include "base/error.h"

namespace tailrace::schema {
namespace {

template <typename Oids>
std::string as_list(const Oids& oids) {
  return fmt::format("{{{}}}", fmt::join(oids, ","));
}

}  // namespace

std::set<Oid> run_code_of_others(pg::Connection& source, const std::vector<Oid>& tables) {
  auto rows = source.query(
      "with leaf as (select t.oid as root, coalesce(p.relid::pg_catalog.oid, t.oid) as oid from "
      "pg_catalog.pg_class t "
      "left join lateral pg_catalog.pg_partition_tree(t.oid) p on t.relkind = 'p' "
      "where t.oid = any($1::pg_catalog.oid[]) and (select rolsuper from pg_catalog.pg_roles where rolname = "
      "current_user)"
      "), place as (select root, oid, 1259 as c, oid as o from leaf "
      "union all select l.root, l.oid, 1259, i.indexrelid from leaf l join pg_catalog.pg_index i on i.indrelid "
      "= l.oid "
      "union all select l.root, l.oid, 3381, s.oid from leaf l join pg_catalog.pg_statistic_ext s on "
      "s.stxrelid = l.oid) "
      "select distinct place.root from place join pg_catalog.pg_class t on t.oid = place.oid "
      "join pg_catalog.pg_roles owner on owner.oid = t.relowner "
      "join pg_catalog.pg_depend d on d.classid = place.c and d.objid = place.o and d.refclassid = 1255 "
      "join pg_catalog.pg_proc f on f.oid = d.refobjid join pg_catalog.pg_roles author on author.oid = "
      "f.proowner "
      "where not (owner.rolsuper and author.rolsuper) and not exists (select from pg_catalog.pg_depend e "
      "where e.classid = 1255 and e.objid = f.oid and e.deptype = 'e')",
      {as_list(tables)}, "looking at what reading a table runs");
  std::set<Oid> out;
  for (int row = 0; row < rows.rows(); ++row) out.insert(rows.oid(row, 0));
  return out;
}

void refuse_to_query(pg::Connection& source, const std::set<Oid>& tables) {
  auto names = source.query(
      "select pg_catalog.string_agg(oid::pg_catalog.regclass::pg_catalog.text, ', ' order by oid) "
      "from pg_catalog.pg_class where oid = any($1::pg_catalog.oid[])",
      {as_list(tables)}, "naming tables");
  throw Error(
      Retry::needs_operator,
      fmt::format(
          "a query of {} would run functions of its indexes, which others have written, with the rights "
          "of a superuser",
          names.get(0, 0)),
      "Connect to the source as a role that is no superuser, or set schema.trust_source: on if whoever may "
      "change these tables is trusted with a superuser's rights");
}

}  // namespace tailrace::schema
