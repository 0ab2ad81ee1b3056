#pragma once
// CopyStream: the CopyData messages of a COPY TO STDOUT or of a replication stream (COPY BOTH), by libpq's
// asynchronous calls (PostgreSQL documentation: "Functions Associated with the COPY Command").

#include <chrono>
#include <cstddef>
#include <string_view>

#include "pg/connection.h"

namespace tailrace::pg {

/// Borrows the connection, which must already be in a COPY state. Not thread-safe.
class CopyStream {
 public:
  /// `purpose` completes "while ..." in errors and must outlive the stream.
  CopyStream(Connection& connection, std::string_view purpose);
  ~CopyStream();
  CopyStream(const CopyStream&) = delete;
  CopyStream& operator=(const CopyStream&) = delete;

  enum class Next { data, nothing_yet, end };

  /// The next message that is already here. `out` stays valid until the next call. Throws when the server
  /// ended the copy with an error.
  Next next(std::string_view& out);
  /// The next message, waiting for it as a query() of the connection does; false at the end.
  bool next_blocking(std::string_view& out);

  /// Frees the last message before the next call would.
  void release() { free_message(); }

  /// Reads what the socket has, without blocking. Drain next() first: reading before draining lets the
  /// buffer grow.
  void read_socket();
  /// True when the socket has something (or is closed), false when the time is over.
  bool wait_readable(std::chrono::microseconds timeout) const;

  /// Sends one CopyData message and flushes it; COPY BOTH only.
  void send(std::string_view message);
  /// Ends our side of COPY BOTH; the server answers by ending its own.
  void send_done();

 private:
  Next take(int length, std::string_view& out);
  void free_message();

  Connection& connection_;
  std::string_view purpose_;
  char* message_ = nullptr;
};

}  // namespace tailrace::pg
