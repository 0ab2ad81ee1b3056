#include "target/postgres/names.h"

#include <algorithm>

#include "base/log.h"
#include "base/sql_text.h"
#include "target/postgres/places.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* naming = "giving the target's tables their names";
constexpr const char* looking = "looking for who has a name at the target";

/// The schema that the record's relation was moved to out of the way, by its name; empty: it stands elsewhere.
std::string place_aside(pg::Connection& connection, const TableRecord& record) {
  auto known = connection.query(
      fmt::format("select n.nspname from tailrace.moved_places p join pg_catalog.pg_namespace n on n.oid = "
                  "p.place where p.relation = {} and n.nspname = {}",
                  record.target_oid, quote_literal(record.target_schema)),
      looking);
  return known.rows() == 0 ? "" : known.str(0, 0);
}

std::string forget_place(const TableRecord& record, const std::string& place) {
  return fmt::format("drop schema {}; delete from tailrace.moved_places where relation = {}",
                     quote_identifier(place), record.target_oid);
}

void put_name(TableRecord& record, const std::string& schema, const std::string& name) {
  record.target_schema = schema;
  record.target_table = name;
  record.target_name = quote_qualified(schema, name);
}

/// Where one of these fails, it is the fault of what stands in its way, or of what the user may not do.
template <typename Work>
auto blaming(const TableRecord& record, const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    if (error.retry() == Retry::transient || error.sqlstate().empty()) throw;
    throw TableRefused(record.oid,
                       fmt::format("the target's table {} cannot follow the source's {} to its name: {}",
                                   record.target_name, record.qualified(), error.message()),
                       "Remove what is in the way there");
  }
}

void alter(pg::Connection& connection, const TableRecord& record, const std::string& sql) {
  blaming(record, [&] { connection.query(sql, naming); });
}

/// Indexes, constraints and sequences come along, and back, with a change of schema: their names are free then.
/// `aside`: to a place of its own, which is there.
void set_schema(pg::Connection& connection, TableRecord& record, const std::string& schema, bool aside) {
  auto left = place_aside(connection, record);
  // Partitions bear names of their own: they make room with their root, and come back with it.
  auto partitions = connection.query(
      fmt::format("select p.relid::pg_catalog.regclass from pg_catalog.pg_partition_tree({0}) p "
                  "join pg_catalog.pg_class c on c.oid = p.relid join pg_catalog.pg_namespace n on n.oid = "
                  "c.relnamespace where p.relid <> {0} and (n.nspname = {1} or {2})",
                  record.target_oid, quote_literal(left), aside),
      naming);
  if (!aside) alter(connection, record, "create schema if not exists " + quote_identifier(schema));
  alter(connection, record,
        fmt::format("alter table {} set schema {}", record.target_name, quote_identifier(schema)));
  for (int i = 0; i < partitions.rows(); ++i)
    alter(connection, record,
          fmt::format("alter table {} set schema {}", partitions.get(i, 0), quote_identifier(schema)));
  put_name(record, schema, record.target_table);
  if (!left.empty()) alter(connection, record, forget_place(record, left));
}

void rename(pg::Connection& connection, TableRecord& record, const std::string& name) {
  alter(connection, record,
        fmt::format("alter table {} rename to {}", record.target_name, quote_identifier(name)));
  put_name(record, record.target_schema, name);
}

void move_aside(pg::Connection& connection, TableRecord& record) {
  if (!place_aside(connection, record).empty()) return;
  auto place = blaming(
      record, [&] { return make_place(connection, fmt::format("tailrace_moved_{}", record.target_oid)); });
  connection.query(fmt::format("delete from tailrace.moved_places where relation = {0}; "
                               "insert into tailrace.moved_places values ({0}, {1})",
                               record.target_oid, place.schema),
                   naming);
  log::info("target", "the name of {} is another table's at the source now: it is {}.{} until that has settled",
            record.target_name, place.name, record.target_table);
  set_schema(connection, record, place.name, /*aside=*/true);
}

/// Of a table that is copied anew, without what the partition held.
void drop_partition(pg::Connection& connection, const TableRecord& root, const Claim& claim) {
  auto partition = quote_qualified(claim.schema, claim.name);
  auto parent = connection.query(
      fmt::format("select i.inhparent::pg_catalog.regclass from pg_catalog.pg_inherits i where i.inhrelid = "
                  "{}::pg_catalog.regclass",
                  quote_literal(partition)),
      naming);
  if (parent.rows() == 0) return;
  alter(
      connection, root,
      fmt::format("alter table {} detach partition {}; drop table {}", parent.str(0, 0), partition, partition));
}

