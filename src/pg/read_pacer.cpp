#include "pg/read_pacer.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <cstdio>

namespace tailrace::pg {
namespace {
long knob(const char* name, long other) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::atol(text) : other;
}
// Experiment.
const long mode = knob("PACE_MODE", 2), rcvbuf = knob("PACE_RCVBUF", 512 * 1024), longest = knob("PACE_PAUSE", 2000),
           full = knob("PACE_FULL", 256 * 1024), after = knob("PACE_AFTER", 2000), gap = knob("PACE_GAP", 1000),
           slack = knob("PACE_SLACK", 0), shortest = knob("PACE_MIN", 50), first = knob("PACE_FIRST", 0);

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
}

void ReadPacer::lowat(int bytes) {
  if (bytes == lowat_) return;
  setsockopt(socket_, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
  lowat_ = bytes;
}

bool ReadPacer::poll(std::chrono::microseconds limit) {
  pollfd descriptor{socket_, POLLIN, 0};
  timespec time{limit.count() / 1'000'000, (limit.count() % 1'000'000) * 1000};
  return ppoll(&descriptor, 1, &time, nullptr) > 0;
}

bool ReadPacer::wait(std::chrono::microseconds limit) {
  auto start = Clock::now();
  if (start - flows_since_ > std::chrono::microseconds(after)) pause();
  auto paused = Clock::now();
  bool ready = poll(limit);
  if (ready && Clock::now() - paused > std::chrono::microseconds(gap)) flows_since_ = Clock::now();
  return ready;
}

void ReadPacer::pause() {
  if (mode == 0) return;
  if (mode == 1) {  // fixed
    sleep_micros(longest);
  } else if (mode == 2) {  // adaptive sleep
    sleep_micros(pause_);
    std::size_t now = readable(socket_);
    if (now >= static_cast<std::size_t>(full)) pause_ = std::max(pause_ * 3 / 4, shortest);
    else if (now < static_cast<std::size_t>(full) * 3 / 4) pause_ = std::min(pause_ * 5 / 4, longest);
  } else if (mode == 3) {  // low water mark
    if (first) sleep_micros(first);
    lowat(static_cast<int>(full));
    poll(std::chrono::microseconds(longest));
    lowat(1);
  } else if (mode == 4) {  // sliced sleep until full
    for (long i = 0; i < longest; i += shortest) {
      sleep_micros(shortest);
      if (readable(socket_) >= static_cast<std::size_t>(full)) return;
    }
  }
}
}  // namespace tailrace::pg
