#include "target/postgres/table_checks.h"

#include "target/postgres/table_plan.h"

namespace tailrace::target::postgres {

std::shared_ptr<const Relation> relation_of(const schema::Table& table) {
  auto out = std::make_shared<Relation>();
  out->oid = table.oid;
  out->schema = table.schema;
  out->name = table.name;
  out->identity = table.identity;
  for (const auto& column : table.columns)
    out->columns.push_back({column.name, column.type->oid, column.typmod, column.is_key});
  return out;
}

TableRecord record_of(const schema::Table& table, const TargetTable& there) {
  TableRecord record;
  record.oid = table.oid;
  record.schema = table.schema;
  record.name = table.name;
  record.target_name = there.sql_name();
  record.filenode = table.filenode;
  record.membership = table.membership;
  for (const auto& column : table.columns) {
    record.columns.push_back(
        {column.attnum, column.name, column.type->oid, column.typmod, column.is_key, column.version});
  }
  return record;
}

std::vector<TableName> names_of(const std::vector<schema::Table>& tables) {
  std::vector<TableName> out;
  for (const auto& table : tables) out.emplace_back(table.schema, table.name);
  return out;
}

std::map<TableName, TargetTable> check_can_take(pg::Connection& connection,
                                                const std::vector<schema::Table>& tables,
                                                const std::set<Oid>& known, const PostgresOptions& options) {
  auto found = load_tables(connection, names_of(tables));
  for (const auto& table : tables) {
    auto at = found.find({table.schema, table.name});
    const auto* there = at != found.end() ? &at->second : nullptr;
    if (there == nullptr && options.structure == StructureMode::expect) {
      throw Error(Retry::needs_operator,
                  fmt::format("the target has no table {}, and schema: expect makes none", table.qualified()),
                  "Create it there, or use schema: copy");
    }
    if (there == nullptr) continue;
    TablePlan judged(table.oid, relation_of(table), *there);
    for (const auto& column : table.columns) check_fits(table, column, *there->find(column.name));
    if (known.contains(table.oid) || options.keep_rows) continue;
    auto rows = connection.query(
        fmt::format("select exists (select from {} {})", there->kind == 'p' ? "" : "only", there->sql_name()),
        "looking at " + table.qualified());
    if (!rows.flag(0, 0)) continue;
    throw Error(Retry::needs_operator,
                fmt::format("the target's table {} holds rows already", table.qualified()),
                fmt::format("Empty it (TRUNCATE {}), or leave the table out: a copy would double its rows",
                            there->sql_name()));
  }
  return found;
}

}  // namespace tailrace::target::postgres
