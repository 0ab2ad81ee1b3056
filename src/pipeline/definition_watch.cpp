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

// So many definitions are held at a time.
constexpr std::size_t tables_at_once = 250;
constexpr const char* purpose = "looking at the catalogs";

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

bool published_as(const source::PublishedTable& one, const source::PublishedTable& other) {
  return one.schema == other.schema && one.name == other.name && one.columns == other.columns &&
         one.row_filter == other.row_filter && one.membership == other.membership;
}

std::set<Oid> oids_in(const source::PublicationInfo& publication) {
  std::set<Oid> out;
  for (const auto& table : publication.tables) out.insert(table.oid);
  return out;
}

}  // namespace

CatalogReader::CatalogReader(pg::Connection& connection, schema::Catalog catalog)
    : connection_(connection), pages_(pg::WalPages::read(connection)), catalog_(std::move(catalog)) {}

Lsn CatalogReader::position() {
  auto next = connection_.query(
      "select case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn() "
      "else pg_catalog.pg_current_wal_insert_lsn() end",
      "reading the source's position");
  return pages_.end_of_record(next.lsn(0, 0));
}

std::vector<schema::Table> CatalogReader::tables(const std::vector<schema::Catalog::Wanted>& wanted) {
  connection_.query("begin isolation level repeatable read read only", purpose);
  auto out = catalog_.tables(wanted, schema::Catalog::Detail::definition);
  connection_.query("commit", purpose);
  return out;
}

DefinitionWatch::DefinitionWatch(source::PublicationSpec spec, target::Target& target, bool may_copy,
                                 std::function<void()> tables_left)
    : spec_(std::move(spec)),
      target_(target),
      may_copy_(may_copy),
      tables_left_(std::move(tables_left)),
      pulse_(spec_.names) {}

bool DefinitionWatch::look(CatalogReader& source, const Start& start, const Meet& meet) {
  lags_ = start.lags;
  notice(start.reshaped);
  notice(pulse_.look(source.connection()));
  Findings findings;
  if (publication_due_) read_publication(source, meet, findings);
  std::vector<Oid> open(open_.begin(), open_.end());
  for (std::size_t at = 0; at < open.size(); at += tables_at_once) {
    auto first = open.begin() + static_cast<std::ptrdiff_t>(at);
    auto count = std::min(tables_at_once, open.size() - at);
    if (!look_at({first, first + static_cast<std::ptrdiff_t>(count)}, source, meet, findings)) return false;
  }
  bool judged = true;
  if (findings.publication || !findings.tables.empty())
    meet([&](Applier& applier) { judged = act(findings, applier); });
  return judged;
}

/// The catalogs were read at some time since the look began: unless they showed all that was applied by its
/// end, they may be those of before what the target has.
bool DefinitionWatch::lags(Applier& applier) const {
  return applier.catalogs_lag() || applier.lags() != lags_;
}

void DefinitionWatch::notice(const source::CatalogPulse::Changes& changes) {
  by_schema_ = changes.by_schema;
  publication_due_ |= changes.first || changes.publications || changes.schemas || changes.heirs ||
                      (changes.tables && (all_tables_ || by_schema_));
  bool leaves = changes.heirs;
  for (const auto& relation : changes.relations) {
    publication_due_ |= relation.published || relation.attached;
    leaves |= relation.partition || relation.attached;
    auto known = published_.find(relation.oid);
    if (known == published_.end()) {
      publication_due_ |= relation.described && may_join(relation);
      continue;
    }
    const auto& table = known->second;
    open_.insert(relation.oid);
    // By a schema it may have left and come back.
    publication_due_ |=
        !table.columns.empty() ||
        (relation.described &&
         (by_schema_ || !relation.permanent || relation.schema != table.schema || relation.name != table.name));
  }
  if (leaves) open_.insert(roots_.begin(), roots_.end());
  for (Oid table : changes.keys_dropped) {
    if (published_.contains(table)) open_.insert(table);
  }
}

/// What is known of it at the target changed: by what came in the stream, or because another table took its
/// name.
void DefinitionWatch::notice(const std::set<Oid>& reshaped) {
  for (Oid table : reshaped) {
    if (published_.contains(table)) {
      open_.insert(table);
    } else {
      publication_due_ = true;
    }
  }
}

