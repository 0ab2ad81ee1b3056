#pragma once
// Changes of a table's definition, as the source made them, at the target.

#include <set>

#include "pg/connection.h"
#include "target/postgres/made_objects.h"
#include "target/postgres/names.h"
#include "target/postgres/ties.h"
#include "target/target.h"

namespace tailrace::target::postgres {

/// Alters the table in the connection's transaction and brings the records up to date. What the target's owner
/// did there beforehand (a column that is there already) is taken as done. Gives the tables whose records
/// changed: where the source's new name was another one's of ours, that is moved out of the way. Throws
/// TableRefused where the table is not ours any more, or cannot have the name. `at`: the position of the source
/// that this is of; a table that was copied later has a newer claim to its name. `trusted`: what others have at
/// the target may run with our rights; else a column of such a type is refused.
std::set<Oid> evolve_table(pg::Connection& connection, Records& records, Oid table, const Evolution& evolution,
                           Lsn at, MadeObjects& made, Ties& ties, bool trusted);

/// Gives our table, which is empty, the columns of the source's, in the connection's open transaction: what is
/// known of it in the record is what it was made by. Columns that were given a wider type at the target keep
/// it.
void fit_columns(pg::Connection& connection, const Records& records, const schema::Table& table,
                 MadeObjects& made, Ties& ties, bool trusted);

}  // namespace tailrace::target::postgres
