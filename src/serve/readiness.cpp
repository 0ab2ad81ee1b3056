#include "serve/readiness.h"

#include <fmt/format.h>

#include <algorithm>

#include "serve/human.h"

namespace tailrace::serve {
namespace {

using pipeline::RunState;
using pipeline::TableState;

constexpr double ready_until_seconds = 10;

std::string because(const std::string& what, const std::string& message) {
  return message.empty() ? what : what + ": " + message;
}

}  // namespace

Readiness readiness(const pipeline::Status& status) {
  switch (status.state) {
    case RunState::copying: return {true, because("copying", status.message)};
    case RunState::streaming: break;
    default: return {false, because(std::string(to_string(status.state)), status.message)};
  }
  auto held =
      std::ranges::count_if(status.tables, [](const auto& table) { return table.state == TableState::held; });
  if (held > 0) return {false, fmt::format("{} of {} tables held, see the status", held, status.tables.size())};
  if (status.in_step) return {true, "in step"};
  std::int64_t kept_aside = 0;
  for (const auto& table : status.tables) kept_aside += table.quarantined;
  if (kept_aside > 0) return {false, fmt::format("{} changes in quarantine, see the status", kept_aside)};
  if (!status.source_answers) return {false, "the source does not answer"};
  if (!status.target_answers) return {false, "the target does not answer"};
  if (status.lag_seconds < 0) return {false, "how far it is behind is not known"};
  auto behind = human_duration(status.lag_seconds) + " behind";
  return {status.lag_seconds <= ready_until_seconds, behind};
}

}  // namespace tailrace::serve
