#pragma once
// StructureBuilder: what structure needs beforehand, and what is made after the data: indexes, then
// everything else.

#include <set>
#include <string>

#include "base/stop.h"
#include "pg/connection.h"
#include "target/postgres/bookkeeping.h"
#include "target/postgres/index_builder.h"
#include "target/postgres/made_objects.h"
#include "target/postgres/postgres_target.h"

namespace tailrace::target::postgres {

/// How the structure is to be made for whoever we are there, who has the rights that we have.
schema::StructureOptions structure_options(pg::Connection& connection, const PostgresOptions& options);

/// Throws Error with the names of those that the target's server does not have.
void check_roles(pg::Connection& connection, const std::set<std::string>& roles);

/// Makes what the bookkeeping has pending and strikes it off. Returns early, with the rest still pending, when
/// a stop is requested. What has the name of one of its tables by now, and is not that table, is left alone.
void build_pending(pg::Connection& connection, Bookkeeping& books, const MadeObjects& made,
                   IndexBuilder& indexes, const StopSignal& stop);

}  // namespace tailrace::target::postgres
