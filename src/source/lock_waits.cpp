#include "source/lock_waits.h"

#include <fmt/format.h>

#include "schema/partition_tree.h"
#include "source/activity.h"

namespace tailrace::source {

std::map<Oid, std::string> locked_tables(pg::Connection& connection, const std::set<Oid>& tables) {
  // Who waits for the lock is in front of who asks for another one later.
  auto rows = connection.query(
      fmt::format(
          "with recursive {} select {}, t.root, n.nspname, c.relname from pg_catalog.pg_locks l "
          "join tree t on t.relid = l.relation "
          "join pg_catalog.pg_class c on c.oid = t.root "
          "join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
          "left join pg_catalog.pg_stat_activity a on a.pid = l.pid "
          "where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock' and l.database = "
          "(select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()) "
          "order by t.root, l.granted desc, a.xact_start",
          schema::partition_tree(connection.server_version(), "$1"), activity_columns),
      {fmt::format("{{{}}}", fmt::join(tables, ","))}, "looking who has locked tables");
  std::map<Oid, std::string> out;
  for (int row = 0; row < rows.rows(); ++row) {
    auto who =
        rows.is_null(row, 0) ? "a prepared transaction (pg_prepared_xacts)" : describe_activity(rows, row);
    out.try_emplace(rows.oid(row, 7),
                    fmt::format("{}.{}, which is locked by {}", rows.str(row, 8), rows.str(row, 9), who));
  }
  return out;
}

}  // namespace tailrace::source
