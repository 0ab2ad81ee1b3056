#include <algorithm>

#include "base/sql_text.h"
#include "schema/written_code.h"
#include "target/postgres/lost_rights.h"
#include "target/postgres/postgres_mirror.h"

// The target's tables: found, made, copied into, held and given up.

namespace tailrace::target::postgres {

namespace {

/// In the transaction that made them: whose they are is asked for each before it is set.
void note_sequences(pg::Connection& connection, const std::string& subscription,
                    const schema::Structure& structure) {
  std::string names;
  for (const auto& statement : structure.before_data) {
    if (!statement.what.starts_with("sequence ")) continue;
    names += (names.empty() ? "" : ", ") + quote_literal(statement.relation);
  }
  if (names.empty()) return;
  connection.query(
      fmt::format("insert into tailrace.made (subscription, catalog, name, oid) "
                  "select {}, 1259, pg_catalog.to_regclass(s.name)::pg_catalog.text, "
                  "pg_catalog.to_regclass(s.name)::pg_catalog.oid "
                  "from pg_catalog.unnest(array[{}]::pg_catalog.text[]) s(name) "
                  "on conflict (subscription, catalog, name) do update set oid = excluded.oid, again = false",
                  quote_literal(subscription), names),
      "noting what was made at the target");
}

}  // namespace

std::vector<TableRefused> PostgresTarget::check_tables(const std::vector<schema::Table>& tables) {
  return check_can_take(books_connection_, hidden_.roots(), tables, records_, options_).refused;
}

/// Of what is there, check_tables() said whether it can be taken. adopt() takes it as it was found here.
void PostgresTarget::check_rows(const std::vector<schema::Table>& tables, const std::set<Oid>& coming) {
  auto checked = check_can_take(books_connection_, hidden_.roots(), tables, records_, options_);
  if (!checked.refused.empty()) throw TableRefused(checked.refused.front());
  check_rows_there(checked, tables, coming);
  found_ = std::move(checked.found);
}

/// Gives what is ours its name, and makes room for what is to be made.
void PostgresTarget::take_names_of(const std::vector<Claim>& claims) {
  if (claims.empty()) return;
  auto records = records_;
  durably([&] {
    for (Oid table : take_names(books_connection_, records, claims)) books_.put_table(records.at(table));
  });
  records_ = std::move(records);
  for (const auto& claim : claims) {
    auto known = records_.find(claim.table);
    if (known == records_.end()) continue;
    if (auto own = find_own_table(books_connection_, known->second))
      found_.insert_or_assign(claim.table, std::move(*own));
  }
  plans_.forget_all();
}

/// What is out of sight was not copied whole. The source may have altered or renamed it since, with its indexes
/// and constraints, or given its name to another table: it is made anew.
void PostgresTarget::forget_unfinished(const std::vector<schema::Table>& tables) {
  if (options_.keep_rows) return;
  std::set<TableName> names;
  for (const auto& table : tables) names.emplace(table.schema, table.name);
  std::map<Oid, Oid> noted;
  for (const auto& [oid, record] : records_) {
    if (record.target_oid != 0) noted.emplace(record.target_oid, oid);
  }
  std::vector<HiddenTables::Root> unfinished;
  for (const auto& root : hidden_.roots()) {
    auto record = noted.find(root.relation);
    bool wanted =
        record != noted.end() && std::ranges::find(tables, record->second, &schema::Table::oid) != tables.end();
    // A partition's name, too, that was detached since.
    bool in_the_way = names.contains(root.name) || std::ranges::any_of(root.partitions, [&](const auto& part) {
                        return names.contains(part.second);
                      });
    if (record == noted.end() || wanted || in_the_way) unfinished.push_back(root);
  }
  if (unfinished.empty()) return;
  discard(unfinished);
  for (const auto& table : tables) {
    if (!has_relation(records_, table.oid)) indexes_.forget(table.oid);
  }
}

/// For a partition that the source has under the name of a table that is followed by itself, or of another
/// table's partition: it was attached, and its rows come with its root's. False: the name is not ours to free.
bool PostgresTarget::frees_name(const TableName& name) {
  using enum Occupant::Whose;
  Claim claim{.schema = name.first, .name = name.second};
  auto occupant = occupants(books_connection_, records_, {claim}).front();
  if (occupant.whose != ours && occupant.whose != part) return occupant.whose == nobody;
  const auto& record = records_.at(occupant.table);
  if (occupant.whose == part && record.is_held()) return false;
  if (occupant.whose == part && record.copied) {
    mark_for_copy(occupant.table, "a partition left it");
    throw RestartFromCheckpoint("a table lost a partition to another");
  }
  take_names_of({claim});
  return true;
}

/// Before the first row, which runs it.
void PostgresTarget::refuse_code_of_made(const std::vector<schema::Table>& tables) {
  if (options_.trust_source) return;
  auto made = hidden_.find(names_of(tables));
  made.merge(load_tables(books_connection_, names_of(tables)));
  std::vector<Oid> relations;
  for (const auto& [_, there] : made) relations.push_back(there.oid);
  if (schema::code_of_others(books_connection_, relations).empty()) return;
  for (const auto& table : tables) {
    auto there = made.find({table.schema, table.name});
    if (there != made.end()) refuse_code_of_others(books_connection_, table.oid, there->second);
  }
}

void PostgresTarget::prepare_structure(const std::vector<schema::Table>& tables,
                                       const schema::ReadStructure& read) {
  if (copies_.looked_for()) show_all();
  auto checked = check_can_take(books_connection_, hidden_.roots(), tables, records_, options_);
  if (!checked.refused.empty()) throw TableRefused(checked.refused.front());
  bool left = false;
  for (Oid root : checked.left) {
    // Its changes from before that copy are of the partition too.
    if (!records_.at(root).copied) continue;
    mark_for_copy(root, "a partition left it");
    left = true;
  }
  if (left) throw RestartFromCheckpoint("a table lost a partition that is followed by itself now");
  for (const auto& table : tables) found_.erase(table.oid);
  for (auto& [oid, there] : checked.found) found_.insert_or_assign(oid, std::move(there));
  take_names_of(checked.claims);
  std::vector<Oid> missing;
  std::vector<Oid> known;
  std::vector<schema::Table> made;
  for (const auto& table : tables) {
    if (!found_.contains(table.oid)) {
      missing.push_back(table.oid);
      made.push_back(table);
    } else if (has_relation(records_, table.oid)) {
      known.push_back(table.oid);
    }
  }
  auto make_room = [&](const TableName& name) { return frees_name(name); };
  if (options_.structure == StructureMode::copy) {
    if (!known.empty()) {
      tailrace::target::postgres::follow_structure(
          books_connection_, made_, records_, known, read, structure_options(), make_room,
          [&](Oid root) {
            auto table = std::ranges::find(tables, root, &schema::Table::oid);
            durably([&] { fit_anew(*table, found_.at(root)); });
          },
          [](Oid /*copied*/, const std::string& /*why*/) {});
    }
    for (const auto& table : tables) {
      if (has_relation(records_, table.oid)) check_types(made_, table);
    }
  }
  copies_.hides(!hidden_.left().empty());
  if (missing.empty()) return;
  log::info("target", "making {} tables, and what belongs to them, like the source's", missing.size());
  auto how = structure_options();
  made_.forget();
  how.leaves_out = [&](const auto& objects) {
    return made_.present(objects, how.strangers, [](const auto& /*object*/) { return true; });
  };
  how.followed = tables_there(books_connection_, records_, missing);
  auto structure = read(missing, how);
  // One that was not copied whole before it was attached.
  auto attached = hidden_.roots();
  std::erase_if(attached, [&](const auto& root) {
    auto quoted = quote_qualified(root.name.first, root.name.second);
    return std::ranges::find(structure.before_data, quoted, &schema::Statement::partition) ==
           structure.before_data.end();
  });
  if (!attached.empty()) discard(attached);
  check_makeable(books_connection_, records_, made_, made, structure, make_room);
  check_books_again(books_connection_);
  check_roles(books_connection_, structure.roles);
  check_row_security(books_connection_, structure.forced);
  auto first = structure.before_data;
  auto later = books_.number(structure);
  first.push_back(books_.instead_of_earlier(later));
  for (const auto& pending : later) first.push_back(books_.note(pending));
  for (auto& note : made_.notes()) first.push_back(std::move(note));
  // Where no row is copied, none is missing.
  bool hide = !options_.keep_rows && !copies_.looked_for() && hidden_.possible();
  std::optional<NewObjects> new_objects;
  if (options_.made) new_objects.emplace(books_connection_);
  schema::run_structure(books_connection_, first, schema::Missing::refused, [&] {
    // A commit whose outcome is not known may have made them.
    if (new_objects) options_.made(new_objects->made());
    books_.identify_pending();
    note_sequences(books_connection_, options_.subscription, structure);
    if (hide) hidden_.hide(names_of(made));
    refuse_code_of_made(made);
    kill_point("postgres.structure.made");
  });
  kill_point("postgres.structure.committed");
  copies_.hides(!hidden_.left().empty());
  std::erase_if(later, [](const auto& pending) { return !pending.parallel; });
  indexes_.expect(later);
  // Hidden, or in their places.
  auto now = hidden_.find(names_of(made));
  now.merge(load_tables(books_connection_, names_of(made)));
  for (const auto& table : made) {
    auto there = now.find({table.schema, table.name});
    if (there != now.end()) found_.try_emplace(table.oid, std::move(there->second));
  }
}

/// Rows of a partition that cannot be made here any more, as it was when they came, or at all.
void PostgresTarget::copy_for_a_partition(Oid table, const std::string& why) {
  // Rows that were there before are not tailrace's to copy anew.
  if (options_.keep_rows) return;
  mark_for_copy(table, why);
  throw RestartFromCheckpoint(why);
}

void PostgresTarget::follow_structure(const schema::ReadStructure& read) {
  check_books_again(books_connection_);
  std::vector<Oid> tables;
  for (const auto& [oid, record] : records_) {
    if (record.copied && !record.is_held() && !record.is_moved()) tables.push_back(oid);
  }
  made_.heed();
  bool all_made = tailrace::target::postgres::follow_structure(
      books_connection_, made_, records_, tables, read, structure_options(),
      [&](const TableName& name) { return frees_name(name); }, [](Oid /*copied*/) {},
      [&](Oid root, const std::string& why) { copy_for_a_partition(root, why); });
  // A view of a table that is held is not read, and comes again with it.
  if (all_made && tables.size() == records_.size()) made_.forget_to_make_again();
  structure_wanted_ = false;
  plans_.forget_all();
}

void PostgresTarget::complete_structure(const StopSignal& stop) {
  // What was made for a copy that nobody wants any more. What is still to be made may lean on it.
  for (const auto& [schema, name] : hidden_.left()) {
    log::warn("target", "{}.{} was made at the target, and is not copied any more: it stays there, empty",
              schema, name);
  }
  show_all();
  hidden_.tidy();
  build_pending(books_connection_, books_, made_, indexes_, stop);
  made_.identify(!stop.requested());
  plans_.forget_all();
  copies_.close_idle();
  found_.clear();
  if (stop.requested()) return;
  std::vector<TableRecord> tables;
  for (const auto& [oid, record] : records_) tables.push_back(record);
  conflicts_.start(books_connection_, lanes_.alone().has_origin(), tables);
}

/// Their tables stay in the books, without one at the target. So do those that inherit from them, which are
/// made with their columns.
void PostgresTarget::discard(const std::vector<HiddenTables::Root>& roots) {
  auto records = records_;
  bool whole = false;
  durably([&] {
    auto gone = hidden_.heirs(roots);
    auto outdated = roots;
    for (auto& root : hidden_.roots()) {
      if (std::erase(gone, root.relation) > 0) outdated.push_back(std::move(root));
    }
    hidden_.drop(outdated);
    std::vector<Oid> dropped;
    std::vector<TableName> names;
    for (const auto& root : outdated) {
      dropped.push_back(root.relation);
      names.push_back(root.name);
      for (const auto& [partition, name] : root.partitions) {
        dropped.push_back(partition);
        names.push_back(name);
      }
    }
    std::vector<Oid> heirs;
    for (auto& [oid, record] : records) {
      if (std::ranges::find(gone, record.target_oid) != gone.end()) {
        dropped.push_back(record.target_oid);
        names.emplace_back(record.schema, record.name);
        heirs.push_back(record.target_oid);
        whole |= record.copied;
        record.copied = false;
      } else if (std::ranges::find(outdated, record.target_oid, &HiddenTables::Root::relation) ==
                 outdated.end()) {
        continue;
      }
      record.target_oid = 0;
      record.target_schema.clear();
      record.target_table.clear();
      record.target_name = quote_qualified(record.schema, record.name);
      books_.put_table(record);
      indexes_.forget(oid);
    }
    hidden_.drop_heirs(heirs);
    books_.forget_pending(dropped, names);
  });
  records_ = std::move(records);
  if (whole) throw RestartFromCheckpoint("a table inherits from one that is made anew");
}

/// Empty, into their places.
void PostgresTarget::show_all() {
  for (const auto& root : hidden_.roots()) {
    const auto& name = root.name;
    try {
      show_empty(name);
    } catch (const Error& error) {
      if (!HiddenTables::has_lost_name(error)) throw;
      discard({root});
      log::warn("target", "{}.{} is not made at the target: what has its name there now is not tailrace's",
                name.first, name.second);
    }
  }
}

void PostgresTarget::show_empty(const TableName& name) {
  auto records = records_;
  durably([&] {
    books_connection_.query("set local session_replication_role = replica", "emptying a table");
    for (const auto& [_, there] : hidden_.find({name})) {
      empty_tables(books_connection_, {{{there.sql_name(), there.kind == 'p'}}}, false);
      for (auto& [oid, record] : records) {
        if (record.target_oid != there.oid) continue;
        record.target_schema = name.first;
        record.target_table = name.second;
        record.target_name = quote_qualified(name.first, name.second);
        books_.put_table(record);
      }
    }
    hidden_.show(name);
  });
  records_ = std::move(records);
}

void PostgresTarget::create_table(const schema::Table& table) {
  try {
    make_ready(table, std::nullopt);
  } catch (const Error& error) {
    auto known = records_.find(table.oid);
    if (error.sqlstate() == insufficient_privilege && known != records_.end())
      check_rights_on(books_connection_, known->second);
    throw;
  }
}

/// What the copy will not overwrite must not double its rows.
void PostgresTarget::empty(const TargetTable& there) {
  if (options_.keep_rows) return;
  // Triggers stay silent.
  books_connection_.query("set local session_replication_role = replica", "emptying a table");
  auto rows = books_connection_.query(
      fmt::format("select exists (select from {}{})", there.kind == 'p' ? "" : "only ", there.sql_name()),
      "looking at " + there.sql_name());
  if (rows.flag(0, 0)) empty_tables(books_connection_, {{{there.sql_name(), there.kind == 'p'}}}, false);
}

/// Empties a table of the books and gives it the source's columns.
void PostgresTarget::fit_anew(const schema::Table& table, TargetTable& there) {
  empty(there);
  if (options_.structure != StructureMode::copy || options_.keep_rows) return;
  const auto& record = records_.at(table.oid);
  for_table(table.oid, [&] {
    fit_columns(books_connection_, records_, table, made_, ties_, options_.trust_source);
    there = own_table(books_connection_, record);
    check_columns(table, there);
  });
}

/// `taken_at`: what it holds is all there is, as of then.
void PostgresTarget::make_ready(const schema::Table& table, std::optional<Lsn> taken_at) {
  auto known = records_.find(table.oid);
  std::optional<TargetTable> there;
  if (auto found = found_.extract(table.oid)) {
    there = std::move(found.mapped());
  } else if (known != records_.end()) {
    there = find_own_table(books_connection_, known->second);
  }
  if (!there) throw Error(Retry::fatal, fmt::format("the target lost its table {}", table.qualified()));
  TableRecord record;
  durably([&] {
    if (known != records_.end() && known->second.target_oid == there->oid) {
      fit_anew(table, *there);
    } else {
      empty(*there);
    }
    forget_kept(table.oid);
    forget_deletions_of(books_connection_, *there);
    record = record_of(table, *there);
    record.copied = taken_at.has_value();
    record.copied_at = taken_at.value_or(Lsn());
    books_.put_table(record);
  });
  records_.insert_or_assign(table.oid, record);
  structure_wanted_ |= !made_.to_make_again().empty();
  copies_.know(TablePlan(table.oid, relation_of(table), *there));
}

/// What the table holds is left alone: see keep_rows.
void PostgresTarget::adopt(const schema::Table& table, Lsn at) {
  TAILRACE_CHECK(options_.keep_rows);
  make_ready(table, at);
  kill_point("postgres.adopt.committed");
  indexes_.allow(table.oid);
}

/// The table at the target stays: whether its rows are still wanted, only its owner knows.
void PostgresTarget::drop_table(Oid table) {
  durably([&] {
    forget_kept(table);
    books_.remove_table(table);
  });
  records_.erase(table);
}

void PostgresTarget::settle_moved(Oid table, const NameAtSource& now) {
  auto record = records_.at(table);
  bool ours = find_own_table(books_connection_, record).has_value();
  bool gone = !now.has_value();
  if (ours && now) {
    Claim claim{table, now->first, now->second};
    auto whose = occupants(books_connection_, records_, {claim}).front().whose;
    if (whose == Occupant::Whose::nobody) take_names_of({claim});
    // Its rows are that table's now.
    gone = whose == Occupant::Whose::part;
  }
  if (ours && gone) {
    try {
      drop_moved(books_connection_, record);
      log::info("target", "{} went, as {}", record.target_name,
                now ? "it is a partition of another table at the source now"
                    : "the source has it no more and gave its name to another table");
    } catch (const Error& error) {
      if (error.retry() == Retry::transient) throw;
      log::warn("target", "{} is of a table that the source has no more by itself; it stays: {}",
                record.target_name, error.message());
    }
  }
  drop_table(table);
}

void PostgresTarget::mark_for_copy(Oid table, const std::string& reason) {
  auto record = records_.at(table);
  log::info("target", "{} will be copied anew: {}", record.target_name, reason);
  record.copied = false;
  record.held.clear();
  durably([&] { books_.put_table(record); });
  records_.insert_or_assign(table, record);
}

TableRecord PostgresTarget::known_or_named(const NamedTable& table) const {
  if (auto known = records_.find(table.oid); known != records_.end()) return known->second;
  TableRecord out;
  out.oid = table.oid;
  out.schema = table.schema;
  out.name = table.name;
  out.target_name = quote_qualified(table.schema, table.name);
  return out;
}

void PostgresTarget::expect_copies(const std::vector<NamedTable>& tables) {
  auto records = records_;
  durably([&] {
    for (const auto& table : tables) {
      auto [record, added] = records.try_emplace(table.oid, known_or_named(table));
      if (added) books_.put_table(record->second);
    }
  });
  records_ = std::move(records);
  kill_point("postgres.expect_copies.committed");
}

void PostgresTarget::hold(const NamedTable& table, const std::string& reason) {
  auto record = known_or_named(table);
  record.copied = false;
  record.held = reason;
  durably([&] { books_.put_table(record); });
  records_.insert_or_assign(table.oid, record);
}

void PostgresTarget::note_storage(const std::map<Oid, std::string>& storage) {
  auto changed = records_;
  durably([&] {
    for (const auto& [table, noted] : storage) {
      changed.at(table).storage = noted;
      books_.put_table(changed.at(table));
    }
  });
  records_ = std::move(changed);
}

void PostgresTarget::begin_anew(const Checkpoint& nowhere) {
  durably([&] {
    books_.forget_copies();
    books_.put_checkpoint(nowhere);
    kill_point("postgres.begin_anew.before");
  });
  kill_point("postgres.begin_anew.committed");
  for (auto& [oid, record] : records_) {
    record.copied = false;
    record.held.clear();
  }
  checkpoint_ = nowhere;
}

void PostgresTarget::initialize(const Checkpoint& checkpoint) {
  durably([&] { books_.put_checkpoint(checkpoint); });
  checkpoint_ = checkpoint;
  flush_watch_.begin_at(checkpoint.lsn);
}

/// This commit is flushed, and with it all that the copy's connections committed before.
void PostgresTarget::finish_copy(Oid table, Lsn snapshot, std::int64_t rows) {
  auto record = records_.at(table);
  record.copied = true;
  record.copied_at = snapshot;
  record.rows_copied = rows;
  try {
    durably([&] {
      if (hidden_.show({record.schema, record.name})) {
        record.target_schema = record.schema;
        record.target_table = record.name;
        record.target_name = quote_qualified(record.schema, record.name);
      }
      books_.put_table(record);
      kill_point("postgres.copy.finished");
    });
  } catch (const Error& error) {
    if (!HiddenTables::has_lost_name(error)) throw;
    throw TableRefused(table, error.message(), error.remedy());
  }
  kill_point("postgres.copy.committed");
  records_.insert_or_assign(table, record);
  indexes_.allow(table);
}

}  // namespace tailrace::target::postgres