void give_name(pg::Connection& connection, TableRecord& record, const Claim& claim) {
  bool other_schema = record.target_schema != claim.schema;
  // Under its old name it may meet somebody in the new schema, and under its new one in the old.
  if (other_schema && record.target_table != claim.name) move_aside(connection, record);
  if (record.target_table != claim.name) rename(connection, record, claim.name);
  if (other_schema) set_schema(connection, record, claim.schema, /*aside=*/false);
}

}  // namespace

bool has_relation(const Records& records, Oid table) {
  auto record = records.find(table);
  return record != records.end() && record->second.target_oid != 0;
}

std::optional<TargetTable> find_own_table(pg::Connection& connection, const TableRecord& record) {
  if (record.target_oid == 0) return std::nullopt;
  auto found = load_table(connection, record.target_oid);
  bool as_left =
      found && found->is_table() && found->schema == record.target_schema && found->name == record.target_table;
  return as_left ? std::move(found) : std::nullopt;
}

TargetTable own_table(pg::Connection& connection, const TableRecord& record) {
  if (auto found = find_own_table(connection, record)) return std::move(*found);
  auto moved = load_table(connection, record.target_oid);
  throw TableRefused(
      record.oid,
      moved ? fmt::format("the target's table {} of the source's {} was renamed there, to {}",
                          record.target_name, record.qualified(), moved->sql_name())
            : fmt::format("the target lost its table {} of the source's {}: it was dropped there, and whatever "
                          "has its name now is not tailrace's",
                          record.target_name, record.qualified()),
      "See to it that the name is free there; then it is made and copied anew");
}

std::string Occupant::what() const {
  switch (kind) {
    case 'r':
    case 'p': return "table";
    case 'v': return "view";
    case 'm': return "materialized view";
    case 'S': return "sequence";
    case 'i':
    case 'I': return "index";
    case 'f': return "foreign table";
    default: return "type";
  }
}

std::vector<Occupant> occupants(pg::Connection& connection, const Records& records,
                                const std::vector<Claim>& claims) {
  std::vector<Occupant> out(claims.size());
  std::vector<TableName> names;
  for (const auto& claim : claims) names.emplace_back(claim.schema, claim.name);
  // An array type that the server named itself gives way by itself.
  auto rows = connection.query_prepared(
      "select w.place, c.oid, c.relkind, case when c.relispartition "
      "then pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid else 0 "
      "end "
      "from unnest($1::pg_catalog.text[], "
      "$2::pg_catalog.text[]) with ordinality w (schema, name, place) "
      "join pg_catalog.pg_namespace n on n.nspname = w.schema join pg_catalog.pg_class c "
      "on c.relnamespace = n.oid and c.relname = "
      "w.name "
      "union all select w.place, 0, 't', 0 "
      "from unnest($1::pg_catalog.text[], "
      "$2::pg_catalog.text[]) with ordinality w (schema, name, place) "
      "join pg_catalog.pg_namespace n on n.nspname = w.schema join pg_catalog.pg_type t "
      "on t.typnamespace = n.oid and t.typname = "
      "w.name "
      "and t.typrelid = 0 and not exists (select from pg_catalog.pg_type e where e.typarray = t.oid)",
      text_arrays_of(names), looking);
  std::map<Oid, Oid> ours;
  for (const auto& [oid, record] : records) {
    if (record.target_oid != 0) ours.emplace(record.target_oid, oid);
  }
  for (int i = 0; i < rows.rows(); ++i) {
    auto& occupant = out[static_cast<std::size_t>(rows.i64(i, 0)) - 1];
    if (occupant.whose == Occupant::Whose::ours) continue;
    occupant.relation = rows.oid(i, 1);
    occupant.kind = rows.get(i, 2).front();
    occupant.whose = Occupant::Whose::somebodys;
    if (auto own = ours.find(occupant.relation); own != ours.end()) {
      // One that was renamed by hand is its owner's again.
      const auto& record = records.at(own->second);
      const auto& [schema, name] = names[static_cast<std::size_t>(rows.i64(i, 0)) - 1];
      if (record.target_schema != schema || record.target_table != name) continue;
      occupant.whose = Occupant::Whose::ours;
      occupant.table = own->second;
    } else if (auto root = ours.find(rows.oid(i, 3)); root != ours.end()) {
      occupant.whose = Occupant::Whose::part;
      occupant.table = root->second;
    }
  }
  return out;
}

