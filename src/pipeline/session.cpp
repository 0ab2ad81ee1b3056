#include "pipeline/session.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <thread>

#include "base/log.h"
#include "base/short_turns.h"
#include "base/sql_text.h"
#include "config/validation.h"
#include "pipeline/holding.h"
#include "pipeline/interrupter.h"
#include "pipeline/published_tables.h"
#include "pipeline/table_copier.h"
#include "schema/catalog.h"
#include "source/backlog_stream.h"
#include "source/foreign_rows.h"
#include "source/replication_stream.h"

namespace tailrace::pipeline {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto observe_every = 1s;
constexpr auto look_every = 10s;
constexpr auto look_again_after = 1s;
constexpr auto tidy_after = 5s;
// For queries that read a catalog; what waits for locks or running transactions has no such limit.
constexpr auto query_patience = 30s;

std::int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t size = 0;
  std::int64_t resident = 0;
  statm >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

void warn_of_foreign_rows(pg::Connection& source, const std::vector<schema::Table>& tables) {
  std::vector<Oid> oids;
  for (const auto& table : tables) oids.push_back(table.oid);
  auto names = source::tables_filled_from_elsewhere(source, oids);
  if (names.empty()) return;
  log::warn("copy",
            "origin: none leaves out changes that came to the source by replication, but not rows that did "
            "before: the copy of {} holds them",
            names);
}

/// It was copied once, and is not followed.
bool has_left(const target::TableRecord& record) {
  return !record.copied && !record.is_held() && record.copied_at.valid();
}

void mark_left(TableStatus& table) {
  table.state = TableState::stopped;
  table.last_error.clear();
  table.note = "not published any more; what is there stays";
}

}  // namespace

Session::Session(const config::Config& config, target::Target& target, StatusBoard& board,
                 const StopSignal& stop, Looks& looks, std::function<void(Applier*)> started)
    : config_(config),
      target_(target),
      board_(board),
      stop_(stop),
      looks_(looks),
      started_(std::move(started)) {}

void Session::run() {
  connect();
  auto checkpoint = target_.checkpoint();
  bool following = checkpoint && !checkpoint->slot.empty();
  if (!following && !config_.snapshot.enabled) check_start(source::read_slot(*connection_, config_.slot.name));
  if (following) {
    ensure_slot();
    refuse_lost_publication();
  }
  auto outcome = source::ensure_publication(*connection_, publication_spec(config_));
  for (const auto& warning : outcome.warnings) log::warn("source", "{}", warning);
  publication_ = std::move(outcome.info);
  std::optional<Snapshot> snapshot;
  if (following) {
    forget_outdated_tables();
  } else if (checkpoint) {
    follow_a_snapshot();
  } else {
    if (config_.snapshot.enabled) forget_unfinished_snapshot();
    auto tables = schema::Catalog(*connection_).tables(wanted_tables(publication_));
    check_before_writing(tables);
    snapshot = create_main_slot();
  }
  if (stop_.requested()) return;
  {
    Interrupter interrupter(target_, stop_);
    copy_missing(std::move(snapshot));
    if (stop_.requested()) return;
    target_.complete_structure(stop_);
  }
  if (stop_.requested()) return;
  if (target_.wants_structure()) follow_structure();
  stream();
}

void Session::follow_structure() {
  connection_->query("begin isolation level repeatable read read only", "reading the source's structure");
  target_.follow_structure(
      [&](const auto& tables, const auto& how) { return schema::read_structure(*connection_, tables, how); });
  connection_->query("commit", "reading the source's structure");
}

/// Tables without a checkpoint are of a snapshot that was interrupted, and as of a position that no slot knows.
void Session::forget_unfinished_snapshot() {
  for (const auto& record : target_.tables()) {
    if (record.copied) target_.mark_for_copy(record.oid, "it is of a snapshot that was interrupted");
  }
}

