#pragma once
// LockWaits: who has locked tables of the source so that they cannot be read. Asked without waiting for
// anybody.

#include <map>
#include <set>
#include <string>

#include "base/lsn.h"
#include "pg/connection.h"

namespace tailrace::source {

/// Of these tables, and of their partitions, those that somebody has in ACCESS EXCLUSIVE mode, or waits to
/// have, and who, for people: "public.t, which is locked by pid 7 (user alice, psql, ...)".
std::map<Oid, std::string> locked_tables(pg::Connection& connection, const std::set<Oid>& tables);

}  // namespace tailrace::source
