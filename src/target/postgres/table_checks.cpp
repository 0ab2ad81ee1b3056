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

namespace {

/// One that is there as something else than a table spoils the look at all of them.
std::map<TableName, TargetTable> load_what_can_be(pg::Connection& connection,
                                                  const std::vector<schema::Table>& tables,
                                                  std::vector<TableRefused>& refused) {
  try {
    return load_tables(connection, names_of(tables));
  } catch (const Error& error) {
    if (error.retry() != Retry::needs_operator) throw;
  }
  std::map<TableName, TargetTable> out;
  for (const auto& table : tables) {
    try {
      for_table(table.oid, [&] {
        if (auto found = load_table(connection, table.schema, table.name))
          out.emplace(TableName{table.schema, table.name}, std::move(*found));
      });
    } catch (const TableRefused& refusal) {
      refused.push_back(refusal);
    }
  }
  return out;
}

/// Throws Error where the table cannot be taken. `there`: null if the target has none of that name.
void check_table(pg::Connection& connection, const schema::Table& table, const TargetTable* there, bool known,
                 const PostgresOptions& options) {
  if (there == nullptr && options.structure == StructureMode::expect) {
    throw Error(Retry::needs_operator,
                fmt::format("the target has no table {}, and schema: expect makes none", table.qualified()),
                "Create it there, or use schema: copy");
  }
  if (there == nullptr) return;
  TablePlan judged(table.oid, relation_of(table), *there);
  for (const auto& column : table.columns) check_fits(table, column, *there->find(column.name));
  if (known || options.keep_rows) return;
  auto rows = connection.query(
      fmt::format("select exists (select from {} {})", there->kind == 'p' ? "" : "only", there->sql_name()),
      "looking at " + table.qualified());
  if (!rows.flag(0, 0)) return;
  throw Error(Retry::needs_operator, fmt::format("the target's table {} holds rows already", table.qualified()),
              fmt::format("Empty it (TRUNCATE {}), or leave the table out: a copy would double its rows",
                          there->sql_name()));
}

}  // namespace

Checked check_can_take(pg::Connection& connection, const std::vector<schema::Table>& tables,
                       const std::set<Oid>& known, const PostgresOptions& options) {
  Checked out;
  out.found = load_what_can_be(connection, tables, out.refused);
  std::set<Oid> refused;
  for (const auto& refusal : out.refused) refused.insert(refusal.table());
  for (const auto& table : tables) {
    if (refused.contains(table.oid)) continue;
    auto at = out.found.find({table.schema, table.name});
    try {
      for_table(table.oid, [&] {
        check_table(connection, table, at != out.found.end() ? &at->second : nullptr, known.contains(table.oid),
                    options);
      });
    } catch (const TableRefused& refusal) {
      out.refused.push_back(refusal);
    }
  }
  return out;
}

}  // namespace tailrace::target::postgres
