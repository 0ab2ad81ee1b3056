#include <algorithm>

#include "base/log.h"
#include "pipeline/holding.h"
#include "pipeline/published_tables.h"
#include "pipeline/session.h"
#include "pipeline/start_checks.h"
#include "pipeline/unsaid_changes.h"
#include "schema/catalog.h"
#include "schema/changes_since.h"

// What a session takes as it is: the rows that are there are as of a position, and everything after it comes by
// the stream. What is known of the source's tables is of now. Where one may be another table than at that
// position, its rows cannot be gone on from.

namespace tailrace::pipeline {
namespace {

constexpr const char* take_again =
    "Take the rows again under a slot that is made after the change, and let nobody alter a table before the "
    "first "
    "start";

std::vector<Oid> oids_of(const std::vector<schema::Table>& tables) {
  std::vector<Oid> out;
  for (const auto& table : tables) out.push_back(table.oid);
  return out;
}

/// As the snapshot recorded it, beside what it is now.
bool differs(const target::TableRecord& record, const schema::Table& now) {
  if (record.schema != now.schema || record.name != now.name || record.columns.size() != now.columns.size())
    return true;
  for (const auto& column : now.columns) {
    target::RecordedColumn recorded{column.attnum, column.name,   column.type->oid,
                                    column.typmod, column.is_key, column.version};
    if (std::ranges::find(record.columns, recorded) == record.columns.end()) return true;
  }
  auto unsaid = unsaid_changes(record, now, std::nullopt);
  return unsaid.reason.has_value() || !unsaid.newcomers.empty();
}

struct HasRow {};

bool has_rows(target::Target& target, Oid table) {
  try {
    target.view()->scan(table, [](const auto& /*row*/) { throw HasRow(); });
  } catch (const HasRow&) {
    return true;
  }
  return false;
}

}  // namespace

/// They are there in part, or not at all: nothing that their rows could be as of.
void Session::refuse_unfinished_copies(const std::vector<schema::Table>& missing) const {
  std::string names;
  for (const auto& record : target_.tables()) {
    if (record.copied || record.copied_at.valid()) continue;
    if (std::ranges::none_of(missing, [&](const auto& table) { return table.oid == record.oid; })) continue;
    names += (names.empty() ? "" : ", ") + record.qualified();
  }
  if (names.empty()) return;
  throw Error(
      Retry::needs_operator,
      fmt::format("the copy was interrupted before it was whole, and with snapshot.enabled: off what there is "
                  "would be taken for all of it: {}",
                  names),
      "Run with snapshot: {enabled: on} until it follows, and then without; or 'tailrace teardown', and "
      "bring rows of your own");
}

std::set<Oid> Session::coming_whole(const std::vector<schema::Table>& tables) {
  if (target_.checkpoint()) return {};
  return pipeline::coming_whole(config_, *connection_, tables);
}

/// Nothing is written yet, and somebody is watching.
void Session::refuse_altered(const std::vector<schema::Table>& tables, Lsn position) {
  auto changes =
      schema::changes_since(*connection_, config_.slot.name, config_.publication.names, oids_of(tables));
  for (const auto& table : tables) {
    auto change = changes.find(table.oid);
    if (change == changes.end()) continue;
    if (auto why = doubt(change->second)) {
      throw Error(
          Retry::needs_operator,
          fmt::format("{} cannot be gone on from as of {}: {}", table.qualified(), position.str(), *why),
          fmt::format("Nothing was written. {}", take_again));
    }
  }
}

/// The same, of rows whose table the snapshot recorded.
void Session::refuse_altered_since_snapshot(const std::vector<schema::Table>& tables, Lsn position) {
  std::vector<schema::Table> unknown;
  auto records = target_.tables();
  auto changes =
      schema::changes_since(*connection_, config_.slot.name, config_.publication.names, oids_of(tables));
  for (const auto& table : tables) {
    auto record = std::ranges::find(records, table.oid, &target::TableRecord::oid);
    if (record == records.end()) {
      unknown.push_back(table);
    } else if (differs(*record, table)) {
      throw Error(
          Retry::needs_operator,
          fmt::format("{} cannot be gone on from: it was altered, truncated or rewritten since the snapshot",
                      table.qualified()),
          "Nothing was written. Take the snapshot again, into a new target");
    } else if (auto change = changes.find(table.oid); change != changes.end() && change->second.joined) {
      throw Error(
          Retry::needs_operator,
          fmt::format("{} cannot be gone on from: what is published of it changed since the slot was made, and "
                      "what was written before is not sent",
                      table.qualified()),
          "Nothing was written. Make the slot again, and take the snapshot again, into a new target");
    }
  }
  refuse_altered(unknown, position);
}

/// Others are followed already: what is in doubt is held. Where another mirror fills the source, its rows are
/// here by their own way.
void Session::hold_altered(std::vector<schema::Table>& missing, pg::Connection& reader) {
  if (config_.origin == config::Origin::none) return;
  auto changes = schema::changes_since(reader, config_.slot.name, config_.publication.names, oids_of(missing));
  std::erase_if(missing, [&](const auto& table) {
    auto change = changes.find(table.oid);
    if (change == changes.end()) return false;
    auto why = doubt(change->second);
    if (!why) return false;
    hold_table(config_, target_, table, {table.oid, *why, copy_once});
    return true;
  });
}

/// One that was dropped and made again under its name: what the target has under the name is of the one before.
/// Until the first commit after it was taken this can be told, so a start that ended in between is made up for.
void Session::hold_made_again(pg::Connection& reader) {
  if (config_.origin == config::Origin::none) return;
  std::vector<target::TableRecord> just_taken;
  for (const auto& record : target_.tables()) {
    if (record.copied && record.copied_at == target_.checkpoint()->lsn) just_taken.push_back(record);
  }
  std::vector<Oid> oids;
  for (const auto& record : just_taken) oids.push_back(record.oid);
  auto changes = schema::changes_since(reader, config_.slot.name, config_.publication.names, oids);
  for (const auto& record : just_taken) {
    auto change = changes.find(record.oid);
    if (change == changes.end() || !change->second.made || !has_rows(target_, record.oid)) continue;
    hold_table(config_, target_,
               {record.oid,
                fmt::format(
                    "{} was made after the position as of which the target's rows are, and the target has rows "
                    "under its name",
                    record.qualified()),
                copy_once});
  }
}

/// `snapshot`: of the slot that this session made, whose catalogs are of the very position.
void Session::take_rows_as_they_are(const CopySnapshot* snapshot) {
  auto reader = pg::Connection::open(config_.source, {pg::Mode::sql, config_.name + " snapshot"});
  reader.leave_on(stop_);
  if (snapshot != nullptr) {
    source::import_snapshot(reader, snapshot->name);
  } else {
    // The snapshot is that of the first question.
    reader.query("begin isolation level repeatable read read only; select pg_catalog.now()",
                 "reading what is followed");
  }
  take_published(published_now(), reader);
  drop_replaced_tables();
  auto missing = tables_to_copy(reader);
  if (!missing.empty()) {
    refuse_unfinished_copies(missing);
    refuse_to_copy_anew(missing);
    if (snapshot == nullptr) hold_altered(missing, reader);
    prepare_structure(missing, [&](const auto& tables, const auto& how) {
      return schema::read_structure(reader, tables, how);
    });
    list_tables(missing);
    for (const auto& table : missing) adopt(table);
  }
  if (snapshot == nullptr) hold_made_again(reader);
}

void Session::adopt(const schema::Table& table) {
  try {
    target_.adopt(table, target_.checkpoint()->lsn);
  } catch (const target::TableRefused& refused) {
    hold_table(config_, target_, table, refused);
  } catch (const Error& error) {
    if (error.retry() != Retry::needs_operator) throw;
    hold_table(config_, target_, table, {table.oid, error.message(), error.remedy()});
  }
}

}  // namespace tailrace::pipeline
