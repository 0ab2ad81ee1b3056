#include "target/postgres/table_evolution.h"

#include "base/sql_text.h"
#include "target/postgres/target_table.h"

namespace tailrace::target::postgres {
namespace {

/// A type of PostgreSQL itself has the same number everywhere; another one is known by its name.
std::string type_sql(pg::Connection& connection, const schema::Column& column) {
  std::string type =
      column.type->builtin
          ? fmt::format("{}::oid", column.type->oid)
          : quote_literal(quote_qualified(column.type->schema, column.type->name)) + "::pg_catalog.regtype";
  auto row = connection.query(fmt::format("select pg_catalog.format_type({}, {})", type, column.typmod),
                              fmt::format("looking for the type of the new column {}", column.name));
  return row.str(0, 0);
}

}  // namespace

void evolve_table(pg::Connection& connection, TableRecord& record, const Evolution& evolution) {
  auto alter = [&](const std::string& what, const std::string& purpose) {
    connection.query(fmt::format("alter table {} {}", quote_qualified(record.schema, record.name), what),
                     purpose);
  };
  auto there = [&](const std::string& column) {
    auto table = load_table(connection, record.schema, record.name);
    return table && table->find(column) != nullptr;
  };
  if (evolution.rename) {
    if (!load_table(connection, record.schema, *evolution.rename))
      alter("rename to " + quote_identifier(*evolution.rename), "renaming a table");
    record.name = *evolution.rename;
    record.target_name = quote_qualified(record.schema, record.name);
  }
  for (const auto& name : evolution.dropped_columns) {
    if (there(name)) alter("drop column " + quote_identifier(name), "dropping column " + name);
  }
  for (const auto& [from, to] : evolution.renamed_columns) {
    if (there(from))
      alter(fmt::format("rename column {} to {}", quote_identifier(from), quote_identifier(to)),
            "renaming a column");
  }
  for (const auto& added : evolution.added_columns) {
    if (there(added.column.name)) continue;
    auto type = type_sql(connection, added.column);
    // The default that fills the rows that are there is not the default of new ones, which come with their
    // values.
    std::string filled = added.value ? fmt::format(" default {}::{}", quote_literal(*added.value), type) : "";
    auto name = quote_identifier(added.column.name);
    alter(fmt::format("add column {} {}{}", name, type, filled), "adding column " + added.column.name);
    if (added.value)
      alter(fmt::format("alter column {} drop default", name), "adding column " + added.column.name);
  }
  for (const auto& column : evolution.retyped_columns) {
    alter(fmt::format("alter column {} type {}", quote_identifier(column.name), type_sql(connection, column)),
          "changing the type of " + column.name);
  }
  record.columns = evolution.columns;
  record.filenode = evolution.filenode;
}

}  // namespace tailrace::target::postgres
