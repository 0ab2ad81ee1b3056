#pragma once
// Fence: no run begins while a connection of an earlier one may still commit. A server process notices late
// that its client is gone: what it has read by then, it executes, and that may end with a commit. Every
// connection that writes what is copied or applied holds a lock for as long as it lives; who begins waits until
// nobody holds it, and reads the checkpoint only then (PostgreSQL documentation: "Advisory Locks").

#include <string>

#include "pg/connection.h"

namespace tailrace::target::postgres {

/// For a connection that writes, before its first transaction.
void enter_fence(pg::Connection& connection, const std::string& subscription);

/// Waits a while until no connection is inside. Throws Error(transient) that names those that still are.
void wait_until_empty(pg::Connection& connection, const std::string& subscription);

}  // namespace tailrace::target::postgres
