#include "pipeline/session.h"

#include "base/copy_anew.h"
#include "base/kill_point.h"
#include "base/log.h"
#include "base/sql_text.h"
#include "pipeline/holding.h"
#include "pipeline/published_tables.h"
#include "schema/catalog.h"
#include "source/slot_waits.h"
#include "source/timeline.h"

// From which position a session goes on, and what of that is refused before anything is written.

namespace tailrace::pipeline {
namespace {

source::TellingWaits telling(const config::Config& config, StatusBoard& board) {
  return {config.source, config.name,
          [&](const std::string& what) { board.update([&](Status& status) { status.waiting_for = what; }); }};
}

}  // namespace

/// Tables without a checkpoint are of a snapshot that was interrupted, and as of a position that no slot knows.
void Session::forget_unfinished_snapshot() {
  for (const auto& record : target_.tables()) {
    if (record.copied) target_.mark_for_copy(record.oid, "it is of a snapshot that was interrupted");
  }
}

/// A list of hosts, or an address that moves, leads to one for a moment.
bool Session::is_standby() {
  return connection_->query("select pg_catalog.pg_is_in_recovery()", "asking whether it is a standby")
      .flag(0, 0);
}

void Session::check_cluster(const Checkpoint& checkpoint) {
  bool earlier =
      identity_.system_identifier == checkpoint.system_identifier && identity_.timeline < checkpoint.timeline;
  // An old primary never gets there.
  if (earlier && is_standby()) {
    throw Error(Retry::transient,
                fmt::format("the server is a standby on timeline {}, which has not followed the failover to "
                            "timeline {} yet",
                            identity_.timeline, checkpoint.timeline),
                "This is waited out; name the primary if it stays so");
  }
  if (wants_anew()) check_same_tables(checkpoint);
  if (!wants_anew() || identity_.system_identifier == checkpoint.system_identifier)
    source::check_same_cluster(identity_, checkpoint);
}

void Session::check_slot_name(const Checkpoint& checkpoint) const {
  if (checkpoint.slot == config_.slot.name) return;
  throw Error(Retry::needs_operator,
              fmt::format("the target follows slot \"{}\", but slot \"{}\" is configured", checkpoint.slot,
                          config_.slot.name),
              fmt::format("Use --name or slot.name so that the slot is \"{}\", or name a new target file",
                          checkpoint.slot));
}

void Session::check_position(const Checkpoint& checkpoint) {
  if (checkpoint.slot.empty() && config_.snapshot.enabled) {
    throw Error(Retry::needs_operator, "the target was filled by 'tailrace snapshot', which follows nothing",
                "To copy all of it anew, in place, and follow the source: tailrace run --recopy-all. To go on "
                "from what is "
                "there, a slot must be older than it: snapshot: {enabled: off}, and docs/start-from-a-dump.md");
  }
  if (!checkpoint.slot.empty()) check_slot_name(checkpoint);
  if (identity_.wal_position < checkpoint.lsn) {
    // It has not replayed everything yet.
    if (is_standby()) {
      throw Error(
          Retry::transient,
          fmt::format("the server is a standby that has replayed up to {}, and the target has {} already",
                      identity_.wal_position.str(), checkpoint.lsn.str()));
    }
    throw Error(
        Retry::needs_operator,
        fmt::format("the server is at {}, behind what the target already has ({}): it is a standby that was "
                    "promoted, or a backup that was restored, without the last changes",
                    identity_.wal_position.str(), checkpoint.lsn.str()),
        tailrace::copy_all_anew);
  }
}

void Session::ensure_slot() {
  auto slot = source::acquire_slot(*connection_, config_.slot.name, target_.checkpoint(), stop_);
  if (!slot && is_standby())
    throw Error(Retry::transient,
                fmt::format("the server is a standby, and has no slot \"{}\"", config_.slot.name),
                "This is waited out; name the primary if it stays so");
  if (!slot) {
    throw Error(
        Retry::needs_operator,
        fmt::format("replication slot \"{}\" does not exist any more: changes since {} cannot be had",
                    config_.slot.name, target_.checkpoint()->lsn.str()),
        fmt::format("Nothing was written. {}. After a failover, slot.failover (PostgreSQL 17) lets standbys "
                    "have the slot",
                    tailrace::copy_all_anew));
  }
  auto checkpoint = target_.checkpoint();
  if (!checkpoint->system_identifier.empty() && identity_.timeline > checkpoint->timeline)
    source::check_history(source::read_timeline_history(*replication_, identity_.timeline), *checkpoint,
                          slot->confirmed_flush);
  two_phase_ = slot->two_phase;
  failover_ = slot->failover;
  slot_position_ = slot->confirmed_flush;
}

/// From here on an old primary, which is on an earlier timeline, is recognised.
void Session::note_timeline() {
  auto checkpoint = target_.checkpoint();
  if (!checkpoint || checkpoint->timeline == identity_.timeline) return;
  checkpoint->timeline = identity_.timeline;
  target_.initialize(*checkpoint);
}

/// The rows at the target are as of a position that the user states: the slot's own, or start_lsn.
Lsn Session::stated_position(const source::SlotInfo& slot) const {
  if (!config_.start_lsn) return slot.confirmed_flush;
  if (*config_.start_lsn < slot.confirmed_flush) {
    throw Error(
        Retry::needs_operator,
        fmt::format("start_lsn is {}, but slot \"{}\" begins at {}: the changes between are gone",
                    config_.start_lsn->str(), slot.name, slot.confirmed_flush.str()),
        "Nothing was written. Take the rows anew while the slot is there, and state the position as of which "
        "they are");
  }
  // A commit that its session did not wait for is seen, and in a dump, before it is written.
  auto inserted = connection_->query(
      "select case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn() "
      "else pg_catalog.pg_current_wal_insert_lsn() end",
      "reading the source's position");
  if (*config_.start_lsn > inserted.lsn(0, 0)) {
    throw Error(Retry::needs_operator,
                fmt::format("start_lsn is {}, but the source has written no further than {}",
                            config_.start_lsn->str(), inserted.lsn(0, 0).str()),
                "Nothing was written. State the position that pg_current_wal_insert_lsn() gave at this source");
  }
  return *config_.start_lsn;
}

void Session::begin_at(const source::SlotInfo& slot, Lsn position, const std::string& seen) {
  two_phase_ = slot.two_phase;
  failover_ = slot.failover;
  slot_position_ = slot.confirmed_flush;
  if (!position.valid()) return;
  target_.initialize(
      {config_.slot.name, identity_.system_identifier, identity_.timeline, position, PgTimestamp::now(), seen});
}

/// Whether the rows that are there can be gone on from. Before anything is written, and again once the slot is
/// ours.
void Session::check_start(const std::optional<source::SlotInfo>& slot) const {
  if (begins_anew()) {
    throw Error(
        Retry::needs_operator,
        "everything is being copied anew, and with snapshot.enabled: off what is there would be taken for "
        "all of it",
        "Nothing was written. Run with snapshot: {enabled: on} until it follows");
  }
  auto taken = target_.checkpoint();  // of 'tailrace snapshot', if anything is there
  if (!taken && !target_.tables().empty()) {
    throw Error(
        Retry::needs_operator,
        fmt::format("the target has a copy that was interrupted before it was whole ({} tables), and with "
                    "snapshot.enabled: off it would be taken for all there is",
                    target_.tables().size()),
        "Nothing was written. Finish it: 'tailrace snapshot' again, or run with snapshot: {enabled: on}; or "
        "'tailrace teardown', and bring rows of your own");
  }
  if (!slot && (taken || config_.start_lsn)) {
    throw Error(
        Retry::needs_operator,
        fmt::format("replication slot \"{}\" does not exist, and one that is made now is younger than the "
                    "rows: changes between would be lost",
                    config_.slot.name),
        "Nothing was written. Make the slot first ('tailrace init --create-slot'), then take the rows, then "
        "run this");
  }
  if (!slot) return;
  stated_position(*slot);
  if (!taken || config_.start_lsn) return;
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

/// Nothing is written yet, and somebody is watching: what a target refuses of one table is told, not held.
void Session::check_before_writing(const std::vector<schema::Table>& tables) {
  auto refused = target_.check_tables(tables);
  if (!refused.empty()) throw as_error(refused.front());
  if (!config_.snapshot.enabled) target_.check_rows(tables, coming_whole(tables));
}

/// The target's rows are those of 'tailrace snapshot'. What it showed is known by transaction, so a slot that
/// is older brings all the rest.
void Session::follow_a_snapshot() {
  auto slot = source::acquire_slot(*connection_, config_.slot.name, std::nullopt, stop_);
  if (stop_.requested()) return;
  check_start(slot);
  Lsn position = stated_position(*slot);
  auto tables = schema::Catalog(*connection_).tables(wanted_tables(publication_));
  check_before_writing(tables);
  refuse_altered_since_snapshot(tables, position);
  for (const auto& table : tables) target_.adopt(table, position);
  begin_at(*slot, position, config_.start_lsn ? "" : target_.checkpoint()->seen);
}

/// What ends before the first row leaves a checkpoint, and tables that look as if they had no rows.
void Session::expect_copies() {
  if (!config_.snapshot.enabled) return;
  first_copy_ = !was_copied();
  std::vector<target::Target::NamedTable> tables;
  for (const auto& table : publication_.tables) tables.push_back({table.oid, table.schema, table.name});
  target_.expect_copies(tables);
}

/// The publication exists by now: a slot cannot see one that is younger than itself.
std::optional<CopySnapshot> Session::create_main_slot() {
  Checkpoint checkpoint{
      config_.slot.name, identity_.system_identifier, identity_.timeline, {}, PgTimestamp::now()};
  if (auto slot = source::acquire_slot(*connection_, config_.slot.name, std::nullopt, stop_)) {
    // Made by 'init', or by a run that ended before its first checkpoint. Its changes begin where it stands;
    // the copy is made under a later snapshot, and what lies between is left out table by table.
    expect_copies();
    begin_at(*slot, config_.snapshot.enabled ? slot->confirmed_flush : stated_position(*slot), {});
    return std::nullopt;
  }
  if (!config_.slot.create) {
    throw Error(Retry::needs_operator, fmt::format("replication slot \"{}\" does not exist", config_.slot.name),
                "Run 'tailrace init --create-slot', or let this run create it (slot.create: true)");
  }
  auto exporter = replication();
  log::info("source", "creating slot {}; this waits for the transactions that are running now",
            config_.slot.name);
  // One that was dropped for it may have been made with more than is configured.
  failover_ = failover_ || config_.slot.failover;
  auto created = source::create_slot_telling(*exporter, config_.slot.name, {false, failover_, true},
                                             telling(config_, board_));
  kill_point("session.slot.made");
  if (first_ != nullptr) first_->made_slot();
  checkpoint.lsn = slot_position_ = created.consistent_point;
  expect_copies();
  target_.initialize(checkpoint);
  return CopySnapshot{std::move(exporter), created.snapshot, created.consistent_point};
}

/// Before it is made anew, or a table is marked for a copy that could not be followed afterwards.
void Session::refuse_lost_publication() {
  if (connection_->server_version() >= 180000) return;
  auto now = source::read_publications(*connection_, config_.publication.names, source::Filters::as_stored);
  if (now && outdated_tables(*now, target_).empty()) return;
  auto peek = pg::Connection::open(config_.source, {pg::Mode::sql, config_.name});
  peek.leave_on(stop_);
  source::check_known_to_slot(peek, config_.slot.name, config_.publication.names, !now);
}

}  // namespace tailrace::pipeline
