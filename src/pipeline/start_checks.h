#pragma once
// What a start refuses before it writes anything, for the start itself and for whoever asks beforehand.

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/config.h"
#include "model/checkpoint.h"
#include "pg/connection.h"
#include "schema/catalog.h"
#include "schema/changes_since.h"
#include "source/slot.h"

namespace tailrace::pipeline {

/// A list of hosts, or an address that moves, leads to one for a moment.
bool is_standby(pg::Connection& source);

/// `source`, here and below: an SQL connection to that server. Throws Error(transient) of a server that has not
/// come to where the checkpoint is: waited out.
void refuse_waiting_standby(const source::SystemIdentity& server, const Checkpoint& checkpoint,
                            pg::Connection& source);

void check_slot_name(const config::Config& config, const Checkpoint& checkpoint);

/// Throws Error where what the target has cannot be gone on from at this server.
void check_checkpoint(const config::Config& config, const source::SystemIdentity& server,
                      const Checkpoint& checkpoint, pg::Connection& source);

/// The slot that the target's checkpoint is of is not there.
Error slot_is_gone(const config::Config& config, const Checkpoint& checkpoint);

/// The rows at the target are as of a position that the user states: the slot's own, or start_lsn. Throws Error
/// where that is none of the slot's.
Lsn stated_position(const config::Config& config, pg::Connection& source, const source::SlotInfo& slot);

/// With snapshot.enabled: off: throws Error where the rows that are there cannot be gone on from. Before
/// anything is written, and again once the slot is ours. `taken`: of 'tailrace snapshot', if anything is there;
/// `tables`: how many the target has.
void check_rows_as_of(const config::Config& config, pg::Connection& source,
                      const std::optional<source::SlotInfo>& slot, const std::optional<Checkpoint>& taken,
                      std::size_t tables);

/// Why not all of the table's rows are at the target or still to come; nothing: they are.
std::optional<std::string> doubt(const schema::ChangeSince& change);

/// Tables of which nothing was written before the stream begins: they were made after the slot. What a snapshot
/// showed, and what was written before start_lsn, does not come.
std::set<Oid> coming_whole(const config::Config& config, pg::Connection& source,
                           const std::vector<schema::Table>& tables);

/// What a start would follow, by the publication as it would be then; nothing is made.
std::vector<schema::Catalog::Wanted> wanted_at_start(const config::Config& config, pg::Connection& source);

}  // namespace tailrace::pipeline
