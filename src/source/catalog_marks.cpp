#include "source/catalog_marks.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/sql_text.h"

namespace tailrace::source {

CatalogMarks catalog_marks(pg::Connection& connection, const std::vector<std::string>& publications) {
  bool by_schema = connection.server_version() >= 150000;
  std::string names;
  for (const auto& name : publications) names += (names.empty() ? "" : ", ") + quote_literal(name);
  // An xmin tells of a row that was changed and changed back. That of pg_class changes with too much else.
  auto hash = [](const char* of) {
    return fmt::format("pg_catalog.hashtextextended(pg_catalog.concat_ws(' ', {}), 0)", of);
  };
  auto rows = connection.query(
      fmt::format(
          "with recursive pub as (select oid, xmin, puballtables from pg_catalog.pg_publication where pubname "
          "in ({names})), part as (select oid, xmin, prrelid from pg_catalog.pg_publication_rel where prpubid "
          "in (select oid from pub)), place as ({place}), member (oid) as (select prrelid from part union "
          "select c.oid from pg_catalog.pg_class c where c.relkind in ('r', 'p') and c.relpersistence = 'p' "
          "and c.oid >= 16384 and (exists (select from pub where puballtables) or c.relnamespace in (select "
          "space from place)) union "
          "select i.inhrelid from member m join pg_catalog.pg_inherits i on i.inhparent = m.oid), "
          "heir as (select i.inhrelid, i.inhparent, {heir} as mark from pg_catalog.pg_inherits i where "
          "i.inhrelid in (select oid from member)), "
          "mark (oid, mark) as (select 0, {own} from pub union all select 0, {own} from place "
          "union all select prrelid, {own} from part "
          // Of both: a partition that came changes what its root has.
          "union all select inhrelid, mark from heir union all select inhparent, mark from heir "
          "union all select c.oid, {table} from member m join pg_catalog.pg_class c on c.oid = m.oid join "
          "pg_catalog.pg_namespace n on n.oid = c.relnamespace "
          "union all select a.attrelid, {column} from member m join pg_catalog.pg_attribute a on a.attrelid = "
          "m.oid where a.attnum > 0 "
          "union all select d.objid, {place_of} from member m join pg_catalog.pg_depend d on d.classid = "
          "'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = m.oid and d.objsubid = 0 where "
          "d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass) "
          "select oid, pg_catalog.sum(mark) from mark group by oid",
          fmt::arg("names", names),
          fmt::arg("place",
                   by_schema
                       ? "select oid, xmin, pnnspid as space from pg_catalog.pg_publication_namespace where "
                         "pnpubid in (select oid from pub)"
                       : "select oid, xmin, oid as space from pg_catalog.pg_namespace where false"),
          fmt::arg("own", hash("oid, xmin")), fmt::arg("heir", hash("i.inhrelid, i.inhparent, i.xmin")),
          fmt::arg("table", hash("c.oid, c.relkind, c.relispartition, c.relname, n.oid, n.nspname")),
          fmt::arg("column", hash("a.attrelid, a.attnum, a.xmin")),
          fmt::arg("place_of", hash("d.objid, d.xmin"))),
      "looking whether the source's tables are altered");
  CatalogMarks out;
  for (int row = 0; row < rows.rows(); ++row) {
    if (Oid oid = rows.oid(row, 0); oid != 0)
      out.tables.emplace(oid, rows.str(row, 1));
    else
      out.publications = rows.str(row, 1);
  }
  return out;
}

bool is_as_shown(const CatalogMarks& shown, const CatalogMarks& now) {
  return shown.publications == now.publications && std::ranges::all_of(shown.tables, [&](const auto& table) {
           auto found = now.tables.find(table.first);
           return found != now.tables.end() && found->second == table.second;
         });
}

}  // namespace tailrace::source
