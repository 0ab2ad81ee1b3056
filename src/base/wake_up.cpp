#include "base/wake_up.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

namespace tailrace {

WakeUp::WakeUp() : descriptor_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

WakeUp::~WakeUp() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void WakeUp::ring() const noexcept {
  std::uint64_t one = 1;
  // A full counter is readable already.
  [[maybe_unused]] auto written = ::write(descriptor_, &one, sizeof(one));
}

void WakeUp::heard() const noexcept {
  std::uint64_t count = 0;
  [[maybe_unused]] auto read = ::read(descriptor_, &count, sizeof(count));
}

}  // namespace tailrace
