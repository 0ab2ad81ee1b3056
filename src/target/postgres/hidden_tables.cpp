#include "target/postgres/hidden_tables.h"

#include <algorithm>

#include "base/log.h"
#include "base/sql_text.h"
#include "target/postgres/names.h"
#include "target/postgres/places.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* hiding = "keeping tables out of sight until they are copied";

// Two subscriptions share the schemas: one must not drop what the other is about to use.
constexpr const char* lock = "pg_catalog.pg_advisory_xact_lock(7206021914)";

std::string values_of(const std::vector<TableName>& tables) {
  std::string out;
  for (const auto& [schema, name] : tables)
    out += fmt::format("{}({}, {})", out.empty() ? "" : ", ", quote_literal(schema), quote_literal(name));
  return out;
}

/// A partition is its root's, unless it is copied as a table of its own.
std::string members_of(const std::vector<TableName>& tables) {
  return fmt::format(
      "with named as (select c.oid, n.oid as name_space from (values {}) w (schema, name) "
      "join pg_catalog.pg_namespace n on n.nspname = w.schema "
      "join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name and c.relkind in ('r', "
      "'p')), "
      "members as (select oid as relation, oid as root from named union all "
      "select distinct on (p.relid) p.relid::pg_catalog.oid, t.oid from named t "
      "cross join lateral pg_catalog.pg_partition_tree(t.oid) p "
      "where p.relid not in (select oid from named)) ",
      values_of(tables));
}

std::string list_of(const std::vector<HiddenTables::Root>& roots) {
  std::string oids;
  for (const auto& root : roots) oids += fmt::format("{}{}", oids.empty() ? "" : ", ", root.relation);
  return oids;
}

/// What inherits from `gone`, a list of their identifiers in SQL, and does not go with them, keeps its rows.
std::string disinherit(pg::Connection& connection, const std::string& gone) {
  auto heirs = connection.query(
      fmt::format(
          "with gone as ({}) select pg_catalog.format('alter table %s no inherit %s', "
          "i.inhrelid::pg_catalog.regclass, i.inhparent::pg_catalog.regclass) from pg_catalog.pg_inherits i "
          "join pg_catalog.pg_class c on c.oid = i.inhrelid and not c.relispartition "
          "where i.inhparent in (select * from gone) and i.inhrelid not in (select * from gone)",
          gone),
      hiding);
  std::string sql;
  for (int i = 0; i < heirs.rows(); ++i) sql += heirs.str(i, 0) + ";";
  return sql;
}

}  // namespace

HiddenTables::HiddenTables(pg::Connection& connection, const std::string& subscription)
    : connection_(connection), literal_(quote_literal(subscription)) {}

bool HiddenTables::possible() {
  auto may = connection_.query(
      "select pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')", hiding);
  return may.flag(0, 0);
}

/// With the lock held. A schema that is not in the books is somebody else's, whatever it is called.
Oid HiddenTables::place_for(Oid name_space) {
  auto known = connection_.query(
      fmt::format(
          "select p.place from tailrace.hiding_places p join pg_catalog.pg_namespace n on n.oid = p.place "
          "where p.name_space = {}",
          name_space),
      hiding);
  if (known.rows() > 0) return known.oid(0, 0);
  auto place = make_place(connection_, fmt::format("tailrace_copy_{}", name_space));
  connection_.query(fmt::format("insert into tailrace.hiding_places values ({}, {})", place.schema, name_space),
                    hiding);
  return place.schema;
}

void HiddenTables::hide(const std::vector<TableName>& tables) {
  if (tables.empty()) return;
  connection_.query(fmt::format("select {}", lock), hiding);
  auto spaces = connection_.query(
      members_of(tables) +
          "select distinct c.relnamespace from members m join pg_catalog.pg_class c on c.oid = "
          "m.relation order by 1",
      hiding);
  for (int i = 0; i < spaces.rows(); ++i) place_for(spaces.oid(i, 0));
  auto moves = connection_.query(
      members_of(tables) +
          fmt::format(
              ", noted as (insert into tailrace.hidden select {}, c.oid, m.root, n.nspname, c.relname "
              "from members m join pg_catalog.pg_class c on c.oid = m.relation "
              "join pg_catalog.pg_namespace n on n.oid = c.relnamespace) "
              "select pg_catalog.format('alter table %s set schema %I', c.oid::pg_catalog.regclass, n.nspname) "
              "from members m join pg_catalog.pg_class c on c.oid = m.relation "
              "join tailrace.hiding_places p on p.name_space = c.relnamespace "
              "join pg_catalog.pg_namespace n on n.oid = p.place",
              literal_),
      hiding);
  std::string sql;
  for (int i = 0; i < moves.rows(); ++i) sql += moves.str(i, 0) + ";\n";
  if (!sql.empty()) connection_.query(sql, hiding);
}

