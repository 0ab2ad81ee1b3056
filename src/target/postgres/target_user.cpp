#include "target/postgres/target_user.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/sql_text.h"

namespace tailrace::target::postgres {

void check_writable(pg::Connection& connection, bool set_up) {
  auto row = connection.query(
      "select pg_catalog.current_setting('default_transaction_read_only'), pg_catalog.pg_is_in_recovery(), "
      "pg_catalog.current_database()",
      "looking at the target's user");
  if (row.flag(0, 1)) {
    // A list of hosts, or an address that moves, leads to one for a moment.
    throw Error(set_up ? Retry::transient : Retry::needs_operator,
                "the target is a standby, which nobody can write to",
                "Name its primary; or promote it, there: SELECT pg_catalog.pg_promote();");
  }
  if (row.get(0, 0) == "on") {
    throw Error(
        Retry::needs_operator,
        "the target is read-only for tailrace: default_transaction_read_only is on for its database, user "
        "or server",
        fmt::format(
            "ALTER DATABASE {} RESET default_transaction_read_only;  -- at the target; or, to leave it so "
            "for everybody else, add options=-c%20default_transaction_read_only%3Doff to its URL",
            quote_identifier(row.get(0, 2))));
  }
}

void take_replica_role(pg::Connection& connection, std::string_view purpose) {
  try {
    connection.query("set session_replication_role = replica", purpose);
  } catch (const Error& error) {
    if (error.sqlstate() != "42501") throw;
    auto user = connection.query("select pg_catalog.quote_ident(current_user)", purpose);
    std::string role = user.str(0, 0);
    throw Error(Retry::needs_operator,
                "the target's user may not set session_replication_role, so triggers would fire a second time",
                connection.server_version() >= 150000
                    ? fmt::format("At the target, as a superuser: GRANT SET ON PARAMETER "
                                  "session_replication_role TO {};",
                                  role)
                    : fmt::format("Before PostgreSQL 15 only a superuser may. At the target: ALTER ROLE {} "
                                  "SUPERUSER;",
                                  role));
  }
}

void check_row_security(pg::Connection& connection, const std::vector<std::string>& forced) {
  if (forced.empty()) return;
  auto role = connection.query(
      "select pg_catalog.quote_ident(rolname), rolsuper or rolbypassrls from pg_catalog.pg_roles "
      "where rolname = current_user",
      "looking at the target's user");
  if (role.flag(0, 1)) return;
  throw Error(
      Retry::needs_operator,
      fmt::format("the target's user {} is bound by the policies of tables that FORCE ROW LEVEL SECURITY: {}",
                  role.get(0, 0), fmt::join(forced, ", ")),
      fmt::format("At the target, as a superuser: ALTER ROLE {} BYPASSRLS; or leave these tables out",
                  role.get(0, 0)));
}

}  // namespace tailrace::target::postgres
