#include "serve/service_manager.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/log.h"
#include "base/printable.h"
#include "serve/status_view.h"

namespace tailrace::serve {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using pipeline::RunState;

constexpr std::chrono::microseconds look_every = 1s, first_look_every = 100ms;
constexpr auto extend_every = 10s;
constexpr std::chrono::microseconds extension = 2min;

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

/// Zero if it is not for this process.
std::chrono::microseconds watchdog_of_environment() {
  auto number = [](std::string_view text) {
    long long out = 0;
    std::from_chars(text.data(), text.data() + text.size(), out);
    return out;
  };
  auto pid = environment("WATCHDOG_PID");
  if (!pid.empty() && number(pid) != ::getpid()) return {};
  return std::chrono::microseconds(std::max(number(environment("WATCHDOG_USEC")), 0LL));
}

}  // namespace

std::unique_ptr<ServiceManager> ServiceManager::of_environment(const pipeline::StatusBoard& board,
                                                               const Liveness& liveness,
                                                               const StopSignal& stop) {
  std::string path(environment("NOTIFY_SOCKET"));
  // What else it may be (a VM's socket) is not for services.
  if (path.size() < 2 || path.size() >= sizeof(sockaddr_un::sun_path) || (path[0] != '/' && path[0] != '@'))
    return nullptr;
  return std::unique_ptr<ServiceManager>(
      new ServiceManager(std::move(path), watchdog_of_environment(), board, liveness, stop));
}

ServiceManager::ServiceManager(std::string path, std::chrono::microseconds watchdog,
                               const pipeline::StatusBoard& board, const Liveness& liveness,
                               const StopSignal& stop)
    : path_(std::move(path)),
      watchdog_(watchdog),
      board_(board),
      liveness_(liveness),
      stop_(stop),
      socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)),
      thread_([this] { loop(); }) {}

ServiceManager::~ServiceManager() {
  {
    std::lock_guard lock(mutex_);
    done_ = true;
  }
  wake_.notify_all();
  thread_.join();
  if (!stopping_) send("STOPPING=1");
}

void ServiceManager::loop() {
  auto pause = watchdog_.count() > 0 ? std::min(look_every, watchdog_ / 4) : look_every;
  std::unique_lock lock(mutex_);
  while (!done_) {
    lock.unlock();
    tell(Clock::now());
    lock.lock();
    // What is started after it waits for the word.
    wake_.wait_for(lock, ready_ ? pause : std::min(pause, first_look_every), [this] { return done_; });
  }
}

void ServiceManager::tell(Clock::time_point now) {
  auto status = board_.read();
  std::string text;
  if (stop_.requested() && !std::exchange(stopping_, true)) text += "STOPPING=1\n";
  bool works = status.state == RunState::streaming || status.state == RunState::copying;
  if (works && !std::exchange(ready_, true)) text += "READY=1\n";
  // It may be long until then: a source that is away, transactions that a new slot waits for.
  if (!ready_ && !stopping_ && now - last_extension_ >= extend_every) {
    last_extension_ = now;
    text += fmt::format("EXTEND_TIMEOUT_USEC={}\n", extension.count());
  }
  auto line = printable(render_line(status));
  if (line != said_) text += "STATUS=" + line + "\n";
  said_ = std::move(line);
  if (watchdog_.count() > 0 && now - last_watchdog_ >= watchdog_ / 2) {
    last_watchdog_ = now;
    auto limit = std::clamp<std::chrono::microseconds>(watchdog_, 2s, Liveness::patience);
    auto standstill = liveness_.standstill(std::chrono::duration_cast<std::chrono::milliseconds>(limit));
    if (standstill.empty()) text += "WATCHDOG=1\n";
    if (!standstill.empty() && !stands_still_)
      log::error("run", "{}: the service manager is not told any more that all is well", standstill);
    stands_still_ = !standstill.empty();
  }
  if (!text.empty()) send(text);
}

/// Whoever listens may be gone or slow: then it does without.
void ServiceManager::send(const std::string& text) const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path_.data(), path_.size());
  if (path_[0] == '@') address.sun_path[0] = '\0';
  auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path_.size());
  ::sendto(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
           reinterpret_cast<const sockaddr*>(&address), length);
}

}  // namespace tailrace::serve
