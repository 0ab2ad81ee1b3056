#include "schema/role_rights.h"

#include <algorithm>

namespace tailrace::schema {

RoleRights read_role_rights(pg::Connection& connection) {
  auto rows = connection.query(
      "with recursive member (member, role) as (select member, roleid from pg_catalog.pg_auth_members union "
      "select m.member, a.roleid from member m join pg_catalog.pg_auth_members a on a.member = m.role), "
      "has (oid, what) as (select r.oid, x.what from pg_catalog.pg_roles r cross join lateral (values "
      "('SUPERUSER', rolsuper), ('BYPASSRLS', rolbypassrls), ('REPLICATION', rolreplication), ('CREATEROLE', "
      "rolcreaterole), ('CREATEDB', rolcreatedb)) x (what, has) where x.has "
      "union all select m.member, 'member of ' || r.rolname from member m join pg_catalog.pg_roles r on r.oid "
      "= m.role) "
      "select r.rolname, has.what from pg_catalog.pg_roles r left join has on has.oid = r.oid "
      "and (has.what = 'SUPERUSER' or not r.rolsuper)",
      "looking at what roles may do");
  RoleRights out;
  for (int row = 0; row < rows.rows(); ++row) {
    auto& rights = out[rows.str(row, 0)];
    if (!rows.is_null(row, 1)) rights.insert(rows.str(row, 1));
  }
  return out;
}

bool may_be_superuser(pg::Connection& connection) {
  return connection.query(std::string("select ") + superuser_here, "looking at what our role may do")
      .flag(0, 0);
}

std::set<std::string> stronger_there(const RoleRights& here, const RoleRights& there) {
  std::set<std::string> out;
  for (const auto& [role, rights] : here) {
    auto other = there.find(role);
    if (other == there.end() || rights.contains(superuser_right)) continue;
    if (!std::ranges::includes(rights, other->second)) out.insert(role);
  }
  return out;
}

std::set<std::string> superusers(const RoleRights& roles) {
  std::set<std::string> out;
  for (const auto& [role, rights] : roles) {
    if (rights.contains(superuser_right)) out.insert(role);
  }
  return out;
}

std::string as_text_array(const std::set<std::string>& texts) {
  return as_text_array(std::vector(texts.begin(), texts.end()));
}

std::string as_text_array(const std::vector<std::string>& texts) {
  std::string out = "{";
  for (const auto& text : texts) {
    out += out.size() > 1 ? ",\"" : "\"";
    for (char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  }
  return out + "}";
}

}  // namespace tailrace::schema
