#include "pipeline/session.h"

#include "base/kill_point.h"
#include "base/log.h"
#include "base/sql_text.h"
#include "pipeline/holding.h"
#include "pipeline/published_tables.h"
#include "pipeline/start_checks.h"
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

/// What is there is copied anew, so that only whose it is counts.
void Session::check_anew(const Checkpoint& checkpoint) {
  if (checkpoint.system_identifier.empty()) return;
  refuse_waiting_standby(identity_, checkpoint, *connection_);
  check_same_tables(checkpoint);
  if (identity_.system_identifier == checkpoint.system_identifier)
    source::check_same_cluster(identity_, checkpoint);
}

void Session::ensure_slot() {
  auto slot = source::acquire_slot(*connection_, config_.slot.name, target_.checkpoint(), stop_);
  if (!slot && is_standby(*connection_))
    throw Error(Retry::transient,
                fmt::format("the server is a standby, and has no slot \"{}\"", config_.slot.name),
                "This is waited out; name the primary if it stays so");
  if (!slot) throw slot_is_gone(config_, *target_.checkpoint());
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

void Session::begin_at(const source::SlotInfo& slot, Lsn position, const std::string& seen) {
  two_phase_ = slot.two_phase;
  failover_ = slot.failover;
  slot_position_ = slot.confirmed_flush;
  if (!position.valid()) return;
  target_.initialize(
      {config_.slot.name, identity_.system_identifier, identity_.timeline, position, PgTimestamp::now(), seen});
}

void Session::check_start(const std::optional<source::SlotInfo>& slot) const {
  if (begins_anew()) {
    throw Error(
        Retry::needs_operator,
        "everything is being copied anew, and with snapshot.enabled: off what is there would be taken for "
        "all of it",
        "Nothing was written. Run with snapshot: {enabled: on} until it follows");
  }
  check_rows_as_of(config_, *connection_, slot, target_.checkpoint(), target_.tables().size());
}

Lsn Session::stated_position(const source::SlotInfo& slot) const {
  return pipeline::stated_position(config_, *connection_, slot);
}

/// Nothing is written yet, and somebody is watching: what a target refuses of one table is told, not held.
void Session::check_before_writing(const std::vector<schema::Table>& tables) {
  auto refused = target_.check_tables(tables);
  if (!refused.empty()) throw as_error(refused.front());
  if (!config_.snapshot.enabled) target_.check_rows(tables, coming_whole(tables));
}

void Session::check_chosen_types() {
  if (!target_.chooses_otherwise()) return;
  using enum schema::Catalog::Detail;
  target_.check_chosen_types(catalog(config_, *connection_).tables(wanted_tables(publication_), definition));
}

/// The target's rows are those of 'tailrace snapshot'. What it showed is known by transaction, so a slot that
/// is older brings all the rest.
void Session::follow_a_snapshot() {
  auto slot = source::acquire_slot(*connection_, config_.slot.name, std::nullopt, stop_);
  if (stop_.requested()) return;
  check_start(slot);
  Lsn position = stated_position(*slot);
  check_chosen_types();
  auto tables = catalog(config_, *connection_).tables(wanted_tables(publication_));
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
