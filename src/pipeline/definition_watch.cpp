#include "pipeline/definition_watch.h"

#include <algorithm>
#include <set>

#include "base/log.h"
#include "pipeline/evolution.h"
#include "pipeline/published_tables.h"

namespace tailrace::pipeline {
namespace {

Relation describe(const schema::Table& table) {
  Relation out;
  out.oid = table.oid;
  out.schema = table.schema;
  out.name = table.name;
  out.identity = table.identity;
  for (const auto& column : table.columns)
    out.columns.push_back({column.name, column.type->oid, column.typmod, column.is_key});
  return out;
}

bool matches(const target::TableRecord& record, const Relation& relation) {
  if (record.schema != relation.schema || record.name != relation.name) return false;
  return std::equal(record.columns.begin(), record.columns.end(), relation.columns.begin(),
                    relation.columns.end(), [](const auto& known, const auto& now) {
                      return known.name == now.name && known.type_oid == now.type_oid &&
                             known.typmod == now.typmod;
                    });
}

}  // namespace

DefinitionWatch::DefinitionWatch(std::string source, source::PublicationSpec spec, target::Target& target)
    : source_(std::move(source)), spec_(std::move(spec)), target_(target) {}

void DefinitionWatch::look(Applier& applier) {
  if (!catalog_) {
    connection_.emplace(pg::Connection::open(source_, {pg::Mode::sql, "tailrace catalog"}));
    connection_->set_patience(std::chrono::seconds(30));
    catalog_.emplace(*connection_);
  }
  auto publication = source::read_publications(*connection_, spec_.names);
  if (!publication) {
    throw Error(
        Retry::needs_operator,
        fmt::format("publication \"{}\" does not exist any more", fmt::join(spec_.names, ", ")),
        "Changes since it was dropped cannot be had: 'tailrace teardown', then run with a new target file");
  }
  look_for_new_tables(*publication);
  look_for_outdated_tables(*publication);
  look_for_rewrites();
  // The position first: what the catalogs show then is at least as new.
  Lsn position =
      connection_
          ->query(
              "select case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn() "
              "else pg_catalog.pg_current_wal_insert_lsn() end",
              "reading the source's position")
          .lsn(0, 0);
  look_for_definitions(catalog_->tables(wanted_tables(*publication)), position, applier);
}

void DefinitionWatch::look_for_new_tables(const source::PublicationInfo& publication) {
  std::set<Oid> published;
  std::set<Oid> known;
  for (const auto& table : publication.tables) published.insert(table.oid);
  for (const auto& record : target_.tables()) {
    if (record.copied) known.insert(record.oid);
  }
  for (const auto& table : publication.tables) {
    if (!known.contains(table.oid))
      throw target::RestartFromCheckpoint(table.schema + "." + table.name + " is new");
  }
  if (!spec_.create || !publication.managed || publication.all_tables) return;
  for (const auto& table : source::select_tables(source::read_catalog_tables(*connection_), spec_)) {
    if (!published.contains(table.table.oid))
      throw target::RestartFromCheckpoint(table.table.qualified() + " is new");
  }
}

/// One that left is marked and left alone; one that is published otherwise is copied now.
void DefinitionWatch::look_for_outdated_tables(const source::PublicationInfo& publication) {
  bool some_published = false;
  for (const auto& [table, reason] : outdated_tables(publication, target_)) {
    target_.mark_for_copy(table, reason);
    some_published |= std::ranges::any_of(publication.tables, [&](const auto& it) { return it.oid == table; });
  }
  if (some_published) throw target::RestartFromCheckpoint("what is published of a table changed");
}

void DefinitionWatch::look_for_rewrites() {
  auto records = target_.tables();
  std::vector<Oid> oids;
  for (const auto& record : records) oids.push_back(record.oid);
  auto filenodes = catalog_->current_filenodes(oids);
  for (const auto& record : records) {
    if (!was_rewritten(record, filenodes[record.oid], *catalog_)) continue;
    target_.mark_for_copy(record.oid, "its rows were rewritten at the source");
    throw target::RestartFromCheckpoint(
        fmt::format("{}.{} was rewritten at the source", record.schema, record.name));
  }
}

void DefinitionWatch::look_for_definitions(const std::vector<schema::Table>& tables, Lsn position,
                                           Applier& applier) {
  std::map<Oid, target::TableRecord> records;
  for (auto& record : target_.tables()) records.emplace(record.oid, std::move(record));
  auto before = std::exchange(seen_, {});
  for (const auto& table : tables) {
    auto record = records.find(table.oid);
    if (record == records.end()) continue;
    Relation relation = describe(table);
    if (matches(record->second, relation)) continue;
    auto earlier = before.find(table.oid);
    bool stable = earlier != before.end() && earlier->second.first == relation;
    if (!stable || applier.durable() < earlier->second.second) {
      seen_.emplace(table.oid, std::pair{relation, stable ? earlier->second.second : position});
      continue;
    }
    auto plan = plan_evolution(record->second, relation, *catalog_);
    if (auto* anew = std::get_if<CopyAnew>(&plan)) {
      target_.mark_for_copy(table.oid, anew->reason);
      throw target::RestartFromCheckpoint(
          fmt::format("{} must be copied anew: {}", table.qualified(), anew->reason));
    }
    applier.evolve(table.oid, std::get<target::Evolution>(plan));
    log::info("apply", "{} changed its definition at the source; the target follows", table.qualified());
  }
}

}  // namespace tailrace::pipeline
