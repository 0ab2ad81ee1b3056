#include "pipeline/session.h"

#include <algorithm>
#include <set>

#include "base/log.h"
#include "pipeline/holding.h"
#include "pipeline/open_options.h"
#include "pipeline/published_tables.h"
#include "pipeline/table_copier.h"
#include "schema/catalog.h"
#include "source/catalog_marks.h"
#include "source/foreign_rows.h"

// What a session copies before it streams.

namespace tailrace::pipeline {
namespace {

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

}  // namespace

bool Session::has_left(const target::TableRecord& record) {
  return !record.copied && !record.is_held() && record.copied_at.valid();
}

void Session::mark_left(TableStatus& table) {
  table.state = TableState::stopped;
  table.last_error.clear();
  table.note = "not published any more; what is there stays";
}

void Session::forget_outdated_tables() {
  for (const auto& [table, reason] : outdated_tables(publication_, target_)) {
    if (!looks_.unseen.contains(table)) target_.mark_for_copy(table, reason);
  }
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

std::vector<schema::Catalog::Wanted> Session::not_copied() const {
  std::set<Oid> copied;
  for (const auto& record : target_.tables()) {
    if (record.copied) copied.insert(record.oid);
  }
  auto wanted = followed_tables();
  std::erase_if(wanted, [&](const auto& table) { return copied.contains(table.oid); });
  return wanted;
}

std::vector<schema::Table> Session::tables_to_copy(pg::Connection& connection) {
  auto wanted = not_copied();
  if (only_) std::erase_if(wanted, [&](const auto& table) { return !only_->contains(table.oid); });
  // Measuring waits for whoever has locked a table.
  using enum schema::Catalog::Detail;
  return catalog(config_, connection).tables(wanted, config_.snapshot.enabled ? measured : definition);
}

/// Of a mirror that follows, those that are to be copied: the others go on until a snapshot is there. The
/// structure of tables that were copied may need those that were not, and is made after them.
void Session::find_waiting() {
  if (!config_.snapshot.enabled || !target_.structure_is_complete()) return;
  waiting_ = catalog(config_, *connection_).tables(not_copied(), schema::Catalog::Detail::definition);
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
  target_.forget_unfinished(missing);
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

namespace {

/// They are of the whole run, and this is one attempt of it. Both are in the order of their names.
void keep_counts(const std::vector<TableStatus>& before, std::vector<TableStatus>& now) {
  auto name = [](const TableStatus& table) { return std::tie(table.schema, table.name); };
  auto earlier = before.begin();
  for (auto& table : now) {
    while (earlier != before.end() && name(*earlier) < name(table)) ++earlier;
    if (earlier == before.end() || name(*earlier) != name(table)) continue;
    table.inserts = earlier->inserts;
    table.updates = earlier->updates;
    table.deletes = earlier->deletes;
    table.truncates = earlier->truncates;
    table.conflicts = earlier->conflicts;
  }
}

}  // namespace

void Session::list_tables(const std::vector<schema::Table>& missing) {
  auto records = target_.tables();
  board_.update([&](Status& status) {
    auto before = std::exchange(status.tables, {});
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
    keep_counts(before, status.tables);
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
        "snapshot: {enabled: on} until it follows; then set up the other direction again, with "
        "snapshot: {enabled: off}");
  }
}

/// What is published is asked of the server as it is now, after the snapshot was made. What a table looks like
/// is read under the very snapshot that its rows are read under: making that waits for the transactions that
/// are running, and what they alter is in the rows. A column that the copy misses comes later, with no values
/// of the rows' own. Both are of one moment where the catalogs show the same under the snapshot as after all
/// was asked.
Session::Published Session::published_now() {
  auto publication = source::read_publications(*connection_, config_.publication.names);
  auto marks = source::catalog_marks(*connection_, config_.publication.names);
  if (publication) return {std::move(*publication), std::move(marks)};
  throw Error(Retry::transient, fmt::format("publication \"{}\" was dropped while the copy began",
                                            config::publication_names(config_)));
}

void Session::take_published(Published now, pg::Connection& snapshot) {
  auto shown = source::catalog_marks(snapshot, config_.publication.names);
  if (!source::is_as_shown(shown, now.marks))
    throw target::RestartFromCheckpoint("tables of the source were altered while the snapshot was made");
  publication_ = std::move(now.publication);
  std::erase_if(publication_.tables, [&](const auto& table) { return !shown.tables.contains(table.oid); });
  if (leaves_new_tables()) end_->keep_to_first(publication_.tables);
}

/// The connection that made the slot will stream from it. Its next command lets go of the snapshot, which keeps
/// the source from clearing up.
void Session::keep_exporter(CopySnapshot& snapshot) {
  try {
    snapshot.exporter->set_patience(catalog_patience);
    source::identify_system(*snapshot.exporter);
    replication_ = std::move(snapshot.exporter);
  } catch (const Error& error) {
    // A copy takes long, and the line may have died meanwhile: the stream opens another.
    log::debug("source", "{}", error.what());
  }
}

void Session::copy_missing(std::optional<CopySnapshot> snapshot) {
  if (!config_.snapshot.enabled) return take_rows_as_they_are(snapshot ? &*snapshot : nullptr);
  // Those that a snapshot shows are read from it; only where one would have to be made is it asked before.
  if (not_copied().empty() || (!snapshot && tables_to_copy(*connection_).empty())) return;
  if (end_ != nullptr) end_->refuse_copy(*connection_);
  bool made_slot = snapshot.has_value();
  if (!made_slot) {
    replication_.reset();
    snapshot = take_snapshot_by_slot(config_, board_, stop_);
  }
  copy_from(*snapshot);
  if (stop_.requested()) return;
  if (made_slot) keep_exporter(*snapshot);
}

void Session::copy_from(CopySnapshot& snapshot) {
  // What knows the catalogs already answers faster than a connection of its own would. It waits for locks now.
  connection_->set_patience({});
  auto published = published_now();
  source::import_snapshot(*connection_, snapshot.name);
  take_published(std::move(published), *connection_);
  copy_under(snapshot);
  if (stop_.requested()) return;
  connection_->set_patience(catalog_patience);
  connection_->query("commit", "leaving the snapshot");
}

/// The stream stands still now, and whoever has locked a table since may wait for it.
void Session::copy_due() {
  // Its connection is wanted for the copy.
  preparation_.reset();
  if (!due_) return copy_missing(std::nullopt);
  connection_->query(fmt::format("set {}", lock_patience), "beginning a copy");
  try {
    copy_from(*due_);
  } catch (const Error& error) {
    if (error.sqlstate() != lock_not_available) throw;
    throw target::RestartFromCheckpoint(fmt::format("a copy waits for a lock: {}", error.what()));
  }
}

/// The source's connection is in the snapshot.
void Session::copy_under(const CopySnapshot& snapshot) {
  auto& reader = *connection_;
  drop_replaced_tables();
  auto missing = tables_to_copy(reader);
  refuse_to_copy_anew(missing);
  if (end_ != nullptr && !missing.empty()) end_->refuse_copy(reader);
  if (config_.origin == config::Origin::none) warn_of_foreign_rows(reader, missing);
  prepare_structure(missing, [&](const auto& tables, const auto& how) {
    return schema::read_structure(reader, tables, how);
  });
  if (missing.empty()) return;
  list_tables(missing);
  if (!first_copy_) tell_what_begins_anew(missing);
  board_.update([&](Status& status) {
    status.state = RunState::copying;
    status.message = fmt::format("copying {} tables", missing.size());
  });
  log::info("copy", "copying {} tables at {} with {} readers", missing.size(), snapshot.lsn.str(),
            config_.snapshot.readers);
  CopyOptions options{
      config_.source, snapshot.name, snapshot.lsn, config_.snapshot.readers,
      config_.binary != config::Binary::off && !checks_text(), config_.schema.trust_source,
      [&](const auto& table, const auto& refused) { hold_table(config_, target_, table, refused); },
      // At the very first somebody is watching.
      !first_copy_, checks_text(), !due_.has_value()};
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

}  // namespace tailrace::pipeline
