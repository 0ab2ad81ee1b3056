#pragma once
// OwnBooks: whether a table of the schema `tailrace` is a tailrace's. Whoever may make schemas in a database
// can make one of that name, before any tailrace does.

#include <string>

#include "base/lsn.h"
#include "pg/connection.h"

namespace tailrace::schema {

struct Book {
  bool there = false;
  /// A table, which nobody made or can replace but a superuser, or a role whose rights are ours.
  bool believed = false;
  bool readable = false;  ///< by us
  bool shared = false;    ///< somebody else may write to it (lets_others_write)
};

/// `columns`: those that it must have, of this type, as a text[].
Book look_at_book(pg::Connection& connection, const std::string& name, const std::string& columns = "{}",
                  Oid type = 0);

/// A condition in SQL: the role `r` is such a one.
std::string is_believed_role();

/// A condition in SQL: the entry `a` of an access list (aclexplode) lets somebody put something into it, or
/// hang something on it, who could not anyway: neither a superuser nor us nor, as a member, the owner.
std::string lets_others_write(const std::string& owner);

}  // namespace tailrace::schema
