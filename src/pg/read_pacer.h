#pragma once
// ReadPacer: when to read a socket whose sender writes many small messages, one call each. Reading each at once
// costs both sides the most there is to pay for a message. So while much is coming, it lets the socket fill for
// a moment; while little is coming, or the server is far away, it reads at once. The measurements
// are in docs/dev/reading-the-stream.md.

#include <chrono>
#include <cstddef>

namespace tailrace::pg {

/// Borrows the socket. Not thread-safe.
class ReadPacer {
 public:
  /// Gives a TCP socket a receive buffer of a fixed size, if the other end is near.
  ReadPacer(int socket, bool unix_socket);

  /// What was read since the last wait.
  void got(std::size_t bytes) { bytes_ += bytes; }
  /// True when it is worth reading before the next wait(). While much is coming, it is not: what came while the
  /// last read was decoded stays, so that the sender is not met too early.
  bool reads_on() const { return !behind_; }
  /// True when there is something to read (or the socket is closed), false when the time is over, or `other`
  /// can be read.
  bool wait(std::chrono::microseconds limit, int other = -1);

 private:
  using Clock = std::chrono::steady_clock;

  bool behind(Clock::time_point now);
  void let_socket_fill();

  int socket_;
  bool unix_socket_;
  bool paces_;
  std::size_t bytes_ = 0;  ///< since window_start_
  Clock::time_point window_start_;
  bool behind_ = false;
  std::size_t plenty_bytes_ = 0;  ///< of what came over TCP while the last read was decoded
  std::size_t full_bytes_ = 0;
  std::chrono::microseconds pause_{4000};  ///< over TCP
};

}  // namespace tailrace::pg
