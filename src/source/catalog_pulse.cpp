#include "source/catalog_pulse.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/sql_text.h"
#include "source/hiding_places.h"

namespace tailrace::source {
namespace {

constexpr const char* purpose = "looking whether the source's catalogs changed";

/// Rows of a catalog as one value: those that were written anew count as others. For few rows.
std::string digest(std::string_view what) {
  return fmt::format("pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat_ws(' ', {}), 0))", what);
}

/// The same for many rows, of which only those that went are asked for.
std::string count(std::string_view oid) {
  return fmt::format("pg_catalog.concat_ws(' ', pg_catalog.count(*), pg_catalog.sum({}::pg_catalog.int8))",
                     oid);
}

}  // namespace

std::string CatalogPulse::names() const {
  std::string out;
  for (const auto& name : publications_) out += (out.empty() ? "" : ", ") + quote_literal(name);
  return out;
}

std::string CatalogPulse::counts_sql(int server_version) const {
  bool by_schema = server_version >= 150000;
  return fmt::format(
      "with pub as (select oid, xmin from pg_catalog.pg_publication where pubname in ({})) select "
      "(select {} from pub), (select {} from pg_catalog.pg_namespace where nspname !~ '^pg_'), "
      "(select {} from pg_catalog.pg_publication_rel where prpubid in (select oid from pub)), {}, "
      "(select {} from pg_catalog.pg_class where relkind in ('r', 'p', 'f') and relpersistence <> 't'), "
      "(select {} from pg_catalog.pg_inherits), "
      "(select {} from pg_catalog.pg_index where indisprimary or indisreplident)",
      names(), digest("oid, xmin, pg_catalog.obj_description(oid, 'pg_publication')"), digest("oid, nspname"),
      count("oid"),
      by_schema ? fmt::format("(select {} from pg_catalog.pg_publication_namespace where pnpubid in (select "
                              "oid from pub))",
                              digest("oid, xmin"))
                : "null",
      count("oid"), count("inhrelid"), count("indexrelid"));
}

std::string CatalogPulse::recent_sql() const {
  // The age of the horizon is asked once for the whole statement, not once a row; and nothing else of a row is
  // looked at before, for of 20 columns of each of 10,000 tables there are many.
  auto recent = [&](std::string_view row) {
    return fmt::format("pg_catalog.age({}.xmin) <= (select pg_catalog.age({}::pg_catalog.xid))", row,
                       quote_literal(horizon_));
  };
  return fmt::format(
      "select y.oid, n.nspname, c.relname, c.relkind, c.relpersistence = 'p', c.relispartition, y.described, "
      "y.attached, y.published, y.mark from (select z.oid, {} as mark, pg_catalog.bool_or(what = 'c') as "
      "described, pg_catalog.bool_or(what = 'p') as published, pg_catalog.bool_or(what = 'h') as attached "
      "from (select c.oid, 'c' as what, 0 as part, c.xmin as version from pg_catalog.pg_class c "
      "where {} "
      "union all select a.attrelid, 'a', a.attnum, a.xmin from pg_catalog.pg_attribute a "
      "where {} "
      "union all select i.indrelid, 'i', 0, i.xmin from pg_catalog.pg_index i where {} "
      "union all select h.inhrelid, 'h', h.inhseqno, h.xmin from pg_catalog.pg_inherits h where {} "
      "union all select r.prrelid, 'p', 0, r.xmin from pg_catalog.pg_publication_rel r where {} and r.prpubid "
      "in (select oid from pg_catalog.pg_publication where pubname in ({}))) z(oid, what, part, version) "
      "group by z.oid) y join pg_catalog.pg_class c on c.oid = y.oid join pg_catalog.pg_namespace n on n.oid = "
      "c.relnamespace where c.relkind in ('r', 'p', 'f') and c.relpersistence <> 't'",
      digest("z.what, z.part, z.version"), recent("c"), recent("a"), recent("i"), recent("h"), recent("r"),
      names());
}

CatalogPulse::Changes CatalogPulse::look(pg::Connection& connection) {
  auto next = *this;
  auto changes = next.read(connection);
  *this = std::move(next);
  return changes;
}

CatalogPulse::Changes CatalogPulse::read(pg::Connection& connection) {
  connection.query("begin isolation level repeatable read read only", purpose);
  // On a standby the text does not name all that is running.
  auto now = connection.query(
      "select case when pg_catalog.pg_is_in_recovery() then '' else "
      "pg_catalog.pg_current_snapshot()::pg_catalog.text end, "
      "pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::pg_catalog.xid",
      purpose);
  Changes changes;
  changes.first = horizon_.empty();
  // Where no transaction ended, nothing changed.
  if (changes.first || now.get(0, 0).empty() || now.get(0, 0) != snapshot_) {
    auto row = connection.query(counts_sql(connection.server_version()), purpose);
    Counts counts{row.str(0, 0),     row.str(0, 1), row.str(0, 2) + " " + row.str(0, 3),
                  row.str(0, 4),     row.str(0, 5), row.str(0, 6),
                  !row.is_null(0, 3)};
    auto before = std::exchange(counts_, std::move(counts));
    changes.publications = before.publications != counts_.publications || before.members != counts_.members;
    changes.schemas = before.schemas != counts_.schemas;
    changes.tables = before.tables != counts_.tables;
    changes.heirs = before.partitions != counts_.partitions;
    if (!changes.first) read_recent(connection, changes);
    if (before.keys != counts_.keys) read_keys(connection, changes);
    auto hidden = hiding_places(connection);
    changes.schemas |= std::exchange(hidden_, hidden) != hidden;
    snapshot_ = now.str(0, 0);
    horizon_ = now.str(0, 1);
  }
  changes.by_schema = counts_.by_schema;
  connection.query("commit", purpose);
  return changes;
}

/// While a transaction runs for hours, what was written since it began is recent at every look: those of which
/// nothing is new are left out.
void CatalogPulse::read_recent(pg::Connection& connection, Changes& changes) {
  auto rows = connection.query(recent_sql(), purpose);
  std::map<Oid, std::string> recent;
  for (int row = 0; row < rows.rows(); ++row) {
    Oid oid = rows.oid(row, 0);
    auto before = recent_.find(oid);
    bool known = before != recent_.end() && before->second == rows.get(row, 9);
    recent.emplace(oid, rows.str(row, 9));
    if (known) continue;
    changes.relations.push_back({oid, rows.str(row, 1), rows.str(row, 2), rows.get(row, 3).front(),
                                 rows.flag(row, 4), rows.flag(row, 5), rows.flag(row, 6), rows.flag(row, 7),
                                 rows.flag(row, 8)});
  }
  recent_ = std::move(recent);
}

void CatalogPulse::read_keys(pg::Connection& connection, Changes& changes) {
  auto rows = connection.query(
      "select i.indrelid, i.indexrelid from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = "
      "i.indrelid where (i.indisprimary or i.indisreplident) and c.relkind in ('r', 'p') and "
      "c.relpersistence <> 't' order by 1, 2",
      purpose);
  Keys now;
  now.reserve(static_cast<std::size_t>(rows.rows()));
  for (int row = 0; row < rows.rows(); ++row) now.emplace_back(rows.oid(row, 0), rows.oid(row, 1));
  Keys gone;
  std::ranges::set_difference(keys_, now, std::back_inserter(gone));
  for (const auto& [table, index] : gone) changes.keys_dropped.insert(table);
  keys_ = std::move(now);
}

}  // namespace tailrace::source
