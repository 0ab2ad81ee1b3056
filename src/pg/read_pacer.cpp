#include "pg/read_pacer.h"

#include <sys/socket.h>

#include <algorithm>
#include <ctime>

#include "pg/socket.h"

namespace tailrace::pg {
namespace {

using namespace std::chrono_literals;

constexpr int tcp_receive_buffer = 512 * 1024;
constexpr auto shortest_pause = 500us;
constexpr auto longest_pause = 25ms;
constexpr auto slice = 2ms;
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
    : socket_(socket), unix_socket_(unix_socket), paces_(is_near(socket)), window_start_(Clock::now()) {
  if (unix_socket_ || !paces_) return;
  setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &tcp_receive_buffer, sizeof(tcp_receive_buffer));
  // Linux doubles what one asks for, for its own use, and grants no more than net.core.rmem_max.
  int granted = tcp_receive_buffer;
  socklen_t length = sizeof(granted);
  getsockopt(socket, SOL_SOCKET, SO_RCVBUF, &granted, &length);
  plenty_bytes_ = static_cast<std::size_t>(std::max(granted, 0)) / 8;
  full_bytes_ = static_cast<std::size_t>(std::max(granted, 0)) / 16 * 5;
}

bool ReadPacer::wait(std::chrono::microseconds limit, int other) {
  if (paces_ && behind(Clock::now())) let_socket_fill();
  return wait_readable(socket_, limit, other);
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

void ReadPacer::let_socket_fill() {
  // A Unix socket holds a few hundred messages, and its writer waits when it is full: a short pause is all
  // that it can use.
  if (unix_socket_) {
    sleep(unix_pause);
    return;
  }
  // What a sender writes while our buffer is full it only queues, the cheapest writing there is; and when we
  // read, the queue fills the buffer again at once, in large packets. So the sender's queue must never run dry.
  // We cannot see it, but what has come since the last read: if that is much, it holds more, and we may come
  // sooner.
  bool plenty = readable_bytes(socket_) >= plenty_bytes_;
  pause_ = plenty ? std::max<std::chrono::microseconds>(pause_ * 9 / 10, shortest_pause)
                  : std::min<std::chrono::microseconds>(pause_ * 5 / 4, longest_pause);
  // As much as this comes of wide rows, whose sender is out of room soon: it must not wait for us.
  for (auto left = pause_; left.count() > 0 && readable_bytes(socket_) < full_bytes_; left -= slice)
    sleep(std::min<std::chrono::microseconds>(left, slice));
}

}  // namespace tailrace::pg
