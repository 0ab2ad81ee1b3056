#include "pipeline/definition_watch.h"

#include <algorithm>
#include <set>

#include "base/copy_anew.h"
#include "base/log.h"
#include "pipeline/evolution.h"
#include "pipeline/published_tables.h"
#include "pipeline/unsaid_changes.h"

namespace tailrace::pipeline {
namespace {

std::vector<target::RecordedColumn> recorded(const schema::Table& table) {
  std::vector<target::RecordedColumn> out;
  for (const auto& column : table.columns)
    out.push_back({column.attnum, column.name, column.type->oid, column.typmod, column.is_key, column.version});
  return out;
}

bool matches(const target::TableRecord& record, const Relation& relation) {
  if (record.schema != relation.schema || record.name != relation.name || record.is_moved()) return false;
  return std::equal(record.columns.begin(), record.columns.end(), relation.columns.begin(),
                    relation.columns.end(), [](const auto& known, const auto& now) {
                      return known.name == now.name && known.type_oid == now.type_oid &&
                             known.typmod == now.typmod;
                    });
}

bool has_recorded_columns(const target::TableRecord& record, const schema::Table& table) {
  return std::ranges::equal(record.columns, recorded(table), [](const auto& known, const auto& now) {
    return known.attnum == now.attnum && known.type_oid == now.type_oid && known.typmod == now.typmod;
  });
}

std::map<Oid, target::TableRecord> copied_tables(const target::Target& target) {
  std::map<Oid, target::TableRecord> out;
  for (auto& record : target.tables()) {
    if (record.copied) out.emplace(record.oid, std::move(record));
  }
  return out;
}

}  // namespace

DefinitionWatch::DefinitionWatch(pg::Connection& source, source::PublicationSpec spec, target::Target& target,
                                 bool may_copy)
    : connection_(source),
      spec_(std::move(spec)),
      target_(target),
      may_copy_(may_copy),
      pages_(pg::WalPages::read(source)),
      catalog_(source) {}

void DefinitionWatch::look(Applier& applier) {
  auto publication = source::read_publications(connection_, spec_.names, source::Filters::as_stored);
  if (!publication) {
    throw Error(Retry::needs_operator,
                fmt::format("publication \"{}\" does not exist any more", fmt::join(spec_.names, ", ")),
                fmt::format("Changes since it was dropped cannot be had. {}", copy_all_anew));
  }
  // In one snapshot, so that the heap's file and the columns' versions are of one moment.
  connection_.query("begin isolation level repeatable read read only", "looking at the catalogs");
  auto tables = catalog_.tables(wanted_tables(*publication), schema::Catalog::Detail::definition);
  connection_.query("commit", "looking at the catalogs");
  // The position last: what the catalogs showed was there by then.
  Lsn position = read_position();
  // All are marked, so that one new start copies them all.
  Reason again = look_for_new_tables(*publication);
  for (const auto& reason :
       {mark_outdated_tables(*publication), mark_changed_tables(tables, position, applier)}) {
    if (!again) again = reason;
  }
  if (!again) again = settle_moved_tables(*publication);
  if (!again) again = drop_replaced_tables(*publication);
  if (again) throw target::RestartFromCheckpoint(*again);
  look_for_definitions(tables, position, applier);
}

Lsn DefinitionWatch::read_position() {
  auto next = connection_.query(
      "select case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn() "
      "else pg_catalog.pg_current_wal_insert_lsn() end",
      "reading the source's position");
  return pages_.end_of_record(next.lsn(0, 0));
}

DefinitionWatch::Reason DefinitionWatch::look_for_new_tables(const source::PublicationInfo& publication) {
  std::set<Oid> published;
  std::set<Oid> known = expected_;
  for (const auto& table : publication.tables) published.insert(table.oid);
  for (const auto& record : target_.tables()) {
    if (record.copied || record.is_held()) known.insert(record.oid);
  }
  for (const auto& table : publication.tables) {
    if (!known.contains(table.oid)) return table.schema + "." + table.name + " is new";
  }
  if (!spec_.create || !publication.managed || publication.all_tables) return std::nullopt;
  for (const auto& table : source::select_tables(source::read_catalog_tables(connection_), spec_)) {
    if (!published.contains(table.table.oid)) return table.table.qualified() + " is new";
  }
  return std::nullopt;
}

/// One that left is marked and left alone; one that is published otherwise is copied now.
DefinitionWatch::Reason DefinitionWatch::mark_outdated_tables(const source::PublicationInfo& publication) {
  bool some_published = false;
  for (const auto& [table, reason] : outdated_tables(publication, target_)) {
    if (expected_.contains(table)) continue;
    target_.mark_for_copy(table, reason);
    some_published |= std::ranges::any_of(publication.tables, [&](const auto& it) { return it.oid == table; });
  }
  if (some_published) return "what is published of a table changed";
  return std::nullopt;
}

/// Those that gave their name up at the target and are not followed any more.
DefinitionWatch::Reason DefinitionWatch::settle_moved_tables(const source::PublicationInfo& publication) {
  Reason out;
  for (const auto& record : target_.tables()) {
    bool published =
        std::ranges::any_of(publication.tables, [&](const auto& it) { return it.oid == record.oid; });
    if (published || !record.is_moved()) continue;
    auto rows = connection_.query(
        fmt::format("select n.nspname, c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n "
                    "on n.oid = c.relnamespace where c.oid = {}",
                    record.oid),
        "looking for a table that gave up its name");
    target::Target::NameAtSource now;
    if (rows.rows() > 0) now.emplace(rows.str(0, 0), rows.str(0, 1));
    target_.settle_moved(record.oid, now);
    out = fmt::format("{} gave its name to another table", record.qualified());
  }
  return out;
}

/// Those whose name is another table's at the source, which was renamed and so needs no copy: it gets its name.
DefinitionWatch::Reason DefinitionWatch::drop_replaced_tables(const source::PublicationInfo& publication) {
  std::set<Oid> published;
  std::set<std::pair<std::string, std::string>> names;
  for (const auto& table : publication.tables) {
    published.insert(table.oid);
    names.emplace(table.schema, table.name);
  }
  auto before = target_.tables();
  for (const auto& record : before) {
    if (!published.contains(record.oid) && !record.copied && names.contains({record.schema, record.name}))
      target_.give_up_name(record.oid);
  }
  if (target_.tables().size() == before.size()) return std::nullopt;
  return "a table that the source has no more gave its name to another one";
}

DefinitionWatch::Reason DefinitionWatch::mark_changed_tables(const std::vector<schema::Table>& tables,
                                                             Lsn position, Applier& applier) {
  Reason out;
  std::map<Oid, std::string> noted;
  auto records = copied_tables(target_);
  for (const auto& table : tables) {
    auto record = records.find(table.oid);
    if (record == records.end()) continue;
    auto reason = reason_to_copy(record->second, table);
    if (!reason) reason = unsaid_reason(record->second, table, position, applier);
    if (!reason) {
      auto storage = storage_to_record(record->second, table.storage);
      // By where the rows were, what becomes of a column that is not followed yet is judged.
      bool followed = has_recorded_columns(record->second, table);
      if (followed && !suspects_.contains(table.oid) && storage != record->second.storage)
        noted[table.oid] = storage;
      continue;
    }
    target_.mark_for_copy(table.oid, *reason);
    if (!out) out = fmt::format("{} must be copied anew: {}", table.qualified(), *reason);
  }
  if (!noted.empty()) applier.note_storage(noted);
  return out;
}

DefinitionWatch::Reason DefinitionWatch::unsaid_reason(const target::TableRecord& record,
                                                       const schema::Table& table, Lsn position,
                                                       const Applier& applier) {
  auto unsaid = unsaid_changes(record, table, applier.truncated_by(table.oid));
  if (!unsaid.newcomers.empty() && !unsaid.reason &&
      catalog_.began_empty(table.oid, unsaid.newcomers).size() < unsaid.newcomers.size())
    return "a partition came with rows";
  if (!unsaid.reason || !unsaid.may_be_said) {
    suspects_.erase(table.oid);
    return unsaid.reason;
  }
  auto now = table.storage.str();
  auto [suspect, fresh] = suspects_.try_emplace(table.oid, Suspect{now, position});
  if (!fresh && suspect->second.storage != now) suspect->second = {now, position};
  if (applier.durable() < suspect->second.position) return std::nullopt;
  if (may_copy_) return unsaid.reason;
  // Nobody should have to empty a table by hand for a VACUUM FULL.
  log::warn("apply", "{}: {}, or vacuumed in full; 'tailrace verify' tells which", table.qualified(),
            *unsaid.reason);
  suspects_.erase(suspect);
  return std::nullopt;
}

void DefinitionWatch::look_for_definitions(const std::vector<schema::Table>& tables, Lsn position,
                                           Applier& applier) {
  auto records = copied_tables(target_);
  auto before = std::exchange(seen_, {});
  for (const auto& table : tables) {
    auto record = records.find(table.oid);
    if (record == records.end()) continue;
    Relation relation = describe(table);
    if (matches(record->second, relation)) continue;
    auto columns = recorded(table);
    auto earlier = before.find(table.oid);
    bool stable =
        earlier != before.end() && earlier->second.relation == relation && earlier->second.columns == columns;
    if (!stable || applier.durable() < earlier->second.position) {
      seen_.emplace(table.oid, Seen{relation, columns, stable ? earlier->second.position : position});
      continue;
    }
    auto plan = plan_evolution(record->second, table, catalog_);
    if (auto* anew = std::get_if<CopyAnew>(&plan)) {
      target_.mark_for_copy(table.oid, anew->reason);
      throw target::RestartFromCheckpoint(
          fmt::format("{} must be copied anew: {}", table.qualified(), anew->reason));
    }
    auto evolution = std::get<target::Evolution>(plan);
    // Altered once more at this very moment: the next look decides.
    if (evolution.columns != columns) continue;
    if (record->second.is_moved()) evolution.rename = relation.name;
    applier.evolve(table.oid, evolution);
    log::info("apply", "{} changed its definition at the source; the target follows", table.qualified());
  }
}

}  // namespace tailrace::pipeline
