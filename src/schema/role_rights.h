#pragma once
// RoleRights: what a server's roles may do beyond what they were granted on objects, so that one of a name can
// be held against one of the same name elsewhere.

#include <map>
#include <set>
#include <string>
#include <vector>

#include "pg/connection.h"

namespace tailrace::schema {

inline constexpr const char* superuser_right = "SUPERUSER";

/// By role: its attributes, and the roles that it is a member of. A superuser has that alone.
using RoleRights = std::map<std::string, std::set<std::string>>;

RoleRights read_role_rights(pg::Connection& connection);

/// A condition in SQL: what runs in this session can have a superuser's rights, at once or by becoming another
/// role, which any code may, and which ends a role that the session only put on.
inline constexpr const char* superuser_here =
    "exists (select from pg_catalog.pg_roles su where su.rolsuper and (pg_catalog.pg_has_role(session_user, "
    "su.oid, 'member') or pg_catalog.pg_has_role(current_user, su.oid, 'member')))";
bool may_be_superuser(pg::Connection& connection);

/// The roles that may do more `there` than the ones of their names here.
std::set<std::string> stronger_there(const RoleRights& here, const RoleRights& there);

std::set<std::string> superusers(const RoleRights& roles);

/// As a parameter of type text[].
std::string as_text_array(const std::set<std::string>& texts);
std::string as_text_array(const std::vector<std::string>& texts);

}  // namespace tailrace::schema
