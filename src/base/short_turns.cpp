#include "base/short_turns.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace tailrace {
namespace {

constexpr std::uint64_t nanoseconds = 100'000;  // the least that the kernel gives

/// As in linux/sched/types.h, which cannot be included beside sched.h before glibc 2.41.
struct Attributes {
  std::uint32_t size = sizeof(Attributes);
  std::uint32_t policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0;
  std::uint64_t deadline = 0;
  std::uint64_t period = 0;
};
static_assert(sizeof(Attributes) == 48);

/// Before 6.12 the kernel answers 0 for the ordinary policy.
Attributes current() {
  Attributes attributes;
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return {};
  return attributes.policy == SCHED_OTHER ? attributes : Attributes{};
}

bool take(std::uint64_t runtime) {
  auto attributes = current();
  if (attributes.runtime == 0) return false;
  attributes.runtime = runtime;
  return syscall(SYS_sched_setattr, 0, &attributes, 0) == 0;
}

}  // namespace

ShortTurns::ShortTurns() noexcept {
  auto before = current().runtime;
  if (before != 0 && take(nanoseconds)) before_ = before;
}

ShortTurns::~ShortTurns() {
  if (before_ != 0) take(before_);
}

}  // namespace tailrace
