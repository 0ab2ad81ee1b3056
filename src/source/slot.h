#pragma once
// Slot: the logical replication slot on the source: reading, judging, creating, dropping.

#include <optional>
#include <string>

#include "base/lsn.h"
#include "base/stop.h"
#include "model/checkpoint.h"
#include "pg/connection.h"

namespace tailrace::source {

/// IDENTIFY_SYSTEM: which cluster, and which life of it, we talk to.
struct SystemIdentity {
  std::string system_identifier;
  std::uint32_t timeline = 0;
  Lsn wal_position;
  std::string database;
};

/// A row of pg_replication_slots, and of pg_stat_replication for who reads it.
struct SlotInfo {
  std::string name;
  std::string plugin;
  std::string slot_type;  ///< logical or physical
  std::string database;   ///< the slot's; empty for physical ones
  std::string connected_database;
  bool temporary = false;
  bool two_phase = false;  ///< then its stream carries prepared transactions, asked for or not
  bool failover = false;
  bool synced = false;  ///< a standby's copy of a failover slot; readable only after promotion
  Lsn restart_lsn;
  Lsn confirmed_flush;
  std::string wal_status;            ///< reserved, extended, unreserved, lost
  std::int64_t safe_wal_size = -1;   ///< bytes of WAL until it may be lost; -1 no limit
  std::string invalidation_reason;   ///< 17+ (16: "conflict"); empty: valid
  std::int64_t retained_bytes = -1;  ///< WAL held back; -1 unknown

  int active_pid = 0;  ///< the server process that reads it, or its backlog; 0 none
  std::string active_application;
  std::string active_address;                    ///< host of that client; empty: local or not visible to us
  std::optional<PgTimestamp> active_reply_time;  ///< when that client last answered the server
  bool active_alive = false;                     ///< it was seen to answer while we watched

  bool operator==(const SlotInfo&) const = default;
};

/// A slot just made. The snapshot lives until the next command on the connection that made it, or its end.
struct CreatedSlot {
  std::string name;
  Lsn consistent_point;
  std::string snapshot;  ///< for SET TRANSACTION SNAPSHOT; empty if none was exported
};

struct CreateSlotOptions {
  bool temporary = false;
  bool failover = false;  ///< refused below 17
  bool export_snapshot = true;
};

SystemIdentity identify_system(pg::Connection& replication);

std::optional<SlotInfo> read_slot(pg::Connection& connection, const std::string& name);

/// Create the publication first: a slot cannot see a publication that is younger than its consistent point.
/// Waits for every transaction that is running on the source. Errors: no free slot, no privilege, pgoutput
/// not allowed, each with its remedy.
/// Begins a transaction that sees what the snapshot sees. Error(transient) when whoever exported it is gone.
void import_snapshot(pg::Connection& connection, const std::string& snapshot);

CreatedSlot create_slot(pg::Connection& replication, const std::string& name, const CreateSlotOptions& options);

/// The command that create_slot sends; pure.
std::string create_slot_command(const std::string& name, const CreateSlotOptions& options, int server_version);

/// False when there was none. An active slot is an Error(needs_operator).
bool drop_slot(pg::Connection& connection, const std::string& name);

/// Throws when the slot cannot be streamed from without losing or repeating changes. With a checkpoint, the
/// slot must not be ahead of it. Pure. Held by another client: needs_operator if that one is proven alive,
/// else transient.
void check_usable(const SlotInfo& slot, const std::optional<Checkpoint>& checkpoint);

/// Throws as check_usable() does where the slot is ahead of `start`. To be asked while we hold the slot: before
/// that, somebody else may have read from it since it was looked at, and the server begins at the slot's own
/// position then, and does not say so.
void check_not_passed(pg::Connection& connection, const std::string& name, Lsn start);

/// Throws when the target was filled from another cluster, or the server is an older life of it. Pure. A
/// later timeline is that of a promoted standby: see timeline.h.
void check_same_cluster(const SystemIdentity& server, const Checkpoint& checkpoint);

/// True when the server gave up on it.
bool is_lost(const SlotInfo& slot);

/// Reads the slot and checks it; while another server process holds it, watches for up to `patience`
/// whether its client still answers. nullopt: there is no such slot. A stop returns the last state unchecked.
std::optional<SlotInfo> acquire_slot(pg::Connection& connection, const std::string& name,
                                     const std::optional<Checkpoint>& checkpoint, const StopSignal& stop,
                                     std::chrono::milliseconds patience = std::chrono::seconds(35));
/// The same of a slot that is to make room for another of its name: it may be lost, and stand anywhere.
std::optional<SlotInfo> acquire_slot_to_replace(pg::Connection& connection, const std::string& name,
                                                const StopSignal& stop);

}  // namespace tailrace::source
