#include "base/log.h"
#include "base/sql_text.h"
#include "schema/structure_draft.h"

namespace tailrace::schema {
namespace {

struct IndexDraft {
  Statement statement;
  Oid oid = 0;
  Oid parent = 0;  ///< the partitioned table's index that it is a part of
  bool of_partitioned = false;
  std::string name;  ///< quoted
};

/// Checks that the target knows what the index of this row is made of.
void check_index(const StructureDraft& draft, const pg::Result& rows, int row, std::string_view what) {
  if (rows.flag(row, 12) && draft.to() < 150000) refuse(what, "NULLS NOT DISTINCT", 15, draft.to());
  if (rows.flag(row, 13) && draft.to() < 180000) refuse(what, "WITHOUT OVERLAPS", 18, draft.to());
}

std::vector<IndexDraft> read_indexes_of(StructureDraft& draft, const std::vector<Oid>& relations) {
  int from = draft.from();
  auto rows = draft.source.query(
      fmt::format(
          "select i.indexrelid, n.nspname, ic.relname, tn.nspname, t.relname, t.relkind, "
          "pg_catalog.pg_get_indexdef(i.indexrelid), con.oid, con.conname, "
          "pg_catalog.pg_get_constraintdef(con.oid), "
          "coalesce((select h.inhparent from pg_catalog.pg_inherits h join pg_catalog.pg_index pi on "
          "pi.indexrelid = h.inhparent where h.inhrelid = i.indexrelid "
          "and pi.indrelid = any($1::pg_catalog.oid[])), 0), "
          "i.indisvalid, {}, {}, {}, i.indrelid "
          "from pg_catalog.pg_index i join pg_catalog.pg_class ic on ic.oid = i.indexrelid "
          "join pg_catalog.pg_namespace n on n.oid = ic.relnamespace "
          "join pg_catalog.pg_class t on t.oid = i.indrelid join pg_catalog.pg_namespace tn on tn.oid = "
          "t.relnamespace "
          "left join pg_catalog.pg_constraint con on con.conindid = i.indexrelid and con.conrelid = i.indrelid "
          "and con.contype in ('p', 'u', 'x') "
          "where i.indrelid = any($1::pg_catalog.oid[]) order by i.indexrelid",
          from >= 150000 ? "i.indnullsnotdistinct" : "false",
          from >= 180000 ? "coalesce(con.conperiod, false)" : "false",
          storage_options("ic.reloptions", "", draft.to())),
      {as_array(relations)}, "reading the indexes");
  std::vector<IndexDraft> out;
  const auto& left_out = draft.scope.on_left_out;
  for (int row = 0; row < rows.rows(); ++row) {
    if (left_out.contains(rows.oid(row, 0)) || left_out.contains(rows.oid(row, 7))) continue;
    if (draft.must_not_run(catalog_oid::relation, rows.oid(row, 0))) continue;
    std::string table = quote_qualified(rows.get(row, 3), rows.get(row, 4));
    std::string of_table = " of " + rows.str(row, 3) + "." + rows.str(row, 4);
    IndexDraft index;
    index.oid = rows.oid(row, 0);
    index.name = quote_qualified(rows.get(row, 1), rows.get(row, 2));
    index.of_partitioned = rows.get(row, 5) == "p";
    index.parent = rows.oid(row, 10);
    index.statement.table = rows.oid(row, 15);
    if (rows.get(row, 5) != "m") index.statement.relation = table;
    index.statement.what = "index " + rows.str(row, 2) + of_table;
    index.statement.sql = rows.str(row, 6);
    // One of a partitioned table is invalid while partitions lack theirs, and will be so again.
    if (!rows.flag(row, 11) && !index.of_partitioned) {
      log::warn("schema", "left out of the target's structure, as it is invalid at the source: {}",
                index.statement.what);
      continue;
    }
    if (!rows.is_null(row, 7)) {
      draft.made.insert({catalog_oid::constraint, rows.oid(row, 7)});
      index.statement.what = "constraint " + rows.str(row, 8) + of_table;
      index.statement.sql = fmt::format("ALTER TABLE ONLY {} ADD CONSTRAINT {} {}", table,
                                        quote_identifier(rows.get(row, 8)), rows.get(row, 9));
      if (!rows.get(row, 14).empty())
        index.statement.sql += fmt::format("; ALTER INDEX {} SET ({})", index.name, rows.get(row, 14));
    }
    check_index(draft, rows, row, index.statement.what);
    draft.made.insert({catalog_oid::relation, index.oid});
    out.push_back(std::move(index));
  }
  return out;
}

void read_marks(StructureDraft& draft) {
  auto rows = draft.source.query(
      "select n.nspname, t.relname, t.relreplident, "
      "(select ic.relname from pg_catalog.pg_index i join pg_catalog.pg_class ic on ic.oid = i.indexrelid "
      "where i.indrelid = t.oid and i.indisreplident and t.relreplident = 'i'), "
      "(select ic.relname from pg_catalog.pg_index i join pg_catalog.pg_class ic on ic.oid = i.indexrelid "
      "where i.indrelid = t.oid and i.indisclustered and i.indisvalid) "
      "from pg_catalog.pg_class t join pg_catalog.pg_namespace n on n.oid = t.relnamespace "
      "where t.oid = any($1::pg_catalog.oid[]) order by t.oid",
      {as_array(draft.scope.tables)}, "reading the replica identities");
  auto& list = draft.structure.after_data;
  for (int row = 0; row < rows.rows(); ++row) {
    std::string what = " of table " + rows.str(row, 0) + "." + rows.str(row, 1);
    std::string table = quote_qualified(rows.get(row, 0), rows.get(row, 1));
    std::string alter = "ALTER TABLE ONLY " + table;
    char identity = rows.get(row, 2)[0];
    std::string by = identity == 'f' ? "FULL" : identity == 'n' ? "NOTHING" : "";
    if (!rows.is_null(row, 3)) by = "USING INDEX " + quote_identifier(rows.get(row, 3));
    if (!by.empty())
      list.push_back({.what = "replica identity" + what,
                      .sql = fmt::format("{} REPLICA IDENTITY {}", alter, by),
                      .relation = table});
    if (!rows.is_null(row, 4))
      list.push_back({.what = "clustering" + what,
                      .sql = alter + " CLUSTER ON " + quote_identifier(rows.get(row, 4)),
                      .relation = table});
  }
}

}  // namespace

void read_indexes(StructureDraft& draft) {
  auto indexes = read_indexes_of(draft, draft.scope.tables);
  std::map<Oid, std::string> partitioned;
  auto& after_data = draft.structure.after_data;
  for (auto& index : indexes) {
    if (index.of_partitioned) partitioned.emplace(index.oid, index.name);
    index.statement.index = index.name;
    (index.of_partitioned ? after_data : draft.structure.indexes).push_back(index.statement);
  }
  // The partitioned table's index was made ON ONLY it; so each partition's keeps the name that it has at the
  // source.
  for (const auto& index : indexes) {
    auto parent = partitioned.find(index.parent);
    if (parent == partitioned.end()) continue;
    after_data.push_back({.what = "index of a partition, " + index.name,
                          .sql = fmt::format("ALTER INDEX {} ATTACH PARTITION {}", parent->second, index.name),
                          .relation = index.statement.relation});
  }
  read_marks(draft);
}

void read_view_indexes(StructureDraft& draft) {
  for (auto& index : read_indexes_of(draft, draft.scope.views))
    draft.structure.after_data.push_back(std::move(index.statement));
}

void read_late_constraints(StructureDraft& draft) {
  int from = draft.from();
  auto rows = draft.source.query(
      fmt::format(
          "select c.oid, n.nspname, t.relname, t.relkind, c.conname, c.contype, "
          "pg_catalog.pg_get_constraintdef(c.oid), "
          "c.convalidated, {}, {}, {} from pg_catalog.pg_constraint c join pg_catalog.pg_class t on t.oid = "
          "c.conrelid "
          "join pg_catalog.pg_namespace n on n.oid = t.relnamespace "
          "where c.conrelid = any($1::pg_catalog.oid[]) and case "
          "when c.contype = 'f' then not exists (select from pg_catalog.pg_constraint p where p.oid = "
          "c.conparentid "
          "and p.conrelid = any($1::pg_catalog.oid[])) "
          "when c.contype in ('c', 'n') then not c.convalidated and (c.conislocal or not exists (select from "
          "pg_catalog.pg_inherits h where h.inhrelid = t.oid "
          "and h.inhparent = any($1::pg_catalog.oid[]))) else false end "
          "order by c.contype, c.oid",
          from >= 150000 ? "c.confdelsetcols is not null" : "false", from >= 180000 ? "c.conperiod" : "false",
          from >= 180000 ? "c.conenforced" : "true"),
      {as_array(draft.scope.tables)}, "reading the foreign keys");
  for (int row = 0; row < rows.rows(); ++row) {
    if (rows.get(row, 5) == "f" && draft.scope.on_left_out.contains(rows.oid(row, 0))) continue;
    if (draft.must_not_run(catalog_oid::constraint, rows.oid(row, 0))) continue;
    std::string what =
        fmt::format("constraint {} of {}.{}", rows.get(row, 4), rows.get(row, 1), rows.get(row, 2));
    bool foreign_key = rows.get(row, 5) == "f";
    if (rows.flag(row, 8) && draft.to() < 150000) refuse(what, "ON DELETE SET of some columns", 15, draft.to());
    if (rows.flag(row, 9) && draft.to() < 180000) refuse(what, "PERIOD", 18, draft.to());
    if (!rows.flag(row, 10) && draft.to() < 180000) refuse(what, "NOT ENFORCED", 18, draft.to());
    if (foreign_key && rows.get(row, 3) == "p" && !rows.flag(row, 7) && draft.to() < 180000)
      refuse(what, "NOT VALID on a partitioned table", 18, draft.to());
    draft.made.insert({catalog_oid::constraint, rows.oid(row, 0)});
    std::string table = quote_qualified(rows.get(row, 1), rows.get(row, 2));
    draft.structure.after_data.push_back(
        {.what = what,
         .sql = fmt::format("ALTER TABLE {} ADD CONSTRAINT {} {}", table, quote_identifier(rows.get(row, 4)),
                            rows.get(row, 6)),
         .relation = table});
  }
  auto statistics = draft.source.query(
      fmt::format("select s.oid, n.nspname, s.stxname, pg_catalog.pg_get_statisticsobjdef(s.oid), "
                  "case when s.stxstattarget >= 0 then s.stxstattarget end "
                  "from pg_catalog.pg_statistic_ext s join pg_catalog.pg_namespace n on n.oid = s.stxnamespace "
                  "where s.stxrelid = any($1::pg_catalog.oid[]) order by 1"),
      {as_array(draft.scope.tables)}, "reading the statistics objects");
  for (int row = 0; row < statistics.rows(); ++row) {
    if (draft.must_not_run(catalog_oid::statistics, statistics.oid(row, 0))) continue;
    std::string sql = statistics.str(row, 3);
    if (!statistics.is_null(row, 4)) {
      sql +=
          fmt::format("; ALTER STATISTICS {} SET STATISTICS {}",
                      quote_qualified(statistics.get(row, 1), statistics.get(row, 2)), statistics.get(row, 4));
    }
    draft.made.insert({catalog_oid::statistics, statistics.oid(row, 0)});
    draft.structure.after_data.push_back(
        {"statistics " + statistics.str(row, 1) + "." + statistics.str(row, 2), sql, {}, /*optional=*/true});
  }
}

}  // namespace tailrace::schema
