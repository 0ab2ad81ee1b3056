#pragma once
// Strangers: what a target has of roles that are no superusers, by the names under which a structure that a
// superuser makes there might meet it.

#include <map>
#include <set>
#include <string>
#include <utility>

#include "pg/connection.h"

namespace tailrace::schema {

struct Strangers {
  using Name = std::pair<std::string, std::string>;  ///< schema, name
  using Names = std::set<Name>;
  Names routines;   ///< one of a name is enough: it may fit better than the one that is meant
  Names operators;  ///< likewise
  Names relations;  ///< views, materialized ones, foreign tables
  Names types;      ///< of anybody, that have code of theirs in them: a domain's check, a cast
  std::map<std::string, Name> running;  ///< those of which each value runs it, as regtype shows them

  bool operator==(const Strangers&) const = default;
  bool empty() const { return routines.empty() && operators.empty() && relations.empty() && types.empty(); }
};

/// For people.
inline constexpr const char* what_to_do_about_strangers =
    "Give what is called there to a superuser (ALTER ... OWNER TO), or drop it; or set schema.trust_source: on "
    "if whoever owns it is trusted with a superuser's rights";

/// Whether anybody but superusers has what could run there, or have something of theirs in it.
bool others_have_anything(pg::Connection& connection);

/// While we are a superuser: else there is nothing to be had from us.
Strangers read_strangers(pg::Connection& target);

}  // namespace tailrace::schema
