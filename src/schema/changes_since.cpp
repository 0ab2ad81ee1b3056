#include "schema/changes_since.h"

#include <fmt/format.h>

#include "base/sql_text.h"
#include "schema/catalog.h"

namespace tailrace::schema {
namespace {

constexpr const char* looking = "looking for tables that were altered since the slot was made";

std::string array_of(const std::vector<Oid>& oids) {
  std::string out = "{";
  for (Oid oid : oids) out += fmt::format("{}{}", out.size() > 1 ? "," : "", oid);
  return out + "}";
}

/// An xmin that is ahead is one of an earlier round of the counter, long frozen.
std::string young(const std::string& xid) {
  return fmt::format("pg_catalog.age({}) between 0 and h.age", xid);
}

std::string horizon(const std::string& slot) {
  return fmt::format(
      "horizon as materialized (select coalesce((select pg_catalog.age(s.catalog_xmin) from "
      "pg_catalog.pg_replication_slots s where s.slot_name = {}), 2147483647) as age), ",
      quote_literal(slot));
}

/// By which rows a table is a member, of the publication `p`.
std::string memberships(bool by_schema, const std::string& condition) {
  std::string out = fmt::format(
      "exists (select from pg_catalog.pg_publication_rel m where m.prpubid = p.oid and (m.prrelid = t.oid or "
      "m.prrelid "
      "in (select u.relid from pg_catalog.pg_partition_ancestors(t.oid) u)) and {})",
      condition);
  if (!by_schema) return out;
  return out + fmt::format(
                   " or exists (select from pg_catalog.pg_publication_namespace m where m.pnpubid = p.oid and "
                   "m.pnnspid = t.relnamespace and {})",
                   condition);
}

std::string membership_sql(bool by_schema, const std::string& names) {
  return fmt::format("exists (select from pg_catalog.pg_publication p where p.pubname in ({}) and ({} or {}))",
                     names, young("p.xmin"), memberships(by_schema, young("m.xmin")));
}

/// The same, of publications that were not made together with the slot. Before 18 the server itself refuses a
/// slot that is older than its publication, as soon as there is a change that would be lost by it.
std::string joined_sql(bool by_schema, const std::string& names) {
  return fmt::format(
      "exists (select from pg_catalog.pg_publication p where p.pubname in ({}) and ({} and not p.puballtables "
      "and not "
      "({}) or {}))",
      names, young("p.xmin"), memberships(by_schema, "m.xmin = p.xmin"),
      memberships(by_schema, young("m.xmin") + " and m.xmin <> p.xmin"));
}

/// Of a table that is young itself.
std::string since_its_birth_sql(bool by_schema, const std::string& names) {
  // Its type is written anew when the table gets another name or schema.
  std::string schemas = fmt::format(
      " or y.xmin = b.xmin and exists (select from pg_catalog.pg_publication_namespace m where m.pnpubid = "
      "p.oid and "
      "m.pnnspid = t.relnamespace and not {})",
      young("m.xmin"));
  return fmt::format(
      "exists (select from pg_catalog.pg_attribute b, pg_catalog.pg_type y, pg_catalog.pg_publication p where "
      "b.attrelid = t.oid and b.attnum = -1 and y.oid = t.reltype and p.pubname in ({}) and (p.puballtables "
      "and not {} "
      "or exists (select from pg_catalog.pg_publication_rel m where m.prpubid = p.oid and m.prrelid = t.oid "
      "and "
      "m.xmin = b.xmin){}))",
      names, young("p.xmin"), by_schema ? schemas : "");
}

/// Of what holds a table's rows: itself, or its leaves.
std::string of_leaves(const std::string& what, const std::string& condition) {
  return fmt::format(
      "(select {} from tree x join pg_catalog.pg_class c on c.oid = x.relid where x.root = t.oid and c.relkind "
      "= 'r' "
      "and {})",
      what, condition);
}

std::vector<Oid> oids_in(std::string_view list) {
  std::vector<Oid> out;
  while (!list.empty()) {
    auto end = std::min(list.find(','), list.size());
    out.push_back(static_cast<Oid>(std::stoul(std::string(list.substr(0, end)))));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return out;
}

}  // namespace

std::map<Oid, ChangeSince> changes_since(pg::Connection& connection, const std::string& slot,
                                         const std::vector<std::string>& publications,
                                         const std::vector<Oid>& tables) {
  if (tables.empty()) return {};
  bool by_schema = connection.server_version() >= 150000;
  std::string names;
  for (const auto& name : publications) names += (names.empty() ? "" : ", ") + quote_literal(name);
  // A file that is older than the slot holds no row that was frozen by then.
  std::string rewritten = "not x.joined and " + young("c.xmin") + " and " + young("c.relfrozenxid");
  auto rows = connection.query(
      "with recursive " + horizon(slot) +
          fmt::format(
              "tree as (select o as root, o as relid, false as joined from "
              "pg_catalog.unnest($1::pg_catalog.oid[]) o "
              "union all select x.root, i.inhrelid, x.joined or {} from tree x join pg_catalog.pg_inherits i "
              "on "
              "i.inhparent = x.relid cross join horizon h) "
              "select t.oid, "
              "exists (select from pg_catalog.pg_attribute a where a.attrelid = t.oid and a.attnum = -1 and "
              "{}), "
              "exists (select from pg_catalog.pg_type y where y.oid = t.reltype and {}), "
              "exists (select from pg_catalog.pg_attribute a where a.attrelid = t.oid and a.attnum > 0 and "
              "{}), "
              "exists {}, {}, {}, {}, {}, {} from pg_catalog.pg_class t cross join horizon h where t.oid = "
              "any($1::pg_catalog.oid[])",
              young("i.xmin"), young("a.xmin"), young("y.xmin"), young("a.xmin"), of_leaves("", rewritten),
              of_leaves("pg_catalog.string_agg(c.oid::pg_catalog.text, ',')", "x.joined"),
              // Of those alone that it is asked of: it waits for whoever has the table locked.
              "case when exists (select from pg_catalog.pg_attribute a where a.attrelid = t.oid and a.attnum = "
              "-1 "
              "and " +
                  young("a.xmin") + ") then " +
                  of_leaves("coalesce(pg_catalog.sum(pg_catalog.pg_relation_size(c.oid)), 0) > 0", "true") +
                  " end",
              membership_sql(by_schema, names), since_its_birth_sql(by_schema, names),
              connection.server_version() < 180000 ? joined_sql(by_schema, names)
                                                   : membership_sql(by_schema, names)),
      {array_of(tables)}, looking);
  std::map<Oid, ChangeSince> out;
  for (int row = 0; row < rows.rows(); ++row) {
    Oid table = rows.oid(row, 0);
    ChangeSince change;
    if (rows.flag(row, 1)) {
      change.made = true;
      change.has_rows = rows.flag(row, 6);
      change.always_sent = rows.flag(row, 8);
      out.emplace(table, change);
      continue;
    }
    change.joined = rows.flag(row, 9);
    auto joined = rows.is_null(row, 5) ? std::vector<Oid>{} : oids_in(rows.get(row, 5));
    if (rows.flag(row, 2)) {
      change.what = "its name, its schema or its owner changed";
    } else if (rows.flag(row, 3)) {
      change.what = "a column was added, dropped or altered";
    } else if (rows.flag(row, 4)) {
      change.what = "it, or a partition of it, was truncated or rewritten";
    } else if (!joined.empty() && Catalog(connection).began_empty(table, joined).size() < joined.size()) {
      change.what = "a partition came with rows";
    } else if (rows.flag(row, 7)) {
      change.what = "what is published of it changed";
    }
    if (!change.what.empty()) out.emplace(table, change);
  }
  return out;
}

}  // namespace tailrace::schema