std::map<TableName, TargetTable> HiddenTables::find(const std::vector<TableName>& tables) {
  auto rows = connection_.query(
      fmt::format("select h.schema_name, h.table_name, n.nspname, c.relname from tailrace.hidden h "
                  "join pg_catalog.pg_class c on c.oid = h.relation "
                  "join tailrace.hiding_places p on p.place = c.relnamespace "
                  "join pg_catalog.pg_namespace n on n.oid = p.place "
                  "where h.subscription = {} and h.relation = h.root",
                  literal_),
      hiding);
  std::map<TableName, TableName> own_names;
  for (int i = 0; i < rows.rows(); ++i)
    own_names.emplace(TableName(rows.str(i, 0), rows.str(i, 1)), TableName(rows.str(i, 2), rows.str(i, 3)));
  std::map<TableName, TableName> wanted;
  std::vector<TableName> places;
  for (const auto& table : tables) {
    auto found = own_names.find(table);
    if (found == own_names.end()) continue;
    places.push_back(found->second);
    wanted.emplace(found->second, table);
  }
  std::map<TableName, TargetTable> out;
  if (places.empty()) return out;
  for (auto& [place, table] : load_tables(connection_, places)) out.emplace(wanted.at(place), std::move(table));
  return out;
}

bool HiddenTables::has_lost_name(const Error& error) {
  return error.sqlstate() == "42P07" || error.sqlstate() == "42710";
}

bool HiddenTables::show(const TableName& table) {
  auto moves = connection_.query(
      fmt::format(
          "with gone as (delete from tailrace.hidden h using tailrace.hidden r where h.subscription = {0} "
          "and r.subscription = {0} and r.relation = h.root and r.relation = r.root "
          "and r.schema_name = {1} and r.table_name = {2} returning h.relation, h.schema_name) "
          "select pg_catalog.format('alter table %s set schema %I', c.oid::pg_catalog.regclass, "
          "g.schema_name) from gone g join pg_catalog.pg_class c on c.oid = g.relation "
          "join tailrace.hiding_places p on p.place = c.relnamespace",
          literal_, quote_literal(table.first), quote_literal(table.second)),
      hiding);
  std::string sql;
  for (int i = 0; i < moves.rows(); ++i) sql += moves.str(i, 0) + ";\n";
  if (sql.empty()) return false;
  try {
    connection_.query(sql, hiding);
  } catch (const Error& error) {
    if (!has_lost_name(error)) throw;
    Error lost(Retry::needs_operator,
               fmt::format("{}.{} is copied, and cannot take its name at the target, which something else took "
                           "meanwhile: {}",
                           table.first, table.second, error.message()),
               "Rename or drop what has the name there");
    throw Error(lost.with_sqlstate(error.sqlstate()));
  }
  return true;
}

std::vector<TableName> HiddenTables::left() {
  std::vector<TableName> out;
  for (auto& root : roots()) out.push_back(std::move(root.name));
  return out;
}

std::vector<HiddenTables::Root> HiddenTables::roots() {
  auto rows =
      connection_.query(fmt::format("select schema_name, table_name, relation, root from tailrace.hidden "
                                    "where subscription = {} order by relation <> root",
                                    literal_),
                        hiding);
  std::vector<Root> out;
  for (int i = 0; i < rows.rows(); ++i) {
    TableName name(rows.str(i, 0), rows.str(i, 1));
    if (rows.oid(i, 2) == rows.oid(i, 3)) {
      out.push_back({std::move(name), rows.oid(i, 2), {}});
    } else if (auto root = std::ranges::find(out, rows.oid(i, 3), &Root::relation); root != out.end()) {
      root->partitions.emplace(rows.oid(i, 2), std::move(name));
    }
  }
  return out;
}

void HiddenTables::drop(const std::vector<Root>& roots) {
  if (roots.empty()) return;
  auto oids = list_of(roots);
  drop_where(fmt::format("and h.root in ({})", oids));
  connection_.query(
      fmt::format("delete from tailrace.hidden where subscription = {} and root in ({})", literal_, oids),
      hiding);
}

