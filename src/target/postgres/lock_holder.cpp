#include "target/postgres/lock_holder.h"

#include <fmt/format.h>

#include <chrono>
#include <thread>

#include "base/sql_text.h"
#include "pg/process_stop.h"

namespace tailrace::target::postgres {
namespace {

using namespace std::chrono_literals;

constexpr const char* purpose = "looking who works on this target";
/// A mirror that streams asks by its probe four times a second; see observer.h.
constexpr auto watched_for = 2s;
constexpr auto look_every = 100ms;
/// A client that is gone may have left one question behind, which is answered late.
constexpr int signs_of_life = 2;

struct Seen {
  std::string holder;  ///< process and address of who holds the lock, for people; empty: nobody
  std::string asked;   ///< when that process or the mirror's probe began its last query
};

Seen look(pg::Connection& connection, const std::string& subscription) {
  auto name = quote_literal(subscription);
  auto rows = connection.query(
      fmt::format(
          "with holder as (select l.pid from pg_catalog.pg_locks l where l.locktype = 'advisory' and l.granted "
          "and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = "
          "pg_catalog.current_database()) and l.classid = 720602191 "
          "and l.objid = (pg_catalog.hashtext({0})::bigint & 4294967295)::pg_catalog.oid "
          "and l.pid <> pg_catalog.pg_backend_pid() limit 1) "
          "select h.pid, coalesce(', from ' || pg_catalog.host(a.client_addr), ''), "
          "(select pg_catalog.max(p.query_start)::pg_catalog.text from pg_catalog.pg_stat_activity p "
          "where p.datname = pg_catalog.current_database() and (p.pid = h.pid or p.application_name = "
          "pg_catalog.left({0} || ' probe', 63))) "
          "from holder h left join pg_catalog.pg_stat_activity a on a.pid = h.pid",
          name),
      purpose);
  if (rows.rows() == 0) return {};
  return {fmt::format("server process {}{}", rows.get(0, 0), rows.get(0, 1)), rows.str(0, 2)};
}

/// Until it is known whether it lives; `holder`: who has it in the end.
bool lives(pg::Connection& connection, const std::string& subscription, std::string& holder) {
  auto seen = look(connection, subscription);
  int signs = 0;
  auto until = std::chrono::steady_clock::now() + watched_for;
  bool alive = false;
  while (!alive && !seen.holder.empty() && std::chrono::steady_clock::now() < until && !pg::ending()) {
    std::this_thread::sleep_for(look_every);
    auto now = look(connection, subscription);
    if (now.holder != seen.holder) break;
    alive = now.asked != seen.asked && ++signs == signs_of_life;
    seen = now;
  }
  holder = seen.holder;
  return alive;
}

}  // namespace

std::optional<std::string> living_lock_holder(pg::Connection& connection, const std::string& subscription) {
  std::string holder;
  if (lives(connection, subscription, holder)) return holder;
  return std::nullopt;
}

Error describe_lock_holder(pg::Connection& connection, const std::string& subscription) {
  std::string holder;
  if (lives(connection, subscription, holder))
    return Error(Retry::needs_operator,
                 fmt::format("another tailrace named {} is running on this target ({})", subscription, holder),
                 "'tailrace list' on its host shows it: stop it first, or give this one another name (--name)");
  return Error(Retry::transient,
               fmt::format("another tailrace named {} works on this target{}", subscription,
                           holder.empty() ? "" : fmt::format(" ({})", holder)),
               "Stop it first, or give this one another name (--name)");
}

}  // namespace tailrace::target::postgres
