#include "schema/own_books.h"

#include <fmt/format.h>

#include "schema/role_rights.h"

namespace tailrace::schema {

std::string is_believed_role() {
  return fmt::format(
      "(r.rolsuper or r.rolname in (current_user, session_user) or not {} and pg_catalog.pg_has_role("
      "current_user, r.oid, 'usage'))",
      superuser_here);
}

std::string lets_others_write(const std::string& owner) {
  return fmt::format(
      "a.privilege_type not in ('SELECT', 'USAGE') and not exists (select from pg_catalog.pg_roles g "
      "where g.oid = a.grantee and (g.rolsuper or g.rolname in (current_user, session_user) or "
      "pg_catalog.pg_has_role(g.oid, {}, 'member')))",
      owner);
}

Book look_at_book(pg::Connection& connection, const std::string& name, const std::string& columns, Oid type) {
  auto rows = connection.query(
      fmt::format(
          "select c.relkind = 'r' and not exists (select from pg_catalog.pg_roles r where r.oid in "
          "(n.nspowner, "
          "c.relowner) and not {0}) and not exists (select from pg_catalog.unnest($2::pg_catalog.text[]) w "
          "(name) "
          "where not exists (select from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attname = "
          "w.name and a.atttypid = {1} and a.attgenerated = '' and not a.attisdropped)), "
          "pg_catalog.has_schema_privilege(n.oid, 'usage') and pg_catalog.has_table_privilege(c.oid, "
          "'select'), "
          "exists (select from pg_catalog.aclexplode(c.relacl) a where {2}) or exists (select from "
          "pg_catalog.pg_attribute t cross join lateral pg_catalog.aclexplode(t.attacl) a where t.attrelid = "
          "c.oid and {2}) "
          "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
          "where n.nspname = 'tailrace' and c.relname = $1",
          is_believed_role(), type, lets_others_write("c.relowner")),
      {name, columns}, "looking whose the schema tailrace is");
  if (rows.rows() == 0) return {};
  return {true, rows.flag(0, 0), rows.flag(0, 1), rows.flag(0, 2)};
}

}  // namespace tailrace::schema
