#include "source/visibility.h"

#include <chrono>
#include <thread>

#include "base/log.h"

namespace tailrace::source {

void await_visible(pg::Connection& connection, Xid xid) {
  using namespace std::chrono_literals;
  if (xid == 0) return;
  auto until = std::chrono::steady_clock::now() + 2s;
  for (;;) {
    // It keeps the lock on itself until it is seen.
    auto running = connection.query(
        fmt::format("select exists (select from pg_catalog.pg_locks where locktype = 'transactionid' "
                    "and transactionid = '{}'::pg_catalog.xid and mode = 'ExclusiveLock' and granted)",
                    xid),
        "waiting for a transaction to be seen");
    if (!running.flag(0, 0)) return;
    if (std::chrono::steady_clock::now() > until) break;
    std::this_thread::sleep_for(1ms);
  }
  log::debug("source", "transaction {} committed, and is not seen yet", xid);
}

}  // namespace tailrace::source
