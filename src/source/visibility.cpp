#include "source/visibility.h"

#include <thread>

#include "base/log.h"

namespace tailrace::source {

bool is_visible(pg::Connection& connection, Xid xid) {
  if (xid == 0) return true;
  // It keeps the lock on itself until it is seen.
  auto running = connection.query(
      fmt::format("select exists (select from pg_catalog.pg_locks where locktype = 'transactionid' "
                  "and transactionid = '{}'::pg_catalog.xid and mode = 'ExclusiveLock' and granted)",
                  xid),
      "waiting for a transaction to be seen");
  return !running.flag(0, 0);
}

bool await_visible(pg::Connection& connection, Xid xid,
                   const std::function<std::chrono::milliseconds()>& patience) {
  auto since = std::chrono::steady_clock::now();
  while (!is_visible(connection, xid)) {
    if (std::chrono::steady_clock::now() - since > patience()) {
      log::debug("source", "transaction {} committed, and is not seen yet", xid);
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace tailrace::source
