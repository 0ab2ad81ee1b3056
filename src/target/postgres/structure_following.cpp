#include "target/postgres/structure_following.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include "base/log.h"
#include "base/sql_text.h"
#include "target/postgres/odd_partitions.h"
#include "target/postgres/table_checks.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* looking = "looking for the target's partitions";
constexpr Oid relation_catalog = 1259;
constexpr std::string_view attached_index = "index of a partition, ";
constexpr std::string_view attached = "partition of ";

bool is_of_a_view(const schema::Statement& statement) {
  for (const char* kind :
       {"view ", "materialized view ", "default of view ", "contents of materialized view "}) {
    if (statement.what.starts_with(kind)) return true;
  }
  return false;
}

/// What gave way, and how it is switched.
bool is_one_of(const std::set<std::string>& again, const schema::Statement& statement) {
  constexpr std::string_view state = "state of ";
  if (again.contains(statement.what)) return true;
  return statement.what.starts_with(state) && again.contains(statement.what.substr(state.size()));
}

/// True if the partition is to be made.
bool lacks_partition(pg::Connection& connection, const TableRecord& root, const std::string& partition,
                     const MakeRoom& make_room) {
  auto there = connection.query(
      fmt::format(
          "select c.oid, case when c.relispartition "
          "then pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid else 0 end, "
          "n.nspname, c.relname from pg_catalog.pg_class c "
          "join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = pg_catalog.to_regclass({})",
          quote_literal(partition)),
      looking);
  if (there.rows() == 0) return true;
  if (root.target_oid != 0 && there.oid(0, 1) == root.target_oid) return false;
  if (make_room({there.str(0, 2), there.str(0, 3)})) return true;
  throw TableRefused(
      root.oid,
      fmt::format("the source's table {} has a partition {}, and the target has something else of that "
                  "name",
                  root.qualified(), partition),
      fmt::format("Rename what is called {} at the target, or the source's partition", partition));
}

void check_key(const schema::Statement& statement) {
  if (statement.refused.empty()) return;
  throw TableRefused(
      statement.table, statement.refused,
      "Give the function at the target to a superuser (ALTER FUNCTION ... OWNER TO), or make the "
      "table there by hand; or set schema.trust_source: on if all who have a part in this are "
      "trusted with these rights");
}

Attachments attachments(const std::vector<schema::Statement>& statements) {
  Attachments out;
  for (const auto& statement : statements) {
    if (statement.what.starts_with(attached)) out.insert(statement.sql);
  }
  return out;
}

/// What makes the partitions that the target has not.
std::vector<schema::Statement> lacking_partitions(pg::Connection& connection, const TableRecord& root,
                                                  const std::vector<schema::Statement>& statements,
                                                  const MakeRoom& make_room) {
  std::vector<schema::Statement> out;
  std::map<std::string, bool> lacking;
  for (const auto& statement : statements) {
    auto known = lacking.find(statement.partition);
    if (known == lacking.end()) {
      bool lacks = lacks_partition(connection, root, statement.partition, make_room);
      known = lacking.emplace(statement.partition, lacks).first;
    }
    if (!known->second) continue;
    check_key(statement);
    out.push_back(statement);
  }
  return out;
}

/// A table that is copied anew may have lost partitions at the source, and another may have their bounds now.
/// True if it was emptied.
bool make_way(pg::Connection& connection, const TableRecord& root,
              const std::vector<schema::Statement>& statements, const std::function<void()>& empty) {
  auto odd = odd_partitions(connection, root, attachments(statements));
  if (!odd.lacks || odd.there.empty()) return false;
  empty();
  drop_empty(connection, root, odd.there);
  return true;
}

/// Those of its partitions, which are made empty. The root's come by themselves. A row is no worse off without.
void add_own_indexes(const schema::Structure& structure, std::vector<schema::Statement>& statements) {
  std::set<std::string> made;
  for (const auto& statement : statements) made.insert(statement.partition);
  std::set<std::string> of_root;
  for (const auto& statement : structure.after_data) {
    if (statement.what.starts_with(attached_index))
      of_root.insert(statement.what.substr(attached_index.size()));
  }
  for (const auto& index : structure.indexes) {
    if (!made.contains(index.relation) || of_root.contains(index.index)) continue;
    statements.push_back(index);
    statements.back().optional = true;
  }
}

}  // namespace

