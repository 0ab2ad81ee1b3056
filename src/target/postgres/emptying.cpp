#include "target/postgres/emptying.h"

#include "base/sql_text.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* emptying = "emptying tables";
constexpr const char* referenced_by_others = "0A000";

void restart_sequences(pg::Connection& connection, const std::string& sql_name) {
  auto sequences = connection.query(
      fmt::format("select pg_catalog.format('alter sequence %s restart', c.oid::pg_catalog.regclass) "
                  "from pg_catalog.pg_depend d join pg_catalog.pg_class c "
                  "on c.oid = d.objid and c.relkind = 'S' "
                  "where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.deptype in ('a', 'i') "
                  "and d.refobjid = {}::pg_catalog.regclass",
                  quote_literal(sql_name)),
      emptying);
  for (int i = 0; i < sequences.rows(); ++i) connection.query(sequences.str(i, 0), emptying);
}

}  // namespace

void empty_tables(pg::Connection& connection, std::span<const EmptiedTable> tables, bool restart_identity) {
  auto meant = [](const EmptiedTable& table) { return (table.partitioned ? "" : "only ") + table.sql_name; };
  std::string list;
  for (const auto& table : tables) list += (list.empty() ? "" : ", ") + meant(table);
  connection.query("savepoint tailrace_emptying", emptying);
  try {
    // Never CASCADE: it would reach rows that the source's TRUNCATE did not.
    connection.query(fmt::format("truncate {}{}", list, restart_identity ? " restart identity" : ""), emptying);
  } catch (const Error& error) {
    if (error.sqlstate() != referenced_by_others) throw;
    connection.query("rollback to tailrace_emptying", emptying);
    for (const auto& table : tables) {
      connection.query("delete from " + meant(table), emptying);
      if (restart_identity) restart_sequences(connection, table.sql_name);
    }
  }
  connection.query("release tailrace_emptying", emptying);
}

}  // namespace tailrace::target::postgres
