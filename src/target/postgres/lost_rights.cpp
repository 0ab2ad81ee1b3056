#include "target/postgres/lost_rights.h"

#include <fmt/format.h>

#include "base/error.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* looking = "looking at what the target's user may do";

}  // namespace

void check_rights_on_books(pg::Connection& connection) {
  auto rows = connection.query(
      "with place as (select oid, nspowner from pg_catalog.pg_namespace where nspname = 'tailrace'), "
      "lacking as (select c.relname, p.privilege from pg_catalog.pg_class c join place on c.relnamespace = "
      "place.oid cross join (values (1, 'SELECT'), (2, 'INSERT'), (3, 'UPDATE'), (4, 'DELETE')) p(place, "
      "privilege) "
      "where c.relkind = 'r' and not pg_catalog.has_table_privilege(c.oid, p.privilege) order by 1, p.place) "
      "select pg_catalog.quote_ident(current_user), "
      "pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(nspowner)), "
      "pg_catalog.has_schema_privilege(oid, 'usage'), (select pg_catalog.string_agg(distinct privilege, ', ') "
      "from lacking), (select pg_catalog.format('%I', relname) from lacking limit 1), "
      "(select pg_catalog.count(distinct relname) from lacking) from place",
      looking);
  if (rows.rows() == 0) return;
  bool usage = rows.flag(0, 2);
  bool tables = !rows.is_null(0, 3);
  if (usage && !tables) return;
  auto role = rows.str(0, 0);
  auto more = rows.i64(0, 5) - 1;
  std::string lacks = usage ? "" : "USAGE on the schema tailrace";
  if (tables) {
    lacks += fmt::format("{}{} on tailrace.{}{}", usage ? "" : ", and ", rows.get(0, 3), rows.get(0, 4),
                         more > 0 ? fmt::format(" and {} more", more) : "");
  }
  throw Error(
      Retry::needs_operator,
      fmt::format("the target's user {} may not keep tailrace's own tables there: it lacks {}", role, lacks),
      fmt::format(
          "Nothing was applied. Connect to the target as {0}; or, at the target as {0}: {1}{2}", rows.get(0, 1),
          usage ? "" : fmt::format("GRANT USAGE, CREATE ON SCHEMA tailrace TO {}; ", role),
          fmt::format("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tailrace TO {};", role)));
}

void check_rights_on(pg::Connection& connection, const TableRecord& table) {
  auto rows = connection.query(
      fmt::format(
          "select pg_catalog.quote_ident(current_user), pg_catalog.quote_ident(n.nspname), "
          "pg_catalog.has_schema_privilege(n.oid, 'usage'), (select pg_catalog.string_agg(p.privilege, ', ' "
          "order by p.place) from (values (1, 'SELECT'), (2, 'INSERT'), (3, 'UPDATE'), (4, 'DELETE'), "
          "(5, 'TRUNCATE')) p(place, privilege) where not pg_catalog.has_table_privilege(c.oid, p.privilege)), "
          "pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)) "
          "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = "
          "{}",
          table.target_oid),
      looking);
  if (rows.rows() == 0) return;
  bool usage = rows.flag(0, 2);
  bool lacks = !rows.is_null(0, 3);
  if (usage && !lacks) return;
  auto role = rows.str(0, 0);
  std::string what = usage ? "" : fmt::format("USAGE on the schema {}", rows.get(0, 1));
  std::string grant = usage ? "" : fmt::format("GRANT USAGE ON SCHEMA {} TO {};", rows.get(0, 1), role);
  if (lacks) {
    what += fmt::format("{}{}", usage ? "" : ", and ", rows.get(0, 3));
    grant += fmt::format("{}GRANT {} ON {} TO {};", usage ? "" : " ", rows.get(0, 3), table.target_name, role);
  }
  throw TableRefused(
      table.oid,
      fmt::format("the target's user {} may not write to {}: it lacks {}", role, table.target_name, what),
      fmt::format("At the target, as {}: {}", rows.get(0, 4), grant));
}

}  // namespace tailrace::target::postgres
