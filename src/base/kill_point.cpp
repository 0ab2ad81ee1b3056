#include "base/kill_point.h"

#include <unistd.h>

#include <atomic>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <string>

namespace tailrace::detail {
namespace {

struct Plan {
  std::string name;
  long passages = 1;
  bool stalls = false;
};

Plan read_plan() {
  const char* given = std::getenv("TAILRACE_KILL_POINT");
  const char* stall = std::getenv("TAILRACE_STALL_POINT");
  Plan plan;
  plan.stalls = given == nullptr && stall != nullptr;
  if (plan.stalls) given = stall;
  plan.name = given != nullptr ? given : "";
  auto colon = plan.name.find(':');
  if (colon == std::string::npos) return plan;
  std::from_chars(plan.name.data() + colon + 1, plan.name.data() + plan.name.size(), plan.passages);
  plan.name.resize(colon);
  return plan;
}

const Plan plan = read_plan();
std::atomic<long> passed{0};

}  // namespace

const bool kill_point_armed = !plan.name.empty();

void pass_kill_point(std::string_view name) noexcept {
  if (name != plan.name || ++passed != plan.passages) return;
  if (!plan.stalls) std::raise(SIGKILL);
  for (;;) ::pause();
}

}  // namespace tailrace::detail
