#include "pg/socket.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "base/error.h"

namespace tailrace::pg {

std::size_t readable_bytes(int socket) {
  int bytes = 0;
  if (ioctl(socket, FIONREAD, &bytes) != 0 || bytes < 0) return 0;
  return static_cast<std::size_t>(bytes);
}

bool is_near(int socket) {
  constexpr std::chrono::microseconds near = std::chrono::milliseconds(2);
  tcp_info info{};
  socklen_t length = sizeof(info);
  // A Unix socket does not know.
  if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return true;
  return std::chrono::microseconds(info.tcpi_min_rtt) < near;
}

void set_least_readable(int socket, int bytes) {
  // Where that cannot be had, every byte wakes.
  setsockopt(socket, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

bool wait_readable(int socket, std::chrono::microseconds timeout, int other) {
  // One of -1 is passed over.
  std::array<pollfd, 2> entries{{{socket, POLLIN, 0}, {other, POLLIN, 0}}};
  timespec time{timeout.count() / 1'000'000, (timeout.count() % 1'000'000) * 1000};
  int ready = ppoll(entries.data(), entries.size(), &time, nullptr);
  if (ready < 0 && errno != EINTR) throw Error(Retry::transient, "waiting for a socket failed");
  return ready > 0 && entries[0].revents != 0;
}

}  // namespace tailrace::pg
