#pragma once
// Names: which relations of the target are ours, and what they are called there. A relation is ours because the
// books have its object identifier, never because of its name: under the source's name somebody else's may
// stand.

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "pg/connection.h"
#include "target/postgres/target_table.h"
#include "target/target.h"

namespace tailrace::target::postgres {

using Records = std::map<Oid, TableRecord>;

/// The books say which relation is the table's; not so of one that is known by its name only.
bool has_relation(const Records& records, Oid table);

/// The record's relation, if it is still there under the name that it was left with. One that was renamed by
/// hand is its owner's again.
std::optional<TargetTable> find_own_table(pg::Connection& connection, const TableRecord& record);
/// The same; throws TableRefused where it is not.
TargetTable own_table(pg::Connection& connection, const TableRecord& record);

/// What stands at the target under a name.
struct Occupant {
  enum class Whose {
    nobody,
    ours,       ///< of `table`, a table of the source
    part,       ///< a partition of ours, of `table`
    somebodys,  ///< else's
  };
  Whose whose = Whose::nobody;
  Oid table = 0;
  Oid relation = 0;
  char kind = 'r';           ///< pg_class.relkind; t for a type that is no relation's
  std::string what() const;  ///< for people: "view", "table"
};

/// A name that the source gave to a table.
struct Claim {
  Oid table = 0;
  std::string schema;
  std::string name;
};

std::vector<Occupant> occupants(pg::Connection& connection, const Records& records,
                                const std::vector<Claim>& claims);

/// The sentence for a name that somebody else uses.
TableRefused taken(const Claim& claim, const Occupant& occupant, const TableRecord* record);

/// Makes the claims come true, in the connection's open transaction: our relations that stand under these names
/// for other tables are moved out of the way, into schemas of their own, with whatever bears a name for them
/// (indexes, sequences); then each claimant's relation, where it has one, gets its name. Changes the records
/// and gives those that it changed. A partition of ours that is in the way goes, if its root is to be copied
/// anyway. Throws TableRefused, having changed nothing, where a name is somebody else's.
std::set<Oid> take_names(pg::Connection& connection, Records& records, const std::vector<Claim>& claims);

/// SQL that gives the relation's sequences by which another table counts, having been made LIKE it, to nobody,
/// in this schema.
std::string hand_on_sequences(pg::Connection& connection, Oid relation, const std::string& schema);

/// Drops the record's relation that was moved out of the way, with the schema that it was moved to, in a
/// transaction of its own. Throws Error, having dropped nothing, where something depends on it.
void drop_moved(pg::Connection& connection, const TableRecord& record);

}  // namespace tailrace::target::postgres