void Session::connect() {
  pg::ConnectOptions options;
  options.application_name = config_.name;
  options.connect_timeout_seconds =
      static_cast<int>(std::max<std::int64_t>(config_.connect.timeout.count() / 1000, 2));
  connection_ = std::make_unique<pg::Connection>(pg::Connection::open(config_.source, options));
  connection_->set_patience(query_patience);
  connection_->leave_on(stop_);
  options.mode = pg::Mode::replication;
  auto replication = pg::Connection::open(config_.source, options);
  replication.set_patience(query_patience);
  replication.leave_on(stop_);
  identity_ = source::identify_system(replication);
  board_.update([&](Status& status) {
    status.server_version = connection_->server_version();
    status.source_lsn = identity_.wal_position;
  });
  target_.follows(identity_.system_identifier + "/" + identity_.database);
  if (auto checkpoint = target_.checkpoint()) {
    if (!checkpoint->system_identifier.empty()) source::check_same_cluster(identity_, *checkpoint);
    check_position(*checkpoint);
  }
}

/// A list of hosts, or an address that moves, leads to one for a moment.
bool Session::is_standby() {
  return connection_->query("select pg_catalog.pg_is_in_recovery()", "asking whether it is a standby")
      .flag(0, 0);
}

void Session::check_position(const Checkpoint& checkpoint) {
  if (checkpoint.slot.empty() && config_.snapshot.enabled) {
    throw Error(
        Retry::needs_operator, "the target was filled by 'tailrace snapshot', which follows nothing",
        "Name a new target to copy and follow the source. To go on from what is there, a slot must be older "
        "than it: snapshot: {enabled: off}, and docs/start-from-a-dump.md");
  }
  if (!checkpoint.slot.empty() && checkpoint.slot != config_.slot.name) {
    throw Error(Retry::needs_operator,
                fmt::format("the target follows slot \"{}\", but slot \"{}\" is configured", checkpoint.slot,
                            config_.slot.name),
                fmt::format("Use --name or slot.name so that the slot is \"{}\", or name a new target file",
                            checkpoint.slot));
  }
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
        "Copy anew: 'tailrace teardown', then run with a new target file");
  }
}