TableRefused taken(const Claim& claim, const Occupant& occupant, const TableRecord* record) {
  auto name = quote_qualified(claim.schema, claim.name);
  bool renamed = record != nullptr && !record->target_name.empty() && record->target_name != name;
  auto whose = occupant.whose == Occupant::Whose::part ? "a partition of another table" : "not tailrace's";
  return TableRefused(
      claim.table,
      renamed
          ? fmt::format(
                "the source's table {} is called {}.{} now, and the target has a {} of that name, which "
                "is {}: the rows stay in {}",
                record->qualified(), claim.schema, claim.name, occupant.what(), whose, record->target_name)
          : fmt::format("the source's table {}.{} cannot be made at the target, which has a {} of that name "
                        "that is {}",
                        claim.schema, claim.name, occupant.what(), whose),
      fmt::format("Rename the target's {} {}, or the source's table", occupant.what(), name));
}

std::set<Oid> take_names(pg::Connection& connection, Records& records, const std::vector<Claim>& claims) {
  auto there = occupants(connection, records, claims);
  for (std::size_t i = 0; i < claims.size(); ++i) {
    using enum Occupant::Whose;
    const auto* root = there[i].whose == part ? &records.at(there[i].table) : nullptr;
    bool ours_to_free = root != nullptr && !root->copied && !root->is_held();
    if (there[i].whose == nobody || there[i].whose == ours || ours_to_free) continue;
    auto record = records.find(claims[i].table);
    throw taken(claims[i], there[i], record == records.end() ? nullptr : &record->second);
  }
  std::set<Oid> changed;
  for (std::size_t i = 0; i < claims.size(); ++i) {
    if (there[i].whose == Occupant::Whose::nobody || there[i].table == claims[i].table) continue;
    if (there[i].whose == Occupant::Whose::part) {
      drop_partition(connection, records.at(there[i].table), claims[i]);
      continue;
    }
    move_aside(connection, records.at(there[i].table));
    changed.insert(there[i].table);
  }
  for (const auto& claim : claims) {
    auto found = records.find(claim.table);
    if (found == records.end() || !find_own_table(connection, found->second)) continue;
    auto& record = found->second;
    if (record.target_schema == claim.schema && record.target_table == claim.name) continue;
    give_name(connection, record, claim);
    changed.insert(claim.table);
  }
  return changed;
}

std::string hand_on_sequences(pg::Connection& connection, Oid relation, const std::string& schema) {
  auto sequences = connection.query(
      fmt::format(
          "select pg_catalog.format('%I.%I', n.nspname, s.relname), pg_catalog.format('%I', s.relname) "
          "from pg_catalog.pg_depend d join pg_catalog.pg_class s on s.oid = d.objid and s.relkind = 'S' "
          "join pg_catalog.pg_namespace n on n.oid = s.relnamespace "
          "where d.classid = 1259 and d.refclassid = 1259 and d.refobjid = {0} and d.deptype = 'a' and exists ("
          "select from pg_catalog.pg_depend o join pg_catalog.pg_attrdef a on o.classid = 2604 and a.oid = "
          "o.objid "
          "where o.refclassid = 1259 and o.refobjid = s.oid and a.adrelid <> {0})",
          relation),
      "looking at what the source has no more");
  std::string sql;
  for (int i = 0; i < sequences.rows(); ++i) {
    sql += fmt::format("alter sequence {} owned by none; alter sequence {} set schema {}; ",
                       sequences.get(i, 0), sequences.get(i, 0), quote_identifier(schema));
  }
  return sql;
}

void drop_moved(pg::Connection& connection, const TableRecord& record) {
  // What another table counts by was handed on at the source too.
  auto sql =
      hand_on_sequences(connection, record.target_oid, record.schema) + "drop table " + record.target_name;
  auto place = place_aside(connection, record);
  if (!place.empty()) sql += "; " + forget_place(record, place);
  // Several statements at once are one transaction.
  connection.query(sql, "removing what the source has no more");
}

}  // namespace tailrace::target::postgres
