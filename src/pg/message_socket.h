#pragma once
// MessageSocket: the messages of the frontend/backend protocol on a connection's socket, past libpq (PostgreSQL
// documentation: "Message Formats"). libpq's own way (16 KB at a time, then packet after packet as long as some
// come, one allocation a message) keeps the server writing in its dearest manner; the figures are in
// docs/dev/reading-the-stream.md.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "pg/connection.h"
#include "pg/copy_stream.h"

namespace tailrace::pg {

/// Borrows a connection that is not encrypted, has no answer outstanding, and is not used by libpq meanwhile:
/// so libpq's buffer is empty, and stays so. Not thread-safe.
class MessageSocket {
 public:
  /// `buffer` bytes are read at most at a time.
  MessageSocket(Connection& connection, std::size_t buffer);

  static bool possible(const Connection& connection);

  struct Message {
    char type = 0;
    std::string_view body;  ///< until the next read_socket()
  };
  /// True when a whole message is here.
  bool next(Message& out);
  /// The next row of a COPY that is here. What comes between them goes to `control`, whose answer counts when
  /// it is `end`.
  template <typename Control>
  CopyStream::Next next_row(std::string_view& out, Control control) {
    Message message;
    while (next(message)) {
      if (message.type == 'd') [[likely]] {
        out = message.body;
        return CopyStream::Next::data;
      }
      if (control(message) == CopyStream::Next::end) return CopyStream::Next::end;
    }
    return CopyStream::Next::nothing_yet;
  }

  /// Appends the rows of a COPY that are here, one after the other, until `out` has `until` bytes or more; how
  /// many there were. Stops before a row that is `last`, and before what is no row.
  std::size_t append_rows(std::string& out, std::size_t until, std::string_view last);

  /// Reads what the socket has, without blocking, and gives the number of bytes. `purpose` completes "while
  /// ..." in an error.
  std::size_t read_socket(std::string_view purpose);
  void send(char type, std::string_view body, std::string_view purpose);

  int socket() const { return connection_->socket(); }

 private:
  void make_room();
  std::size_t room() const;

  Connection* connection_;
  std::size_t usual_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;  ///< of what was read and not yet taken
  std::size_t end_ = 0;
};

/// What the body of an ErrorResponse says.
ServerError read_error(std::string_view body);

/// The error for a message that has no place where it came.
Error unexpected_message(char type, std::string_view purpose);

}  // namespace tailrace::pg