void Session::ensure_slot() {
  auto slot = source::acquire_slot(*connection_, config_.slot.name, target_.checkpoint(), stop_);
  if (!slot && is_standby())
    throw Error(Retry::transient,
                fmt::format("the server is a standby, and has no slot \"{}\"", config_.slot.name),
                "This is waited out; name the primary if it stays so");
  if (!slot) {
    throw Error(Retry::needs_operator,
                fmt::format("replication slot \"{}\" does not exist any more: changes since {} cannot be had",
                            config_.slot.name, target_.checkpoint()->lsn.str()),
                "Nothing was written. Copy anew: 'tailrace teardown', then run with a new target file; after a "
                "failover, use slot.failover (PostgreSQL 17) so that standbys have the slot");
  }
  two_phase_ = slot->two_phase;
  failover_ = slot->failover;
  slot_position_ = slot->confirmed_flush;
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
  if (*config_.start_lsn > identity_.wal_position) {
    throw Error(Retry::needs_operator,
                fmt::format("start_lsn is {}, but the source has written no further than {}",
                            config_.start_lsn->str(), identity_.wal_position.str()),
                "Nothing was written. State the position that pg_current_wal_lsn() gave at this source");
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
  auto taken = target_.checkpoint();  // of 'tailrace snapshot', if anything is there
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
  if (!config_.snapshot.enabled) target_.check_rows(tables);
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
  for (const auto& table : tables) target_.adopt(table, position);
  begin_at(*slot, position, config_.start_lsn ? "" : target_.checkpoint()->seen);
}

/// The publication exists by now: a slot cannot see one that is younger than itself.
std::optional<Session::Snapshot> Session::create_main_slot() {
  Checkpoint checkpoint{
      config_.slot.name, identity_.system_identifier, identity_.timeline, {}, PgTimestamp::now()};
  if (auto slot = source::acquire_slot(*connection_, config_.slot.name, std::nullopt, stop_)) {
    // Made by 'init', or by a run that ended before its first checkpoint. Its changes begin where it stands;
    // the copy is made under a later snapshot, and what lies between is left out table by table.
    begin_at(*slot, config_.snapshot.enabled ? slot->confirmed_flush : stated_position(*slot), {});
    return std::nullopt;
  }
  if (!config_.slot.create) {
    throw Error(Retry::needs_operator, fmt::format("replication slot \"{}\" does not exist", config_.slot.name),
                "Run 'tailrace init --create-slot', or let this run create it (slot.create: true)");
  }
  pg::ConnectOptions options;
  options.mode = pg::Mode::replication;
  options.application_name = config_.name;
  auto exporter = std::make_unique<pg::Connection>(pg::Connection::open(config_.source, options));
  exporter->leave_on(stop_);
  log::info("source", "creating slot {}; this waits for the transactions that are running now",
            config_.slot.name);
  auto created = source::create_slot(*exporter, config_.slot.name, {false, config_.slot.failover, true});
  failover_ = config_.slot.failover;
  checkpoint.lsn = slot_position_ = created.consistent_point;
  target_.initialize(checkpoint);
  return Snapshot{std::move(exporter), created.snapshot, created.consistent_point};
}

Session::Snapshot Session::temporary_snapshot() {
  pg::ConnectOptions options;
  options.mode = pg::Mode::replication;
  options.application_name = config_.name + " snapshot";
  auto exporter = std::make_unique<pg::Connection>(pg::Connection::open(config_.source, options));
  exporter->leave_on(stop_);
  std::string name = fmt::format("{}_copy_{}", config_.slot.name.substr(0, 40), exporter->backend_pid());
  auto created = source::create_slot(*exporter, name, {true, false, true});
  return Snapshot{std::move(exporter), created.snapshot, created.consistent_point};
}

/// Before it is made anew, or a table is marked for a copy that could not be followed afterwards.
void Session::refuse_lost_publication() {
  if (connection_->server_version() >= 180000) return;
  auto now = source::read_publications(*connection_, config_.publication.names);
  if (now && outdated_tables(*now, target_).empty()) return;
  auto peek = pg::Connection::open(config_.source, {pg::Mode::sql, config_.name});
  peek.leave_on(stop_);
  source::check_known_to_slot(peek, config_.slot.name, config_.publication.names, !now);
}

void Session::forget_outdated_tables() {
  for (const auto& [table, reason] : outdated_tables(publication_, target_))
    target_.mark_for_copy(table, reason);
}

/// A table that was dropped at the source and made again under its name takes the name over here too.
void Session::drop_replaced_tables() {
  std::set<Oid> published;
  std::set<std::string> names;
  for (const auto& table : publication_.tables) {
    published.insert(table.oid);
    names.insert(table.schema + "." + table.name);
  }
  for (const auto& record : target_.tables()) {
    if (!published.contains(record.oid) && names.contains(record.schema + "." + record.name))
      target_.give_up_name(record.oid);
  }
}

/// Those that are published and not held.
std::vector<schema::Catalog::Wanted> Session::followed_tables() const {
  std::set<Oid> held;
  for (const auto& record : target_.tables()) {
    if (record.is_held()) held.insert(record.oid);
  }
  auto out = wanted_tables(publication_);
  std::erase_if(out, [&](const auto& table) { return held.contains(table.oid); });
  return out;
}

std::vector<schema::Table> Session::tables_to_copy(pg::Connection& connection) {
  std::set<Oid> copied;
  for (const auto& record : target_.tables()) {
    if (record.copied) copied.insert(record.oid);
  }
  auto wanted = followed_tables();
  std::erase_if(wanted, [&](const auto& table) { return copied.contains(table.oid); });
  return schema::Catalog(connection).tables(wanted);
}

/// Where some are followed already, the others must not end for one that cannot be.
void Session::hold_refused(std::vector<schema::Table>& missing) {
  for (const auto& refused : target_.check_tables(missing)) {
    auto table = std::ranges::find(missing, refused.table(), &schema::Table::oid);
    hold_table(config_, target_, *table, refused);
    missing.erase(table);
  }
}

/// The structure of all tables is made in one transaction. Where that fails for good, each is tried alone,
/// which tells whose fault it is.
void Session::prepare_structure(std::vector<schema::Table>& missing, const schema::ReadStructure& read) {
  auto records = target_.tables();
  bool followed_before =
      std::ranges::any_of(records, [](const auto& record) { return record.copied_at.valid(); });
  if (!followed_before) return target_.prepare_structure(missing, read);
  hold_refused(missing);
  try {
    return target_.prepare_structure(missing, read);
  } catch (const target::TableRefused& refused) {
    log::debug("copy", "{}", refused.reason());
  } catch (const Error& error) {
    if (error.retry() != Retry::needs_operator) throw;
  }
  std::erase_if(missing, [&](const auto& table) {
    try {
      target_.prepare_structure({table}, read);
      return false;
    } catch (const target::TableRefused& refused) {
      hold_table(config_, target_, table, refused);
      return true;
    } catch (const Error& error) {
      if (error.retry() != Retry::needs_operator) throw;
      hold_table(config_, target_, table, {table.oid, error.message(), error.remedy()});
      return true;
    }
  });
}

void Session::list_tables(const std::vector<schema::Table>& missing) {
  auto records = target_.tables();
  board_.update([&](Status& status) {
    status.tables.clear();
    list_to_copy(missing, status);
    for (const auto& record : records) {
      bool awaited = std::ranges::any_of(missing, [&](const auto& table) { return table.oid == record.oid; });
      if (awaited || (!record.copied && !record.is_held() && !has_left(record))) continue;
      TableStatus entry;
      entry.schema = record.schema;
      entry.name = record.name;
      entry.target_name = record.target_name;
      entry.state = TableState::copied;
      entry.rows_copied = record.rows_copied;
      entry.copied_at = record.copied_at;
      entry.note = record.note;
      if (record.is_held()) {
        entry.state = TableState::held;
        entry.last_error = record.held;
      } else if (!record.copied) {
        mark_left(entry);
      }
      status.tables.push_back(std::move(entry));
    }
    std::sort(status.tables.begin(), status.tables.end(), [](const auto& a, const auto& b) {
      return std::tie(a.schema, a.name) < std::tie(b.schema, b.name);
    });
  });
}

bool Session::copies_unasked() const {
  bool copies = config_.snapshot.enabled && config_.origin == config::Origin::any;
  return copies || (config_.target.kind != "postgres" && config_.snapshot.enabled);
}

/// A copy begins with an empty table, and the rows of a PostgreSQL target may not all be the source's: where
/// nothing is copied, or others follow the target, that is for a person to decide.
void Session::refuse_to_copy_anew(const std::vector<schema::Table>& missing) const {
  if (copies_unasked()) return;
  for (const auto& record : target_.tables()) {
    // One that was never copied has no position yet.
    if (record.copied || !record.copied_at.valid()) continue;
    if (std::ranges::none_of(missing, [&](const auto& table) { return table.oid == record.oid; })) continue;
    throw Error(
        Retry::needs_operator,
        fmt::format("{}.{} must be copied anew, which would first empty it at the target; with {} that is not "
                    "done unasked",
                    record.schema, record.name,
                    config_.snapshot.enabled ? "origin: none" : "snapshot.enabled: off"),
        "Tear down the mirror of the other direction, if there is one; run this one with origin: any and "
        "snapshot.enabled: on until it follows; then set up the other direction again, with "
        "snapshot.enabled: off");
  }
}

/// What a table looks like, and what is published of it, is read under the very snapshot that its rows are read
/// under: making that waits for the transactions that are running, and what they alter is in the rows, but was
/// not in what was read before. A column that the copy misses comes later, with no values of the rows' own.
source::PublicationInfo Session::published_in(pg::Connection& snapshot) const {
  auto publication = source::read_publications(snapshot, config_.publication.names);
  if (publication) return std::move(*publication);
  throw Error(Retry::transient, fmt::format("publication \"{}\" was dropped while the copy began",
                                            config::publication_names(config_)));
}

/// Nothing is copied: the rows that are there are as of the checkpoint, and everything after it comes by the
/// stream. A later position would lose what lies between.
void Session::adopt_rows() {
  auto reader = pg::Connection::open(config_.source, {pg::Mode::sql, config_.name + " snapshot"});
  reader.leave_on(stop_);
  reader.query("begin isolation level repeatable read read only", "reading what is followed");
  publication_ = published_in(reader);
  drop_replaced_tables();
  auto missing = tables_to_copy(reader);
  refuse_to_copy_anew(missing);
  prepare_structure(missing, [&](const auto& tables, const auto& how) {
    return schema::read_structure(reader, tables, how);
  });
  list_tables(missing);
  for (const auto& table : missing) {
    try {
      target_.adopt(table, target_.checkpoint()->lsn);
    } catch (const target::TableRefused& refused) {
      hold_table(config_, target_, table, refused);
    }
  }
}

void Session::copy_missing(std::optional<Snapshot> snapshot) {
  if (tables_to_copy(*connection_).empty()) return;
  if (!config_.snapshot.enabled) return adopt_rows();
  if (!snapshot) snapshot = temporary_snapshot();
  auto reader = pg::Connection::open(config_.source, {pg::Mode::sql, config_.name + " snapshot"});
  reader.leave_on(stop_);
  source::import_snapshot(reader, snapshot->name);
  publication_ = published_in(reader);
  drop_replaced_tables();
  auto missing = tables_to_copy(reader);
  refuse_to_copy_anew(missing);
  if (config_.origin == config::Origin::none) warn_of_foreign_rows(reader, missing);
  prepare_structure(missing, [&](const auto& tables, const auto& how) {
    return schema::read_structure(reader, tables, how);
  });
  if (missing.empty()) return;
  list_tables(missing);
  tell_what_begins_anew(missing);
  board_.update([&](Status& status) {
    status.state = RunState::copying;
    status.message = fmt::format("copying {} tables", missing.size());
  });
  log::info("copy", "copying {} tables at {} with {} readers", missing.size(), snapshot->lsn.str(),
            config_.snapshot.readers);
  CopyOptions options{
      config_.source,
      snapshot->name,
      snapshot->lsn,
      config_.snapshot.readers,
      config_.binary != config::Binary::off && !checks_text(),
      config_.schema.trust_source,
      [&](const auto& table, const auto& refused) { hold_table(config_, target_, table, refused); },
      checks_text()};
  auto unfinished = copy_tables(options, missing, reader, target_, board_, stop_);
  if (!unfinished.empty() && !stop_.requested()) {
    throw target::RestartFromCheckpoint(fmt::format("{} tables need a newer snapshot", unfinished.size()));
  }
}

/// Of copies that an earlier run, or an earlier attempt of this one, did not finish.
void Session::tell_what_begins_anew(const std::vector<schema::Table>& missing) const {
  std::string names;
  int count = 0;
  std::int64_t there = 0;
  for (const auto& record : target_.tables()) {
    if (record.copied) ++there;
    if (record.copied || record.copied_at.valid()) continue;
    if (std::ranges::none_of(missing, [&](const auto& table) { return table.oid == record.oid; })) continue;
    if (++count <= 10) names += (names.empty() ? "" : ", ") + record.qualified();
  }
  if (count == 0) return;
  if (count > 10) names += fmt::format(" and {} more", count - 10);
  log::info("copy",
            "the copy was interrupted; {} tables are there, and these begin anew from their first rows: {}",
            there, names);
}

/// Binary only if every published column has a binary form that the target reads; pgoutput knows no choice per
/// column.
bool Session::stream_in_binary() {
  if (config_.binary == config::Binary::off || connection_->server_version() < 140000 || checks_text())
    return false;
  auto tables = schema::Catalog(*connection_).tables(followed_tables());
  const auto* odd = target_.first_not_binary(tables);
  if (odd == nullptr) return true;
  if (config_.binary != config::Binary::on) return false;
  throw Error(Retry::needs_operator,
              fmt::format("binary: on is configured, but {} has a column whose type has no binary form here",
                          odd->qualified()),
              "Use binary: auto, or leave that column out");
}

/// What is not UTF-8 must be seen before it is in the target; in binary rows nobody could.
bool Session::checks_text() const {
  return connection_->raw_text() && !target_.takes_raw_text();
}

/// Null where the replication stream is the way from the start.
std::unique_ptr<source::ChangeStream> Session::open_backlog(const source::StreamOptions& options,
                                                            const StopSignal& over) {
  // A copy of a slot has neither of these marks: prepared transactions would come otherwise than before, and
  // what the standbys do not have yet would not be waited for.
  if (config_.limits.backlog == 0 || two_phase_ || failover_) return nullptr;
  auto row = connection_->query(
      "select case when pg_catalog.pg_is_in_recovery() then null else pg_catalog.pg_current_wal_flush_lsn() "
      "end",
      "reading the source's position");
  if (row.is_null(0, 0) || row.lsn(0, 0).value < options.start.value + config_.limits.backlog) return nullptr;
  try {
    auto connection = pg::Connection::open(config_.source, {pg::Mode::sql, config_.name});
    connection.leave_on(over);
    return std::make_unique<source::BacklogStream>(std::move(connection), options);
  } catch (const Error& error) {
    log::info("source", "the backlog comes by the replication stream: {}", error.what());
    return nullptr;
  }
}

void Session::stream() {
  list_tables({});
  auto checkpoint = target_.checkpoint();
  TAILRACE_CHECK(checkpoint.has_value());
  Applier applier(target_, config_.source, config_.publication.names, board_);
  if (checks_text()) applier.check_text();
  watch_ =
      std::make_unique<DefinitionWatch>(config_.source, publication_spec(config_), target_, copies_unasked());
  look(applier);
  source::StreamOptions options;
  options.slot = config_.slot.name;
  options.publications = config_.publication.names;
  // With prepared transactions the server must begin before them; what is in the target already is left out
  // here.
  options.start = two_phase_ ? slot_position_ : checkpoint->lsn;
  // Not all that was committed needs to be flushed yet.
  options.durable = std::min(options.start, target_.durable());
  options.binary = stream_in_binary();
  options.streaming = config_.streaming;
  options.local_only = config_.origin == config::Origin::none;
  options.status_interval = config_.intervals.status;
  // The reader may wait long for a server that decodes; where this session fails, it must not.
  StopSignal over(&stop_);
  auto follow = [this, options, &over](Lsn start, Lsn acknowledged) -> std::unique_ptr<source::ChangeStream> {
    auto from = options;
    from.start = start;
    from.durable = acknowledged;
    pg::ConnectOptions connect;
    connect.mode = pg::Mode::replication;
    connect.application_name = config_.name;
    auto connection = pg::Connection::open(config_.source, connect);
    connection.leave_on(over);
    auto stream = std::make_unique<source::ReplicationStream>(std::move(connection), from);
    log::info("source", "streaming from {} in {} format", start.str(), options.binary ? "binary" : "text");
    return stream;
  };
  auto stream = open_backlog(options, over);
  if (!stream) stream = follow(options.start, options.durable);
  board_.update([&](Status& status) {
    status.state = RunState::streaming;
    status.message = "following";
    status.binary = options.binary;
    status.received = status.applied = status.acknowledged = checkpoint->lsn;
    status.received_changes = {};
    for (auto& table : status.tables) {
      if (table.state == TableState::copied) table.state = TableState::streaming;
    }
  });
  applier.show_bad_changes();
  BatchQueue queue(config_.limits.queue);
  Reader reader(std::move(stream), follow,
                source::TransactionAssembler({.spool_directory = config::spool_directory(config_),
                                              .applied = checkpoint->lsn,
                                              .seen = SeenTransactions::parse(checkpoint->seen),
                                              .local_only = options.local_only,
                                              .ahead = target_.applies_ahead(),
                                              .relation_bytes = config_.limits.memory / 4}),
                queue, applier, board_, over);
  Interrupter interrupter(target_, stop_);
  std::jthread reading([&] { reader.run(); });
  struct Leave {
    Session& session;
    BatchQueue& queue;
    StopSignal& over;
    ~Leave() {
      session.started_(nullptr);
      over.request();
      queue.close();
    }
  } leave{*this, queue, over};
  started_(&applier);
  try {
    apply_from(queue, applier);
  } catch (const Error& error) {
    target_.rollback();
    explain(error);
    throw;
  } catch (...) {
    target_.rollback();
    throw;
  }
  if (applier.in_transaction()) {
    target_.rollback();
  } else {
    applier.settle();
    target_.give_up_ahead();
  }
}

/// Throws a better Error, where there is one.
void Session::explain(const Error& error) {
  // The decoding server's "publication ... does not exist", which says nothing of when.
  if (error.sqlstate() != "42704" || error.message().find("publication") == std::string::npos) return;
  bool missing = !source::read_publications(*connection_, config_.publication.names);
  throw source::explain_missing(error, config_.publication.names, missing);
}

void Session::apply_from(BatchQueue& queue, Applier& applier) {
  ShortTurns turns;
  last_look_ = last_applied_ = Clock::now();
  std::vector<std::shared_ptr<const ChangeBatch>> batches;
  while (!stop_.requested()) {
    batches.clear();
    gather(queue, batches);
    if (!batches.empty()) {
      std::int64_t commits = board_.read_commits();
      auto began = Clock::now();
      applier.apply(batches);
      if (board_.read_commits() != commits) {
        last_applied_ = Clock::now();
        last_commit_took_ = last_applied_ - began;
        tidy_ = false;
      }
    }
    periodic(applier, batches.empty());
  }
}

/// One transaction when the stream is quiet; while it flows, as much as comes in several times of what a commit
/// takes, so that commits cost a small part of the time, and never more than the limit.
void Session::gather(BatchQueue& queue, std::vector<std::shared_ptr<const ChangeBatch>>& batches) {
  auto next = queue.pop_for(100ms);
  // What came before the reader failed is applied; the next call tells of the failure. Not to wait at all is
  // another call: a wait of no time still ends by a timer of the kernel's.
  auto take = [&](std::chrono::milliseconds wait) -> decltype(next) {
    try {
      return wait > 0ms ? queue.pop_for(wait) : queue.try_pop();
    } catch (const std::exception&) {
      return std::nullopt;
    }
  };
  auto patience = std::clamp<Clock::duration>(last_commit_took_ * 8, 20ms, 1s);
  auto until = Clock::now() + patience;
  auto [most, most_changes] = target_.worth_a_commit();
  most = std::min(config_.limits.batch, most);
  std::size_t bytes = 0;
  std::size_t changes = 0;
  while (next) {
    bool caught_up = (*next)->caught_up;
    bytes += (*next)->bytes();
    changes += (*next)->changes.size();
    batches.push_back(std::move(*next));
    if (bytes >= most || changes >= most_changes || stop_.requested()) return;
    next = take(0ms);
    if (next || caught_up) continue;
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    if (left > 0ms) next = take(left);
  }
}

void Session::periodic(Applier& applier, bool idle) {
  auto now = Clock::now();
  if (now - last_observed_ >= observe_every) {
    last_observed_ = now;
    observe(applier);
  }
  if (applier.in_transaction()) return;
  if (idle) applier.settle();
  applier.work_off();
  applier.refresh_durable();
  bool due = watch_->undecided() ? now - last_look_ >= look_again_after
                                 : looks_.wanted() || now - last_look_ >= look_every;
  if (due) {
    last_look_ = now;
    applier.settle();
    look(applier);
  }
  if (config::keeps_sequences(config_) && now - last_sequences_ >= config_.sequences.interval) {
    last_sequences_ = now;
    auto kept = target_.keep_sequences(*connection_, oids_of(publication_), config_.sequences.margin);
    board_.update([&](Status& status) { status.sequences = kept; });
  }
  if (idle && !tidy_ && now - last_applied_ >= tidy_after) {
    target_.tidy();
    tidy_ = true;
  }
}

void Session::look(Applier& applier) {
  auto asked = looks_.asked.load();
  if (target_.wants_structure()) throw target::RestartFromCheckpoint("the target's structure is to follow");
  watch_->look(applier);
  if (!watch_->undecided()) looks_.done = asked;
  auto records = target_.tables();
  board_.update([&](Status& status) {
    for (const auto& record : records) {
      if (!has_left(record)) continue;
      for (auto& table : status.tables) {
        if (table.schema == record.schema && table.name == record.name &&
            table.target_name == record.target_name)
          mark_left(table);
      }
    }
  });
}

void Session::observe(Applier& applier) {
  auto row = connection_->query(
      fmt::format(
          "select case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn() "
          "else pg_catalog.pg_current_wal_flush_lsn() end, "
          "(select case when pg_catalog.pg_is_in_recovery() then null else pg_catalog.pg_wal_lsn_diff("
          "pg_catalog.pg_current_wal_flush_lsn(), restart_lsn)::int8 end from pg_catalog.pg_replication_slots "
          "where slot_name = {})",
          quote_literal(config_.slot.name)),
      "reading the source's position");
  board_.update([&](Status& status) {
    status.source_lsn = row.lsn(0, 0);
    status.retained_wal_bytes = row.is_null(0, 1) ? -1 : row.i64(0, 1);
    status.resident_bytes = resident_bytes();
    bool in_step = status.received_changes <= applier.durable();
    double age = static_cast<double>(PgTimestamp::now().micros - status.last_commit_time.micros) / 1e6;
    status.lag_seconds = in_step ? 0 : status.last_commit_time.micros == 0 ? -1 : std::max(age, 0.0);
  });
}

}  // namespace tailrace::pipeline
