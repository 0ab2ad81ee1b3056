#include <algorithm>

#include "base/kill_point.h"
#include "base/log.h"
#include "base/sql_text.h"
#include "pipeline/session.h"
#include "pipeline/start_checks.h"

// Everything is copied anew, in place: because the slot is lost, or by wish. What is looked at comes first, and
// changes nothing. Then, in this order: the books say that no table is copied and that there is no position;
// the old slot goes; from there on it is a first start, which makes slot and snapshot, notes the position and
// copies. Ended anywhere in between, the next start goes on with it by itself, or finds a slot that it refuses.

namespace tailrace::pipeline {

/// The books were told to, and the new slot's position is not there yet.
bool Session::begins_anew() const {
  auto checkpoint = target_.checkpoint();
  return checkpoint && !checkpoint->slot.empty() && !checkpoint->lsn.valid();
}

/// It was copied once: somebody may be followed already, and nobody needs to watch.
bool Session::was_copied() const {
  return std::ranges::any_of(target_.tables(), [](const auto& record) { return record.copied_at.valid(); });
}

/// Of another cluster, what the books say is of other tables, unless it is the same one after a pg_upgrade:
/// that keeps the identities of all tables.
void Session::check_same_tables(const Checkpoint& checkpoint) {
  if (identity_.system_identifier == checkpoint.system_identifier) return;
  std::string known;
  for (const auto& record : target_.tables()) {
    known += fmt::format("{}({}, {}, {})", known.empty() ? "" : ", ", record.oid, quote_literal(record.schema),
                         quote_literal(record.name));
  }
  if (!known.empty()) {
    auto rows = connection_->query(
        fmt::format("select pg_catalog.count(*) filter (where c.oid = k.oid), "
                    "pg_catalog.count(*) filter (where c.oid <> k.oid), "
                    "pg_catalog.count(*) filter (where c.oid is null and exists "
                    "(select from pg_catalog.pg_class o where o.oid = k.oid)) "
                    "from (values {}) k(oid, schema_name, table_name) "
                    "left join pg_catalog.pg_namespace n on n.nspname = k.schema_name "
                    "left join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = k.table_name",
                    known),
        "looking for the tables of the target's books");
    if (rows.i64(0, 0) > 0 && rows.i64(0, 1) == 0 && rows.i64(0, 2) == 0) return;
  }
  throw Error(
      Retry::needs_operator,
      fmt::format("the target was filled from another PostgreSQL cluster (system identifier {}, this one "
                  "is {}), whose tables have other identities: it was not made by pg_upgrade",
                  checkpoint.system_identifier, identity_.system_identifier),
      "Nothing was written. Point the source at the cluster it was copied from, or name a new target: a "
      "new file, or an empty database");
}

/// Writes nothing. The slot that is to make room for the new one, if there is one.
std::optional<source::SlotInfo> Session::look_before_beginning_anew() {
  if (!config_.snapshot.enabled) {
    throw Error(
        Retry::needs_operator, "everything cannot be copied anew with snapshot.enabled: off",
        "Nothing was written. Run once with snapshot: {enabled: on} and --recopy-all, until it follows");
  }
  if (!copies_unasked()) {
    throw Error(
        Retry::needs_operator,
        "everything must be emptied at the target to be copied anew; with origin: none that is not done, "
        "for others follow the target",
        "Nothing was written. Tear down the mirror of the other direction, if there is one; run this one "
        "with origin: any and --recopy-all until it follows; then set up the other direction again, with "
        "snapshot: {enabled: off}");
  }
  auto checkpoint = target_.checkpoint();
  if (checkpoint && !checkpoint->slot.empty()) check_slot_name(config_, *checkpoint);
  bool behind = checkpoint && identity_.wal_position < checkpoint->lsn;
  if (is_standby(*connection_) && (behind || connection_->server_version() < 160000)) {
    throw Error(Retry::transient, "the server is a standby, from which everything cannot be copied anew",
                "This is waited out; name the primary if it stays so");
  }
  if (config_.slot.create) {
    return source::acquire_slot_to_replace(*connection_, config_.slot.name, stop_);
  }
  auto slot = source::read_slot(*connection_, config_.slot.name);
  if (!slot || source::is_lost(*slot)) {
    throw Error(Retry::needs_operator,
                fmt::format("replication slot \"{}\" {}, and slot.create is off", config_.slot.name,
                            slot ? "is lost" : "does not exist"),
                fmt::format("Nothing was written. {}'tailrace init --create-slot', then this again",
                            slot ? fmt::format("At the source: SELECT pg_drop_replication_slot({}); then ",
                                               quote_literal(config_.slot.name))
                                 : ""));
  }
  source::acquire_slot(*connection_, config_.slot.name, std::nullopt, stop_);
  refuse_lost_publication();
  return std::nullopt;
}

/// `slot`: of look_before_beginning_anew().
void Session::begin_anew(const std::optional<source::SlotInfo>& slot) {
  auto checkpoint = target_.checkpoint();
  auto tables = target_.tables();
  bool begun = checkpoint || !tables.empty();
  if (begun) {
    log::info("copy", "everything is copied anew, in place: {} tables", tables.size());
    // What commits there is in the new copy, or will never commit.
    if (auto* notes = target_.skips()) {
      for (const auto& note : notes->read()) {
        if (note.state == "waiting") notes->give_up(note.commit_lsn);
      }
    }
    target_.begin_anew({config_.slot.name,
                        identity_.system_identifier,
                        identity_.timeline,
                        {},
                        checkpoint ? checkpoint->commit_time : PgTimestamp{},
                        {}});
  }
  if (slot && (begun || source::is_lost(*slot))) {
    failover_ = slot->failover;
    source::drop_slot(*connection_, slot->name);
    kill_point("session.anew.dropped_slot");
  }
  *anew_ = false;
}

}  // namespace tailrace::pipeline
