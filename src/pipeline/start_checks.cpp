#include "pipeline/start_checks.h"

#include "base/copy_anew.h"
#include "model/seen_transactions.h"
#include "pipeline/published_tables.h"
#include "source/publication.h"

namespace tailrace::pipeline {
namespace {

/// Beyond what is flushed: a commit that its session did not wait for is seen, and copied, before it is.
Lsn written_position(pg::Connection& source) {
  return source
      .query(
          "select case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn() "
          "else pg_catalog.pg_current_wal_insert_lsn() end",
          "reading the source's position")
      .lsn(0, 0);
}

}  // namespace

bool is_standby(pg::Connection& source) {
  return source.query("select pg_catalog.pg_is_in_recovery()", "asking whether it is a standby").flag(0, 0);
}

void refuse_waiting_standby(const source::SystemIdentity& server, const Checkpoint& checkpoint,
                            pg::Connection& source) {
  bool earlier =
      server.system_identifier == checkpoint.system_identifier && server.timeline < checkpoint.timeline;
  // An old primary never gets there.
  if (!earlier || !is_standby(source)) return;
  throw Error(Retry::transient,
              fmt::format("the server is a standby on timeline {}, which has not followed the failover to "
                          "timeline {} yet",
                          server.timeline, checkpoint.timeline),
              "This is waited out; name the primary if it stays so");
}

void check_slot_name(const config::Config& config, const Checkpoint& checkpoint) {
  if (checkpoint.slot == config.slot.name) return;
  throw Error(Retry::needs_operator,
              fmt::format("the target follows slot \"{}\", but slot \"{}\" is configured", checkpoint.slot,
                          config.slot.name),
              fmt::format("Use --name or slot.name so that the slot is \"{}\", or name a new target file",
                          checkpoint.slot));
}

Error slot_is_gone(const config::Config& config, const Checkpoint& checkpoint) {
  return {Retry::needs_operator,
          fmt::format("replication slot \"{}\" does not exist any more: changes since {} cannot be had",
                      config.slot.name, checkpoint.lsn.str()),
          fmt::format("Nothing was written. {}. After a failover, slot.failover (PostgreSQL 17) lets standbys "
                      "have the slot",
                      copy_all_anew)};
}

void check_checkpoint(const config::Config& config, const source::SystemIdentity& server,
                      const Checkpoint& checkpoint, pg::Connection& source) {
  if (!checkpoint.system_identifier.empty()) {
    refuse_waiting_standby(server, checkpoint, source);
    source::check_same_cluster(server, checkpoint);
  }
  if (checkpoint.slot.empty() && config.snapshot.enabled) {
    throw Error(Retry::needs_operator, "the target was filled by 'tailrace snapshot', which follows nothing",
                "To copy all of it anew, in place, and follow the source: tailrace run --recopy-all. To go on "
                "from what is there, a slot must be older than it: snapshot: {enabled: off}, and "
                "docs/start-from-a-dump.md");
  }
  if (!checkpoint.slot.empty()) check_slot_name(config, checkpoint);
  if (server.wal_position >= checkpoint.lsn) return;
  // It has not replayed everything yet.
  if (is_standby(source)) {
    throw Error(Retry::transient,
                fmt::format("the server is a standby that has replayed up to {}, and the target has {} already",
                            server.wal_position.str(), checkpoint.lsn.str()));
  }
  // A dump's position, stated a moment ago, may not be flushed yet.
  if (written_position(source) >= checkpoint.lsn) return;
  throw Error(
      Retry::needs_operator,
      fmt::format("the server is at {}, behind what the target already has ({}): it is a standby that was "
                  "promoted, or a backup that was restored, without the last changes",
                  server.wal_position.str(), checkpoint.lsn.str()),
      copy_all_anew);
}

Lsn stated_position(const config::Config& config, pg::Connection& source, const source::SlotInfo& slot) {
  if (!config.start_lsn) return slot.confirmed_flush;
  if (*config.start_lsn < slot.confirmed_flush) {
    throw Error(
        Retry::needs_operator,
        fmt::format("start_lsn is {}, but slot \"{}\" begins at {}: the changes between are gone",
                    config.start_lsn->str(), slot.name, slot.confirmed_flush.str()),
        "Nothing was written. Take the rows anew while the slot is there, and state the position as of which "
        "they are");
  }
  Lsn written = written_position(source);
  if (*config.start_lsn > written) {
    throw Error(Retry::needs_operator,
                fmt::format("start_lsn is {}, but the source has written no further than {}",
                            config.start_lsn->str(), written.str()),
                "Nothing was written. State the position that pg_current_wal_insert_lsn() gave at this source");
  }
  return *config.start_lsn;
}

void check_rows_as_of(const config::Config& config, pg::Connection& source,
                      const std::optional<source::SlotInfo>& slot, const std::optional<Checkpoint>& taken,
                      std::size_t tables) {
  if (!taken && tables > 0) {
    throw Error(
        Retry::needs_operator,
        fmt::format("the target has a copy that was interrupted before it was whole ({} tables), and with "
                    "snapshot.enabled: off it would be taken for all there is",
                    tables),
        "Nothing was written. Finish it: 'tailrace snapshot' again, or run with snapshot: {enabled: on}; or "
        "'tailrace teardown', and bring rows of your own");
  }
  if (!slot && (taken || config.start_lsn)) {
    throw Error(
        Retry::needs_operator,
        fmt::format("replication slot \"{}\" does not exist, and one that is made now is younger than the "
                    "rows: changes between would be lost",
                    config.slot.name),
        "Nothing was written. Make the slot first ('tailrace init --create-slot'), then take the rows, then "
        "run this");
  }
  if (!slot) return;
  stated_position(config, source, *slot);
  if (!taken || config.start_lsn) return;
  if (!SeenTransactions::parse(taken->seen)) {
    throw Error(
        Retry::needs_operator,
        "the target does not say which transactions its snapshot showed: it was taken at a standby, or by an "
        "earlier tailrace",
        "If nothing was written at the source while it was taken, state its position: start_lsn: " +
            taken->lsn.str());
  }
  if (slot->confirmed_flush > taken->lsn) {
    throw Error(
        Retry::needs_operator,
        fmt::format("slot \"{}\" begins at {}, after the snapshot, which was taken at {}: the changes between "
                    "are gone",
                    slot->name, slot->confirmed_flush.str(), taken->lsn.str()),
        "Nothing was written. Take the snapshot again, into a new target, now that the slot is there");
  }
}

std::optional<std::string> doubt(const schema::ChangeSince& change) {
  if (change.made) {
    if (change.always_sent || !change.has_rows) return std::nullopt;
    return "it joined the publication after it was made, so that rows of before would be missing";
  }
  return "it may be another than the target's rows are of, because since the position as of which they are " +
         change.what;
}

std::set<Oid> coming_whole(const config::Config& config, pg::Connection& source,
                           const std::vector<schema::Table>& tables) {
  std::set<Oid> out;
  auto slot = source::read_slot(source, config.slot.name);
  if (!slot || stated_position(config, source, *slot) != slot->confirmed_flush) return out;
  std::vector<Oid> oids;
  for (const auto& table : tables) oids.push_back(table.oid);
  for (const auto& [table, change] :
       schema::changes_since(source, config.slot.name, config.publication.names, oids)) {
    if (change.made && !doubt(change)) out.insert(table);
  }
  return out;
}

std::vector<schema::Catalog::Wanted> wanted_at_start(const config::Config& config, pg::Connection& source) {
  auto spec = publication_spec(config);
  auto there = source::read_publications(source, spec.names);
  if (there && !(spec.create && there->managed)) return wanted_tables(*there);
  std::vector<schema::Catalog::Wanted> out;
  for (const auto& one : source::select_tables(source::read_catalog_tables(source), spec))
    out.push_back({one.table.oid, one.columns, one.where, {}});
  return out;
}

}  // namespace tailrace::pipeline
