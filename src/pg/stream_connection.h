#pragma once
// StreamConnection: a connection from START_REPLICATION on: CopyData messages both ways (PostgreSQL
// documentation: "COPY Operations", "Message Formats"). It reads the socket itself, by MessageSocket; only what
// is encrypted still goes through libpq.

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "pg/connection.h"
#include "pg/copy_stream.h"
#include "pg/message_socket.h"

namespace tailrace::pg {

/// Owns the connection, which is good for nothing else afterwards. Not thread-safe. Errors are those of
/// Connection.
class StreamConnection {
 public:
  using Next = CopyStream::Next;

  /// Runs `command`, which must begin COPY BOTH. `purpose` completes "while ..." in errors.
  StreamConnection(Connection connection, const std::string& command, std::string purpose);

  StreamConnection(const StreamConnection&) = delete;
  StreamConnection& operator=(const StreamConnection&) = delete;

  /// The next message that is already here; `out` stays valid until the next call.
  Next next(std::string_view& out) {
    if (through_libpq_) [[unlikely]]
      return through_libpq_->next(out);
    return next_in_buffer(out);
  }
  /// Reads what the socket has, without blocking. Drain next() first.
  void read_socket();
  std::size_t readable_bytes() const;
  bool wait_readable(std::chrono::microseconds timeout) const;
  /// A message of up to so many bytes that comes alone does not end wait_readable(); 0: each does. Where a
  /// message's size can be seen: over TCP, not encrypted.
  void let_wait(int bytes);

  /// Sends one CopyData message.
  void send(std::string_view message);
  /// Ends our side; the server answers by ending its own.
  void send_done();

  int socket() const { return connection_.socket(); }
  bool is_unix_socket() const { return connection_.is_unix_socket(); }

 private:
  void start(const std::string& command);
  Next next_in_buffer(std::string_view& out);
  Next control(const MessageSocket::Message& message);

  Connection connection_;
  std::string purpose_;
  std::optional<CopyStream> through_libpq_;
  std::optional<MessageSocket> messages_;
  int may_wait_ = 0;
};

}  // namespace tailrace::pg