bool DefinitionWatch::may_join(const source::CatalogPulse::Relation& relation) const {
  return all_tables_ || by_schema_ || (spec_.create && spec_.tables.selects(relation.schema, relation.name));
}

void DefinitionWatch::read_publication(CatalogReader& source, const Meet& meet, Findings& findings) {
  auto publication = source::read_publications(source.connection(), spec_.names, source::Filters::as_stored);
  if (!publication) {
    throw Error(Retry::needs_operator,
                fmt::format("publication \"{}\" does not exist any more", fmt::join(spec_.names, ", ")),
                fmt::format("Changes since it was dropped cannot be had. {}", copy_all_anew));
  }
  know(*publication);
  findings.selected = selected_and_not_published(source, *publication);
  // Those that gave their name up at the target and are not followed any more.
  std::vector<Oid> moved;
  meet([&](Applier& applier) {
    applier.visit_records([&](const auto& record) {
      if (record.is_moved() && !published_.contains(record.oid)) moved.push_back(record.oid);
    });
  });
  for (Oid table : moved) {
    auto rows = source.connection().query(
        fmt::format("select n.nspname, c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n "
                    "on n.oid = c.relnamespace where c.oid = {}",
                    table),
        "looking for a table that gave up its name");
    auto& now = findings.moved[table];
    if (rows.rows() > 0) now.emplace(rows.str(0, 0), rows.str(0, 1));
  }
  findings.publication = std::move(publication);
}

/// Tables that are published otherwise than before are looked at.
void DefinitionWatch::know(const source::PublicationInfo& publication) {
  std::map<Oid, source::PublishedTable> now;
  for (auto table : publication.tables) {
    // Several must name the same columns; see merge_publications().
    if (!table.column_list && !publication.generated_columns && spec_.names.size() == 1) table.columns.clear();
    auto known = published_.find(table.oid);
    if (known == published_.end() || !published_as(known->second, table)) open_.insert(table.oid);
    now.emplace(table.oid, std::move(table));
  }
  published_ = std::move(now);
  all_tables_ = publication.all_tables;
  std::erase_if(roots_, [&](Oid root) { return !published_.contains(root); });
  std::erase_if(open_, [&](Oid table) { return !published_.contains(table); });
  std::erase_if(seen_, [&](const auto& seen) { return !published_.contains(seen.first); });
  std::erase_if(suspects_, [&](const auto& suspect) { return !published_.contains(suspect.first); });
}

DefinitionWatch::Reason DefinitionWatch::selected_and_not_published(
    CatalogReader& source, const source::PublicationInfo& publication) {
  if (!spec_.create || !publication.managed || publication.all_tables || leaves_new_tables_)
    return std::nullopt;
  auto published = oids_in(publication);
  for (const auto& table : source::select_tables(source::read_catalog_tables(source.connection()), spec_)) {
    if (!published.contains(table.table.oid)) return table.table.qualified() + " is new";
  }
  return std::nullopt;
}

bool DefinitionWatch::look_at(const std::vector<Oid>& tables, CatalogReader& source, const Meet& meet,
                              Findings& findings) {
  // What the target has first: it follows the stream, and the catalogs are those of then, or later.
  Known known;
  bool behind = false;
  meet([&](Applier& applier) {
    behind = lags(applier);
    if (behind) return;
    for (Oid table : tables) {
      const auto* record = applier.record(table);
      if (record == nullptr || !record->copied) continue;
      known.records.emplace(table, *record);
      if (auto truncated = applier.truncated_by(table)) known.truncated_by.emplace(table, *truncated);
    }
    known.durable = applier.feedback().durable();
  });
  if (behind) return false;
  std::vector<schema::Catalog::Wanted> wanted;
  for (Oid oid : tables) {
    const auto& table = published_.at(oid);
    if (known.records.contains(oid)) {
      wanted.push_back({oid, table.columns, table.row_filter, table.membership});
    } else {
      close(oid);
    }
  }
  if (wanted.empty()) return true;
  auto definitions = source.tables(wanted);
  // The position last: what the catalogs showed was there by then.
  Lsn position = source.position();
  std::set<Oid> there;
  for (const auto& table : definitions) {
    there.insert(table.oid);
    if (table.partitioned) roots_.insert(table.oid);
    judge(table, known, position, source, findings);
  }
  for (const auto& table : wanted) {
    if (!there.contains(table.oid)) close(table.oid);
  }
  return true;
}