std::vector<Oid> HiddenTables::heirs(const std::vector<Root>& roots) {
  if (roots.empty()) return {};
  auto rows = connection_.query(
      fmt::format(
          "with recursive heirs as (select i.inhrelid from pg_catalog.pg_inherits i where i.inhparent in ({0}) "
          "union select i.inhrelid from heirs h join pg_catalog.pg_inherits i on i.inhparent = h.inhrelid) "
          "select c.oid from heirs h join pg_catalog.pg_class c on c.oid = h.inhrelid "
          "where not c.relispartition and c.oid not in ({0}) order by 1",
          list_of(roots)),
      hiding);
  std::vector<Oid> out;
  for (int i = 0; i < rows.rows(); ++i) out.push_back(rows.oid(i, 0));
  return out;
}

void HiddenTables::drop_heirs(const std::vector<Oid>& tables) {
  if (tables.empty()) return;
  auto gone = fmt::format("select pg_catalog.unnest(array[{}]::pg_catalog.oid[])", fmt::join(tables, ", "));
  auto drop = connection_.query(
      fmt::format("with gone (oid) as ({}) select pg_catalog.format('drop table %s cascade', "
                  "pg_catalog.string_agg(g.oid::pg_catalog.regclass::pg_catalog.text, ', ')) from gone g",
                  gone),
      hiding);
  connection_.query(disinherit(connection_, gone) + drop.str(0, 0), hiding);
}

/// Functions and views that use what is dropped here were made for it, for nobody else knows of it, unless a
/// table that is in its place counts by a sequence of it, which stays.
void HiddenTables::drop_where(const std::string& condition) {
  auto tables = connection_.query(
      fmt::format("select h.relation, h.schema_name, "
                  "pg_catalog.format('drop table if exists %s cascade', c.oid::pg_catalog.regclass) "
                  "from tailrace.hidden h join pg_catalog.pg_class c on c.oid = h.relation "
                  "join tailrace.hiding_places p on p.place = c.relnamespace where h.subscription = {} {}",
                  literal_, condition),
      hiding);
  std::string sql = disinherit(
      connection_, fmt::format("select h.relation from tailrace.hidden h where h.subscription = {} {}",
                               literal_, condition));
  for (int i = 0; i < tables.rows(); ++i)
    sql += hand_on_sequences(connection_, tables.oid(i, 0), tables.str(i, 1));
  for (int i = 0; i < tables.rows(); ++i) sql += tables.str(i, 2) + ";";
  if (!sql.empty()) connection_.query(sql, hiding);
}

void HiddenTables::tidy() {
  auto any = connection_.query("select exists (select from tailrace.hiding_places)", hiding);
  if (!any.flag(0, 0)) return;
  connection_.query("begin", hiding);
  // Not waited for: who has it makes use of them, and clears up himself.
  auto free = connection_.query("select pg_catalog.pg_try_advisory_xact_lock(7206021914)", hiding);
  if (free.flag(0, 0)) drop_empty_places();
  connection_.query("commit", hiding);
}

/// With the lock held.
void HiddenTables::drop_empty_places() {
  auto empty = connection_.query(
      "select p.place, n.nspname from tailrace.hiding_places p "
      "left join pg_catalog.pg_namespace n on n.oid = p.place "
      "where not exists (select from pg_catalog.pg_class c where c.relnamespace = p.place)",
      hiding);
  for (int i = 0; i < empty.rows(); ++i) {
    connection_.query("savepoint tidying", hiding);
    try {
      if (!empty.is_null(i, 1))
        connection_.query("drop schema if exists " + quote_identifier(empty.get(i, 1)), hiding);
      connection_.query(fmt::format("delete from tailrace.hiding_places where place = {}", empty.oid(i, 0)),
                        hiding);
    } catch (const Error& error) {
      if (error.sqlstate().empty()) throw;
      // Another subscription's user made it, or somebody put something of his own there.
      log::debug("target", "{}", error.message());
      connection_.query("rollback to tidying", hiding);
    }
  }
}

void HiddenTables::remove_all() {
  drop_where("");
  connection_.query(
      fmt::format("delete from tailrace.hidden where subscription = {}; select {}", literal_, lock), hiding);
  drop_empty_places();
}

}  // namespace tailrace::target::postgres
