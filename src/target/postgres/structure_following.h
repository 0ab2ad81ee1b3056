#pragma once
// Following structure: types and partitions that the source got since a table was made are made at the target,
// and views that gave way to a change come back.

#include <functional>
#include <vector>

#include "target/postgres/made_objects.h"
#include "target/postgres/names.h"

namespace tailrace::target::postgres {

/// Frees the name for a partition; false where what has it is not ours.
using MakeRoom = std::function<bool(const TableName&)>;
/// Before a partition is made of a table that is to be copied anew: rows of it may lie where the partition
/// takes them from its default one, and it may lack columns that the partition has.
using MakeReady = std::function<void(Oid)>;
/// A partition cannot be made of this table, for it is as the source has it now, and the table as it was then.
/// May throw; else the table is refused.
using OtherShape = std::function<void(Oid, const std::string& why)>;

/// The tables that the target has besides the `missing` ones, which are to be made. What the target's role does
/// not own, nothing can be made to inherit from.
std::vector<schema::FollowedTable> tables_there(pg::Connection& connection, const Records& records,
                                                const std::vector<Oid>& missing);

/// For these tables of the source, which the target has, in transactions of its own. Throws TableRefused for
/// one whose partitions cannot be made; notes in `made` what types differ. False: what belongs to several
/// tables could not be made, which was told.
bool follow_structure(pg::Connection& connection, MadeObjects& made, const Records& records,
                      const std::vector<Oid>& tables, const schema::ReadStructure& read,
                      schema::StructureOptions how, const MakeRoom& make_room, const MakeReady& make_ready,
                      const OtherShape& other_shape);

/// Throws TableRefused for a table that needs a type which is another at the target, or a name of a partition
/// that is taken there by somebody else's. `structure`: what makes the tables.
void check_makeable(pg::Connection& connection, const Records& records, const MadeObjects& made,
                    const std::vector<schema::Table>& tables, const schema::Structure& structure,
                    const MakeRoom& make_room);
void check_types(const MadeObjects& made, const schema::Table& table);

}  // namespace tailrace::target::postgres
