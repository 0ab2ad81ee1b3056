#include "source/catalog_marks.h"

#include <fmt/format.h>

#include "base/sql_text.h"

namespace tailrace::source {

std::string catalog_marks(pg::Connection& connection, const std::vector<std::string>& publications) {
  bool by_schema = connection.server_version() >= 150000;
  std::string names;
  for (const auto& name : publications) names += (names.empty() ? "" : ", ") + quote_literal(name);
  // An xmin tells of a row that was changed and changed back. That of pg_class changes with too much else.
  auto sum = [](const char* of) {
    return fmt::format("pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws(' ', {}), 0))", of);
  };
  auto row = connection.query(
      fmt::format(
          "with recursive pub as (select oid, xmin, puballtables from pg_catalog.pg_publication where pubname "
          "in "
          "({})), part as (select oid, xmin, prrelid from pg_catalog.pg_publication_rel where prpubid in "
          "(select "
          "oid from pub)), place as ({}), member (oid) as (select prrelid from part union select c.oid from "
          "pg_catalog.pg_class c where c.relkind in ('r', 'p') and c.relpersistence = 'p' and c.oid >= 16384 "
          "and "
          "(exists (select from pub where puballtables) or c.relnamespace in (select space from place)) union "
          "select i.inhrelid from member m join pg_catalog.pg_inherits i on i.inhparent = m.oid) "
          "select pg_catalog.concat_ws(' ', (select {} from pub), (select {} from part), (select {} from "
          "place), "
          "(select {} from pg_catalog.pg_inherits i where i.inhrelid in (select oid from member)), "
          "(select {} from member m join pg_catalog.pg_class c on c.oid = m.oid join pg_catalog.pg_namespace n "
          "on n.oid = c.relnamespace), (select {} from member m join pg_catalog.pg_attribute a on a.attrelid = "
          "m.oid where a.attnum > 0), (select {} from member m join pg_catalog.pg_depend d on d.classid = "
          "'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = m.oid and d.objsubid = 0 where "
          "d.refclassid = "
          "'pg_catalog.pg_namespace'::pg_catalog.regclass))",
          names,
          by_schema
              ? "select oid, xmin, pnnspid as space from pg_catalog.pg_publication_namespace where pnpubid "
                "in (select oid from pub)"
              : "select oid, xmin, oid as space from pg_catalog.pg_namespace where false",
          sum("oid, xmin"), sum("oid, xmin"), sum("oid, xmin"), sum("i.inhrelid, i.inhparent, i.xmin"),
          sum("c.oid, c.relkind, c.relispartition, c.relname, n.oid, n.nspname"),
          sum("a.attrelid, a.attnum, a.xmin"), sum("d.objid, d.xmin")),
      "looking whether the source's tables are altered");
  return row.str(0, 0);
}

}  // namespace tailrace::source
