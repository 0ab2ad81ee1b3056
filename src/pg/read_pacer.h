#pragma once
#include <chrono>
#include <cstddef>
namespace tailrace::pg {
class ReadPacer {
 public:
  ReadPacer(int socket, bool unix_socket);
  bool wait(std::chrono::microseconds limit);

 private:
  using Clock = std::chrono::steady_clock;
  void pause();
  void lowat(int bytes);
  bool poll(std::chrono::microseconds limit);

  int socket_;
  bool unix_socket_;
  int lowat_ = 1;
  long pause_ = 50;
  Clock::time_point flows_since_{};
};
}  // namespace tailrace::pg