void DefinitionWatch::close(Oid table) {
  open_.erase(table);
  seen_.erase(table);
  suspects_.erase(table);
}

void DefinitionWatch::judge(const schema::Table& table, const Known& known, Lsn position, CatalogReader& source,
                            Findings& findings) {
  const auto& record = known.records.at(table.oid);
  Finding finding{record, reason_to_copy(record, table), {}, {}, table.qualified()};
  if (!finding.copy) finding.copy = unsaid_reason(record, table, position, known, source.catalog());
  if (finding.copy) {
    findings.tables.push_back(std::move(finding));
    return;
  }
  auto storage = storage_to_record(record, table.storage);
  // By where the rows were, what becomes of a column that is not followed yet is judged.
  if (has_recorded_columns(record, table) && !suspects_.contains(table.oid) && storage != record.storage)
    finding.storage = storage;
  bool same = matches(record, describe(table));
  if (same) {
    seen_.erase(table.oid);
  } else if (auto plan = new_definition(record, table, position, known, source.catalog())) {
    finding.plan = std::move(plan);
  }
  if (finding.storage || finding.plan) {
    findings.tables.push_back(std::move(finding));
  } else if (same && !suspects_.contains(table.oid)) {
    close(table.oid);
  }
}

DefinitionWatch::Reason DefinitionWatch::unsaid_reason(const target::TableRecord& record,
                                                       const schema::Table& table, Lsn position,
                                                       const Known& known, schema::Catalog& catalog) {
  auto truncated = known.truncated_by.find(table.oid);
  auto unsaid = unsaid_changes(
      record, table, truncated == known.truncated_by.end() ? std::nullopt : std::optional(truncated->second));
  if (!unsaid.newcomers.empty() && !unsaid.reason &&
      catalog.began_empty(table.oid, unsaid.newcomers).size() < unsaid.newcomers.size())
    return "a partition came with rows";
  if (!unsaid.reason || !unsaid.may_be_said) {
    suspects_.erase(table.oid);
    return unsaid.reason;
  }
  auto now = table.storage.str();
  auto [suspect, fresh] = suspects_.try_emplace(table.oid, Suspect{now, position});
  if (!fresh && suspect->second.storage != now) suspect->second = {now, position};
  if (known.durable < suspect->second.position) return std::nullopt;
  if (may_copy_) return unsaid.reason;
  // Nobody should have to empty a table by hand for a VACUUM FULL.
  log::warn("apply", "{}: {}, or vacuumed in full; 'tailrace verify' tells which", table.qualified(),
            *unsaid.reason);
  suspects_.erase(suspect);
  return std::nullopt;
}

std::optional<DefinitionWatch::Plan> DefinitionWatch::new_definition(const target::TableRecord& record,
                                                                     const schema::Table& table, Lsn position,
                                                                     const Known& known,
                                                                     schema::Catalog& catalog) {
  auto relation = describe(table);
  auto columns = recorded(table);
  auto [seen, fresh] = seen_.try_emplace(table.oid, Seen{relation, columns, position});
  if (!fresh && (seen->second.relation != relation || seen->second.columns != columns)) {
    seen->second = {relation, columns, position};
    fresh = true;
  }
  if (fresh || known.durable < seen->second.position) return std::nullopt;
  auto plan = plan_evolution(record, table, catalog);
  if (auto* evolution = std::get_if<target::Evolution>(&plan)) {
    if (evolution->columns != columns) {
      // Altered once more at this very moment: the next look decides.
      seen_.erase(seen);
      return std::nullopt;
    }
    if (record.is_moved()) evolution->rename = relation.name;
  }
  return plan;
}

bool DefinitionWatch::act(const Findings& findings, Applier& applier) {
  applier.settle();
  if (lags(applier)) return false;
  // All are marked, so that one new start copies them all.
  Reason again;
  auto note = [&](const Reason& reason) {
    if (!again) again = reason;
  };
  if (findings.publication) {
    note(look_for_new_tables(*findings.publication));
    note(findings.selected);
    note(mark_outdated_tables(*findings.publication));
  }
  std::vector<const Finding*> tables;
  for (const auto& finding : findings.tables) {
    // What came in the stream meanwhile may have said it: the next look sees.
    const auto* record = applier.record(finding.record.oid);
    if (record != nullptr && is_same(*record, finding.record)) tables.push_back(&finding);
  }
  note(mark_changed_tables(tables, applier));
  if (findings.publication) {
    if (!again) again = settle_moved_tables(*findings.publication, findings.moved);
    if (!again) again = drop_replaced_tables(*findings.publication);
  }
  if (again) throw target::RestartFromCheckpoint(*again);
  publication_due_ = publication_due_ && !findings.publication;
  follow_definitions(tables, applier);
  return true;
}

