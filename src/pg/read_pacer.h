#pragma once
// ReadPacer: when to read a socket whose sender writes many small messages, one call each. Reading each at once
// costs both sides the most there is to pay for a message. So while much is coming, it lets the socket fill for
// a moment; while little is coming, it reads at once. docs/reading-the-stream.md has the measurements.

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace tailrace::pg {

/// Borrows the socket. Not thread-safe.
class ReadPacer {
 public:
  /// Gives a TCP socket a receive buffer of a fixed size.
  ReadPacer(int socket, bool unix_socket);

  /// What was read since the last wait.
  void got(std::size_t bytes) { bytes_ += bytes; }
  /// Less than this is left in the socket until after the next wait(): it is what came while the rest was read.
  std::size_t worth_reading() const { return behind_ ? std::max(few_bytes, full_bytes_) : 1; }
  /// True when there is something to read (or the socket is closed), false when the time is over.
  bool wait(std::chrono::microseconds limit);

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t few_bytes = 16 * 1024;

  bool behind(Clock::time_point now);
  void let_socket_fill() const;

  int socket_;
  bool unix_socket_;
  std::size_t full_bytes_ = 0;  ///< a TCP socket that holds as much is read without more waiting
  std::size_t bytes_ = 0;       ///< since window_start_
  Clock::time_point window_start_;
  bool behind_ = false;
};

}  // namespace tailrace::pg