std::vector<schema::FollowedTable> tables_there(pg::Connection& connection, const Records& records,
                                                const std::vector<Oid>& missing) {
  std::vector<schema::FollowedTable> out;
  std::map<Oid, std::size_t> place;
  std::string oids;
  for (const auto& [oid, record] : records) {
    if (record.target_oid == 0 || record.is_moved() || std::ranges::find(missing, oid) != missing.end())
      continue;
    place.emplace(record.target_oid, out.size());
    oids += fmt::format("{}{}", oids.empty() ? "" : ",", record.target_oid);
    auto& table = out.emplace_back(schema::FollowedTable{.oid = oid});
    for (const auto& column : record.columns)
      table.columns.insert({column.attnum, column.name, column.type_oid, column.typmod});
  }
  if (out.empty()) return out;
  auto rows = connection.query(
      fmt::format(
          "select c.oid, n.nspname, c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on "
          "n.oid = c.relnamespace where c.oid in ({}) and c.relkind = 'r' and not c.relispartition and "
          "pg_catalog.pg_has_role(c.relowner, 'usage')",
          oids),
      looking);
  for (int row = 0; row < rows.rows(); ++row)
    out[place.at(rows.oid(row, 0))].name = quote_qualified(rows.get(row, 1), rows.get(row, 2));
  return out;
}

bool follow_structure(pg::Connection& connection, MadeObjects& made, const Records& records,
                      const std::vector<Oid>& tables, const schema::ReadStructure& read,
                      schema::StructureOptions how, const MakeRoom& make_room, const MakeReady& make_ready,
                      const OtherShape& other_shape) {
  if (tables.empty()) return true;
  std::set<Oid> ready;
  made.forget();
  auto again = made.to_make_again();
  how.are_there = true;
  how.leaves_out = [&](const auto& objects) {
    return made.present(objects, how.strangers, [&](const schema::NamedObject& object) {
      return object.catalog != relation_catalog || again.contains(object.name);
    });
  };
  auto structure = read(tables, how);
  std::vector<schema::Statement> first;
  std::map<Oid, std::vector<schema::Statement>> of_roots;
  for (const auto& statement : structure.before_data) {
    if (statement.table == 0) {
      first.push_back(statement);
      continue;
    }
    auto root = records.find(statement.table);
    if (!statement.partition.empty() && root != records.end() && !root->second.is_moved())
      of_roots[statement.table].push_back(statement);
  }
  std::map<Oid, std::vector<schema::Statement>> partitions;
  for (const auto& [root, statements] : of_roots) {
    const auto& record = records.at(root);
    if (!record.copied && make_way(connection, record, statements, [&] { make_ready(root); }))
      ready.insert(root);
    auto lacking = lacking_partitions(connection, record, statements, make_room);
    if (lacking.empty()) continue;
    if (record.copied && !odd_partitions(connection, record, attachments(statements)).there.empty())
      other_shape(root, fmt::format("{} has other partitions at the source now", record.qualified()));
    partitions.emplace(root, std::move(lacking));
  }
  for (auto& [root, statements] : partitions) add_own_indexes(structure, statements);
  bool all_made = true;
  auto notes = made.notes();
  if (notes.empty()) {
    first.clear();
  } else {
    std::ranges::copy_if(structure.after_data, std::back_inserter(first), is_of_a_view);
    first.insert(first.end(), notes.begin(), notes.end());
  }
  for (const auto& statement : structure.after_data) {
    if (is_one_of(again, statement)) first.push_back(made.noting(statement));
  }
  if (!first.empty()) {
    try {
      schema::run_structure(connection, first);
      made.identify(false);
    } catch (const Error& error) {
      if (error.retry() == Retry::transient) throw;
      // A table that needs it is told when it does, and views that gave way are tried again.
      log::warn("schema", "{}", error.message());
      all_made = false;
    }
  }
  for (const auto& [root, statements] : partitions) {
    if (!records.at(root).copied && !ready.contains(root)) make_ready(root);
    for_table(root, [&] {
      try {
        schema::run_structure(connection, statements, schema::Missing::refused, [&] {
          if (how.trust_source) return;
          if (auto own = find_own_table(connection, records.at(root)))
            refuse_code_of_others(connection, root, *own);
        });
      } catch (const Error& error) {
        constexpr const char* datatype_mismatch = "42804";
        if (error.sqlstate() == datatype_mismatch) other_shape(root, error.message());
        throw;
      }
    });
  }
  return all_made;
}

