#include "target/postgres/fence.h"

#include <chrono>
#include <thread>

#include "base/log.h"
#include "base/sql_text.h"
#include "pg/process_stop.h"

namespace tailrace::target::postgres {
namespace {

constexpr const char* waiting = "waiting for an earlier run's connections";
constexpr auto patience = std::chrono::seconds(15);
constexpr auto ask_again = std::chrono::milliseconds(50);
constexpr int checks_connections_since = 140000;

/// SQL: the lock's two numbers.
std::string lock_of(const std::string& subscription) {
  return fmt::format("720602192, pg_catalog.hashtext({})", quote_literal(subscription));
}

}  // namespace

void enter_fence(pg::Connection& connection, const std::string& subscription) {
  if (connection.server_version() >= checks_connections_since) {
    try {
      // One that waits for somebody's lock would not notice before it gets it.
      connection.query("set client_connection_check_interval = '5s'", "preparing to write");
    } catch (const Error& error) {
      // Not every platform can.
      if (error.sqlstate().empty()) throw;
      log::debug("target", "{}", error.message());
    }
  }
  connection.query(fmt::format("select pg_catalog.pg_advisory_lock_shared({})", lock_of(subscription)),
                   "preparing to write");
}

void wait_until_empty(pg::Connection& connection, const std::string& subscription) {
  auto lock = lock_of(subscription);
  auto until = std::chrono::steady_clock::now() + patience;
  for (;;) {
    auto got = connection.query(fmt::format("select pg_catalog.pg_try_advisory_lock({})", lock), waiting);
    if (got.flag(0, 0)) break;
    if (pg::ending()) throw Error(Retry::transient, fmt::format("a stop was requested while {}", waiting));
    if (std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(ask_again);
      continue;
    }
    auto pids = connection.query(
        fmt::format("select pg_catalog.string_agg(l.pid::pg_catalog.text, ', ' order by l.pid) "
                    "from pg_catalog.pg_locks l "
                    "where l.locktype = 'advisory' and l.database = (select oid from pg_catalog.pg_database "
                    "where datname = pg_catalog.current_database()) and l.classid = 720602192 "
                    "and l.objid = (pg_catalog.hashtext({})::bigint & 4294967295)::pg_catalog.oid",
                    quote_literal(subscription)),
        waiting);
    throw Error(Retry::transient,
                fmt::format("connections of an earlier run still work at the target (server process {})",
                            pids.is_null(0, 0) ? "unknown" : pids.str(0, 0)),
                "They end when what they wait for is free, or the server notices that their client is gone; "
                "sooner with: SELECT pg_terminate_backend(PROCESS);");
  }
  connection.query(fmt::format("select pg_catalog.pg_advisory_unlock({})", lock), waiting);
}

}  // namespace tailrace::target::postgres
