#pragma once
// Whether a transaction that the stream brought is seen at the source. It is streamed once its commit is in the
// log; its server process shows it to others only then: at once, or when a synchronous standby has it
// (PostgreSQL documentation: "Synchronous Replication"). Until then the catalogs are those of before.

#include <chrono>
#include <functional>

#include "base/lsn.h"
#include "pg/connection.h"

namespace tailrace::source {

/// Whether what the connection reads next sees the transaction.
bool is_visible(pg::Connection& connection, Xid xid);

/// Waits for that, for so long at most, which may change meanwhile: the transaction may be waiting for our own
/// acknowledgement. False: it is not seen.
bool await_visible(pg::Connection& connection, Xid xid,
                   const std::function<std::chrono::milliseconds()>& patience);

}  // namespace tailrace::source
