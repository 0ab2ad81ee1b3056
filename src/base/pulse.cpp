#include "base/pulse.h"

#include <mutex>

namespace tailrace {

namespace detail {
thread_local Heart* heart = nullptr;
}  // namespace detail

namespace {

struct Entry {
  const char* name;
  const detail::Heart* heart;
};

struct Registry {
  std::mutex mutex;
  std::uint64_t next = 1;
  std::map<std::uint64_t, Entry> entries;
};

/// Never destroyed: threads may outlast main().
Registry& registry() {
  static auto* made = new Registry;
  return *made;
}

}  // namespace

WorkingThread::WorkingThread(const char* name) {
  if (detail::heart != nullptr) return;
  outermost_ = true;
  detail::heart = &heart_;
  std::lock_guard lock(registry().mutex);
  registry().entries.emplace(registry().next++, Entry{name, &heart_});
}

WorkingThread::~WorkingThread() {
  if (!outermost_) return;
  detail::heart = nullptr;
  std::lock_guard lock(registry().mutex);
  std::erase_if(registry().entries, [this](const auto& entry) { return entry.second.heart == &heart_; });
}

void PulseWatch::look(Clock::time_point now) {
  std::map<std::uint64_t, Seen> seen;
  longest_.reset();
  std::lock_guard lock(registry().mutex);
  for (const auto& [id, entry] : registry().entries) {
    auto beats = entry.heart->beats.load(std::memory_order_relaxed);
    bool waits = entry.heart->waits.load(std::memory_order_relaxed) > 0;
    auto before = seen_.find(id);
    bool moved = before == seen_.end() || waits || before->second.beats != beats;
    auto since = moved ? now : before->second.moved;
    seen[id] = {beats, since};
    if (!longest_ || now - since > longest_->since) longest_ = Silence{entry.name, now - since};
  }
  seen_ = std::move(seen);
}

}  // namespace tailrace