void check_types(const MadeObjects& made, const schema::Table& table) {
  for (const auto& column : table.columns) {
    auto why = made.differs(*column.type);
    if (!why) continue;
    throw TableRefused(
        table.oid, fmt::format("column {} of {} cannot be followed: {}", column.name, table.qualified(), *why),
        "Give the target's type the source's definition, or rename it there");
  }
}

namespace {

/// Somebody's index would end the making of all of them, after the data. That of a key of a table of ours has
/// its name from the source, where it is another's by now: the table was dropped there, or its index renamed.
/// SQL that takes the name from it. An index without a key may be one that the target's users made.
std::string check_indexes(pg::Connection& connection, const Records& records,
                          const std::vector<schema::Table>& tables,
                          const std::vector<schema::Statement>& statements) {
  std::map<std::string, Oid> wanted;
  std::string names;
  for (const auto& statement : statements) {
    if (statement.index.empty()) continue;
    wanted.emplace(statement.index, statement.table);
    names += (names.empty() ? "" : ", ") + quote_literal(statement.index);
  }
  if (names.empty()) return {};
  auto rows = connection.query(
      fmt::format("select name, c.oid, i.indrelid, pg_catalog.pg_partition_root(i.indrelid)::pg_catalog.oid "
                  "from pg_catalog.unnest(array[{}]::pg_catalog.text[]) name "
                  "join pg_catalog.pg_class c on c.oid = pg_catalog.to_regclass(name)::pg_catalog.oid "
                  "left join pg_catalog.pg_index i on i.indexrelid = c.oid and exists (select from "
                  "pg_catalog.pg_constraint k where k.conindid = c.oid and k.conrelid = i.indrelid)",
                  names),
      looking);
  std::string sql;
  for (int i = 0; i < rows.rows(); ++i) {
    bool ours = std::ranges::any_of(records, [&](const auto& known) {
      const auto& record = known.second;
      bool has_it = record.target_oid != 0 &&
                    (record.target_oid == rows.oid(i, 2) || record.target_oid == rows.oid(i, 3));
      return has_it && find_own_table(connection, record);
    });
    if (ours) {
      sql += fmt::format("alter index {} rename to {}; ", rows.get(i, 0),
                         quote_identifier(fmt::format("tailrace_was_{}", rows.get(i, 1))));
      continue;
    }
    auto table = std::ranges::find(tables, wanted.at(rows.str(i, 0)), &schema::Table::oid);
    if (table == tables.end()) continue;
    throw TableRefused(
        table->oid,
        fmt::format("the index {} of the source's table {} cannot be made at the target, which has "
                    "something else of that name",
                    rows.get(i, 0), table->qualified()),
        fmt::format("Rename what is called {} at the target, or the source's index", rows.get(i, 0)));
  }
  return sql;
}

}  // namespace

void check_makeable(pg::Connection& connection, const Records& records, const MadeObjects& made,
                    const std::vector<schema::Table>& tables, const schema::Structure& structure,
                    const MakeRoom& make_room) {
  for (const auto& table : tables) check_types(made, table);
  for (const auto& statement : structure.before_data) {
    check_key(statement);
    if (statement.partition.empty()) continue;
    auto root = std::ranges::find(tables, statement.table, &schema::Table::oid);
    if (root == tables.end()) continue;
    TableRecord made_now;
    made_now.oid = root->oid;
    made_now.schema = root->schema;
    made_now.name = root->name;
    lacks_partition(connection, made_now, statement.partition, make_room);
  }
  // The indexes of what made room went with it.
  auto renaming = check_indexes(connection, records, tables, structure.indexes);
  renaming += check_indexes(connection, records, tables, structure.after_data);
  if (!renaming.empty()) connection.query(renaming, "taking names from indexes of tables that had them before");
}

}  // namespace tailrace::target::postgres
