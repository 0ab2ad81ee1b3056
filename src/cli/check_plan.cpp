#include "cli/check_plan.h"

#include <fmt/format.h>

#include "pipeline/published_tables.h"
#include "source/publication.h"

namespace tailrace::cli {

std::vector<PlannedTable> plan_of(const config::Config& config, pg::Connection& source) {
  std::string oids;
  auto add = [&](Oid oid) { oids += (oids.empty() ? "" : ",") + std::to_string(oid); };
  auto spec = pipeline::publication_spec(config);
  if (auto published = spec.create ? std::nullopt : source::read_publications(source, spec.names)) {
    for (const auto& table : published->tables)
      if (spec.tables.selects(table.schema, table.name)) add(table.oid);
  } else {
    for (const auto& selected : source::select_tables(source::read_catalog_tables(source), spec))
      add(selected.table.oid);
  }
  auto rows = source.query(
      fmt::format(
          "with recursive part(root, oid) as (select oid, oid from "
          "pg_catalog.unnest('{{{}}}'::pg_catalog.oid[]) "
          "as oid union select p.root, i.inhrelid from pg_catalog.pg_inherits i join part p on i.inhparent = "
          "p.oid join pg_catalog.pg_class c on c.oid = i.inhrelid and c.relispartition) "
          "select n.nspname || '.' || r.relname, "
          "case when pg_catalog.bool_or(c.reltuples < 0) then -1 else pg_catalog.sum(c.reltuples)::bigint end, "
          "pg_catalog.sum(pg_catalog.pg_table_size(c.oid))::bigint "
          "from part p join pg_catalog.pg_class c on c.oid = p.oid join pg_catalog.pg_class r on r.oid = "
          "p.root "
          "join pg_catalog.pg_namespace n on n.oid = r.relnamespace "
          "where c.relkind = 'r' or c.oid = r.oid group by n.nspname, r.relname order by 3 desc, 1",
          oids),
      "measuring the tables");
  std::vector<PlannedTable> out;
  for (int i = 0; i < rows.rows(); ++i) out.push_back({rows.str(i, 0), "made", rows.i64(i, 1), rows.i64(i, 2)});
  return out;
}

std::int64_t bytes_of(const std::vector<PlannedTable>& plan) {
  std::int64_t out = 0;
  for (const auto& table : plan) out += table.bytes;
  return out;
}

}  // namespace tailrace::cli
