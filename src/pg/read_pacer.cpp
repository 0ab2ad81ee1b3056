#include "pg/read_pacer.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "base/error.h"

namespace tailrace::pg {
namespace {

using namespace std::chrono_literals;

constexpr int tcp_receive_buffer = 512 * 1024;
constexpr int tcp_slices = 4;
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

std::size_t readable_bytes(int socket) {
  int bytes = 0;
  if (ioctl(socket, FIONREAD, &bytes) != 0 || bytes < 0) return 0;
  return static_cast<std::size_t>(bytes);
}

/// A signal counts as nothing to read.
bool wait_readable(int socket, std::chrono::microseconds timeout) {
  pollfd entry{socket, POLLIN, 0};
  timespec time{timeout.count() / 1'000'000, (timeout.count() % 1'000'000) * 1000};
  int ready = ppoll(&entry, 1, &time, nullptr);
  if (ready < 0 && errno != EINTR) throw Error(Retry::transient, "waiting for a socket failed");
  return ready > 0;
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
  // Wide rows fill the buffer early: then the pause is over.
  for (int i = 0; i < tcp_slices; ++i) {
    sleep(tcp_slice);
    if (readable_bytes(socket_) >= full_bytes_) return;
  }
}

}  // namespace tailrace::pg
