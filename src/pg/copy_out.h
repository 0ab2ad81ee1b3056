#pragma once
// CopyOut: COPY ... TO STDOUT (PostgreSQL documentation: "COPY Operations"), read from the socket by
// MessageSocket and at the pace of ReadPacer; only what is encrypted goes through libpq.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "pg/connection.h"
#include "pg/copy_stream.h"
#include "pg/message_socket.h"
#include "pg/read_pacer.h"

namespace tailrace::pg {

/// Borrows the connection, which is free again once next() has given `end` or thrown what the server said. Not
/// thread-safe.
class CopyOut {
 public:
  using Next = CopyStream::Next;

  /// Runs `sql` and waits until the copy begins, with the connection's patience and on its stop. `purpose`
  /// completes "while ..." in errors.
  CopyOut(Connection& connection, const std::string& sql, std::string purpose);
  CopyOut(const CopyOut&) = delete;
  CopyOut& operator=(const CopyOut&) = delete;

  /// The next message that is already here; `out` stays valid until the next read() or next(). Throws what
  /// the server ended the copy with once the connection is free again.
  Next next(std::string_view& out) {
    if (through_libpq_) [[unlikely]]
      return through_libpq_->next(out);
    return messages_->next_row(out, [this](const auto& message) { return control(message); });
  }
  /// Appends the rows that are already here to `out`, one after the other, until it has `until` bytes or more;
  /// how many there were. Stops before a row that is `last`, the end, and an error; it may see none where
  /// next() does.
  std::size_t append_rows(std::string& out, std::size_t until, std::string_view last) {
    return messages_ ? messages_->append_rows(out, until, last) : 0;
  }
  /// Frees the last message before the next call would, if it has memory of its own.
  void release() {
    if (through_libpq_) through_libpq_->release();
  }
  /// Reads what the socket has, without blocking; false when there is nothing, or not yet enough to be worth
  /// it. Drain next() first.
  bool read();
  /// True when there is something to read (or the socket is closed), false when the time is over.
  bool wait(std::chrono::microseconds limit);

 private:
  void begin(const std::string& sql);
  Next control(const MessageSocket::Message& message);
  std::size_t read_socket();

  Connection& connection_;
  std::string purpose_;
  std::optional<CopyStream> through_libpq_;
  std::optional<MessageSocket> messages_;
  std::optional<ReadPacer> pacer_;
  std::optional<ServerError> failed_;  ///< until the server is ready for the next query
  bool began_ = false;
  bool readable_ = false;  ///< as wait() found
};

}  // namespace tailrace::pg
