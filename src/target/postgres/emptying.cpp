#include "target/postgres/emptying.h"

#include "base/sql_text.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* emptying_tables = "emptying a table";

void restart_sequences(pg::Connection& connection, const std::string& sql_name) {
  auto sequences = connection.query(
      fmt::format("select pg_catalog.format('alter sequence %s restart', c.oid::pg_catalog.regclass) "
                  "from pg_depend d join pg_class c on c.oid = d.objid and c.relkind = 'S' "
                  "where d.classid = 'pg_class'::pg_catalog.regclass and d.deptype in ('a', 'i') "
                  "and d.refobjid = {}::pg_catalog.regclass",
                  quote_literal(sql_name)),
      emptying_tables);
  for (int i = 0; i < sequences.rows(); ++i) connection.query(sequences.str(i, 0), emptying_tables);
}

}  // namespace

void empty_table(pg::Connection& connection, const std::string& sql_name, bool partitioned,
                 bool restart_identity) {
  std::string table = (partitioned ? "" : "only ") + sql_name;
  connection.query("savepoint tailrace_emptying", emptying_tables);
  try {
    connection.query(fmt::format("truncate {}{}", table, restart_identity ? " restart identity" : ""),
                     emptying_tables);
  } catch (const Error& error) {
    if (error.sqlstate() != "0A000") throw;
    connection.query(fmt::format("rollback to tailrace_emptying; delete from {}", table), emptying_tables);
    if (restart_identity) restart_sequences(connection, sql_name);
  }
  connection.query("release tailrace_emptying", emptying_tables);
}

}  // namespace tailrace::target::postgres
