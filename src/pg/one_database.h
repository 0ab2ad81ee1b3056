#pragma once
// Whether two connections lead to the same database. Names, addresses and system identifiers cannot tell: a
// server has many of the first two, and a physical copy that was promoted keeps the last, and is a good target.
// What only one server can show is a lock: taken through one connection and seen through the other.
//
// PostgreSQL documentation: "Advisory Locks", "pg_locks".

#include "pg/connection.h"

namespace tailrace::pg {

/// Throws Error (needs_operator) when `target` leads to the database of `source`, or to a standby of its
/// server, which cannot be written to. Neither connection may be in a transaction; nothing is written. Through
/// a pooler too.
void refuse_one_database(Connection& source, Connection& target);

}  // namespace tailrace::pg
