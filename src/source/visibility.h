#pragma once
// Whether a transaction that the stream brought is seen at the source. It is streamed once its commit is in the
// log; its server process shows it to others only then: at once, or when a synchronous standby has it
// (PostgreSQL documentation: "Synchronous Replication"). Until then the catalogs are those of before.

#include "base/lsn.h"
#include "pg/connection.h"

namespace tailrace::source {

/// Waits until what the connection reads next sees the transaction; for two seconds at most, since it may be
/// waiting for our own acknowledgement.
void await_visible(pg::Connection& connection, Xid xid);

}  // namespace tailrace::source