DefinitionWatch::Reason DefinitionWatch::look_for_new_tables(const source::PublicationInfo& publication) const {
  std::set<Oid> known = expected_;
  std::set<Oid> recorded;
  for (const auto& record : target_.tables()) {
    recorded.insert(record.oid);
    if (record.copied || record.is_held()) known.insert(record.oid);
  }
  for (const auto& table : publication.tables) {
    if (leaves_new_tables_ && !recorded.contains(table.oid)) continue;
    if (!known.contains(table.oid)) return table.schema + "." + table.name + " is new";
  }
  return std::nullopt;
}

/// One that left is marked and left alone; one that is published otherwise is copied now.
DefinitionWatch::Reason DefinitionWatch::mark_outdated_tables(const source::PublicationInfo& publication) {
  bool some = false;
  bool some_published = false;
  for (const auto& [table, reason] : outdated_tables(publication, target_)) {
    if (expected_.contains(table)) continue;
    target_.mark_for_copy(table, reason);
    some = true;
    some_published |= published_.contains(table);
  }
  if (some) tables_left_();
  if (some_published) return "what is published of a table changed";
  return std::nullopt;
}

DefinitionWatch::Reason DefinitionWatch::settle_moved_tables(const source::PublicationInfo& publication,
                                                             const NamesNow& now) {
  auto published = oids_in(publication);
  Reason out;
  for (const auto& record : target_.tables()) {
    auto name = now.find(record.oid);
    if (name == now.end() || !record.is_moved() || published.contains(record.oid)) continue;
    target_.settle_moved(record.oid, name->second);
    out = fmt::format("{} gave its name to another table", record.qualified());
  }
  return out;
}

/// Those whose name is another table's at the source, which was renamed and so needs no copy: it gets its name.
DefinitionWatch::Reason DefinitionWatch::drop_replaced_tables(const source::PublicationInfo& publication) {
  auto published = oids_in(publication);
  std::set<std::pair<std::string, std::string>> names;
  for (const auto& table : publication.tables) names.emplace(table.schema, table.name);
  auto before = target_.tables();
  for (const auto& record : before) {
    if (!published.contains(record.oid) && !record.copied && names.contains({record.schema, record.name}))
      target_.give_up_name(record.oid);
  }
  if (target_.tables().size() == before.size()) return std::nullopt;
  return "a table that the source has no more gave its name to another one";
}

DefinitionWatch::Reason DefinitionWatch::mark_changed_tables(const std::vector<const Finding*>& tables,
                                                             Applier& applier) {
  Reason out;
  std::map<Oid, std::string> noted;
  for (const auto* finding : tables) {
    Oid table = finding->record.oid;
    if (finding->copy) {
      target_.mark_for_copy(table, *finding->copy);
      if (!out) out = fmt::format("{} must be copied anew: {}", finding->name, *finding->copy);
    } else if (finding->storage) {
      noted[table] = *finding->storage;
      if (!finding->plan && !seen_.contains(table)) close(table);
    }
  }
  if (!noted.empty()) applier.note_storage(noted);
  return out;
}

void DefinitionWatch::follow_definitions(const std::vector<const Finding*>& tables, Applier& applier) {
  for (const auto* finding : tables) {
    if (!finding->plan) continue;
    Oid table = finding->record.oid;
    if (const auto* anew = std::get_if<CopyAnew>(&*finding->plan)) {
      target_.mark_for_copy(table, anew->reason);
      throw target::RestartFromCheckpoint(
          fmt::format("{} must be copied anew: {}", finding->name, anew->reason));
    }
    applier.evolve(table, std::get<target::Evolution>(*finding->plan));
    close(table);
    log::info("apply", "{} changed its definition at the source; the target follows", finding->name);
  }
}

}  // namespace tailrace::pipeline
