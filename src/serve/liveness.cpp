#include "serve/liveness.h"

#include <fmt/format.h>

namespace tailrace::serve {
namespace {

using namespace std::chrono_literals;

constexpr auto look_every = 500ms;

}  // namespace

Liveness::Liveness() : thread_([this] { loop(); }) {}

Liveness::~Liveness() {
  {
    std::lock_guard lock(mutex_);
    done_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Liveness::loop() {
  std::unique_lock lock(mutex_);
  while (!done_) {
    watch_.look();
    wake_.wait_for(lock, look_every, [this] { return done_; });
  }
}

std::optional<PulseWatch::Silence> Liveness::longest() const {
  std::lock_guard lock(mutex_);
  return watch_.longest();
}

std::string Liveness::standstill(std::chrono::milliseconds limit) const {
  auto silence = longest();
  if (!silence || silence->since < limit) return {};
  return fmt::format("the {} has stood still for {} s", silence->thread,
                     std::chrono::duration_cast<std::chrono::seconds>(silence->since).count());
}

PgTimestamp Liveness::last_beat() const {
  auto silence = longest();
  auto now = PgTimestamp::now();
  if (silence) now.micros -= std::chrono::duration_cast<std::chrono::microseconds>(silence->since).count();
  return now;
}

}  // namespace tailrace::serve
