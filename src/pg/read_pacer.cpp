#include "pg/read_pacer.h"

#include <sys/socket.h>

#include <algorithm>
#include <ctime>

#include "pg/socket.h"

namespace tailrace::pg {
namespace {

using namespace std::chrono_literals;

constexpr int tcp_receive_buffer = 512 * 1024;
constexpr int tcp_slices = 20;
constexpr auto tcp_slice = 500us;
constexpr auto unix_pause = 50us;

// Judged by what came in this time, not by gaps: on a busy machine a sender that is behind makes pauses of
// several milliseconds, too.
constexpr auto window = 20ms;
constexpr std::size_t behind_bytes = 40'000;  // in one window: 2 MB/s

void sleep(std::chrono::microseconds time) {
  timespec span{0, time.count() * 1000};
  nanosleep(&span, nullptr);
}

}  // namespace

ReadPacer::ReadPacer(int socket, bool unix_socket)
    : socket_(socket), unix_socket_(unix_socket), window_start_(Clock::now()) {
  if (unix_socket_) return;
  setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &tcp_receive_buffer, sizeof(tcp_receive_buffer));
  int size = tcp_receive_buffer;
  socklen_t length = sizeof(size);
  getsockopt(socket, SOL_SOCKET, SO_RCVBUF, &size, &length);
  full_bytes_ = static_cast<std::size_t>(std::max(size, 0)) / 4;
}

bool ReadPacer::wait(std::chrono::microseconds limit) {
  if (behind(Clock::now())) let_socket_fill();
  return wait_readable(socket_, limit);
}

bool ReadPacer::behind(Clock::time_point now) {
  auto elapsed = now - window_start_;
  if (elapsed < window) return behind_;
  behind_ =
      bytes_ * static_cast<std::size_t>(window / 1us) >= behind_bytes * static_cast<std::size_t>(elapsed / 1us);
  bytes_ = 0;
  window_start_ = now;
  return behind_;
}

void ReadPacer::let_socket_fill() const {
  // A Unix socket holds a few hundred messages, and its writer waits when it is full: a short pause is all
  // that it can use.
  if (unix_socket_) {
    sleep(unix_pause);
    return;
  }
  // What a sender writes while our buffer is full it only queues, and that is the cheapest writing there is.
  // How soon the buffer is full depends on the rows and on the sender's speed; one that does not grow is full,
  // too.
  std::size_t before = 0;
  int still = 0;
  for (int i = 0; i < tcp_slices; ++i) {
    sleep(tcp_slice);
    std::size_t now = readable_bytes(socket_);
    still = now == before ? still + 1 : 0;
    if (now >= full_bytes_ || still == 2) return;
    before = now;
  }
}

}  // namespace tailrace::pg
