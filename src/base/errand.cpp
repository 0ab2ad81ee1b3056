#include "base/errand.h"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

namespace tailrace {
namespace {

// Each is a thread and most often a socket. More than these are only out where nothing is answered any more.
constexpr std::size_t most = 64;

std::atomic<std::size_t>& count() {
  static std::atomic<std::size_t> number{0};
  return number;
}

}  // namespace

struct Errand::State {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
};

std::optional<Errand> Errand::begin(std::function<void()> work) noexcept {
  if (count().fetch_add(1) < most) {
    try {
      auto state = std::make_shared<State>();
      std::thread([state, work = std::move(work)]() mutable {
        work();
        work = nullptr;  // what it owns goes before it counts as done
        {
          std::lock_guard lock(state->mutex);
          state->done = true;
        }
        state->changed.notify_all();
        count().fetch_sub(1);
      }).detach();
      return Errand(std::move(state));
    } catch (const std::exception&) {
      // No thread can be had, or no memory.
      count().fetch_sub(1);
      return std::nullopt;
    }
  }
  count().fetch_sub(1);
  return std::nullopt;
}

bool Errand::wait_for(std::chrono::milliseconds time) const {
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, time, [&] { return state_->done; });
}

std::size_t Errand::under_way() {
  return count().load();
}

}  // namespace tailrace
