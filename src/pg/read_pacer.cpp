#include "pg/read_pacer.h"

#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#include <cstdlib>

namespace tailrace::pg {
namespace {
long knob(const char* name, long other) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::atol(text) : other;
}
// Experiment.
const long mode = knob("PACE_MODE", 2), rcvbuf = knob("PACE_RCVBUF", 512 * 1024), slice = knob("PACE_SLICE", 500),
           slices = knob("PACE_SLICES", 4), full = knob("PACE_FULL", 512 * 1024), behind = knob("PACE_BEHIND", 32 * 1024),
           slack = knob("PACE_SLACK", 0), lowat = knob("PACE_LOWAT", 0), stall = knob("PACE_STALL", 1);

std::size_t readable(int socket) {
  int bytes = 0;
  if (ioctl(socket, FIONREAD, &bytes) != 0 || bytes < 0) return 0;
  return static_cast<std::size_t>(bytes);
}
void sleep_micros(long micros) {
  timespec time{micros / 1'000'000, (micros % 1'000'000) * 1000};
  nanosleep(&time, nullptr);
}
}  // namespace

ReadPacer::ReadPacer(int socket, bool unix_socket) : socket_(socket), unix_socket_(unix_socket) {
  if (slack > 0) prctl(PR_SET_TIMERSLACK, slack);
  if (!unix_socket && rcvbuf > 0) {
    int size = static_cast<int>(rcvbuf);
    setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
  }
  if (lowat > 0) {
    int size = static_cast<int>(lowat);
    setsockopt(socket, SOL_SOCKET, SO_RCVLOWAT, &size, sizeof(size));
  }
}

void ReadPacer::pause() {
  bool is_behind = bytes_ >= static_cast<std::size_t>(behind);
  bytes_ = 0;
  if (mode == 0 || !is_behind) return;
  std::size_t before = stall ? readable(socket_) : 0;
  for (long i = 0; i < slices; ++i) {
    sleep_micros(slice);
    if (i + 1 == slices) return;
    std::size_t now = readable(socket_);
    if ((stall && now == before) || now >= static_cast<std::size_t>(full)) return;
    before = now;
  }
}
}  // namespace tailrace::pg
