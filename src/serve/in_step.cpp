#include "serve/in_step.h"

#include <fmt/format.h>

#include <algorithm>

#include "serve/human.h"

namespace tailrace::serve {
namespace {

using pipeline::RunState;
using pipeline::Status;
using pipeline::TableState;
using pipeline::TableStatus;

std::string step_text(const Status& status) {
  if (status.in_step) return "in step";
  if (status.state == RunState::streaming && !status.source_answers)
    return "not in step: the source does not answer";
  if (status.state == RunState::streaming && !status.target_answers)
    return "not in step: the target does not answer";
  auto held = std::ranges::count(status.tables, TableState::held, &TableStatus::state);
  if (held > 0) return fmt::format("not in step: {} of {} tables held", held, status.tables.size());
  std::int64_t kept_aside = 0;
  for (const auto& table : status.tables) kept_aside += table.quarantined;
  if (kept_aside > 0) return fmt::format("not in step: {} changes in quarantine", kept_aside);
  auto due = std::ranges::count_if(status.tables, pipeline::is_due);
  if (status.state != RunState::streaming || due == 0) return "not in step";
  return fmt::format("not in step: {} of {} tables not followed", due, status.tables.size());
}

}  // namespace

std::string lag_text(const Status& status) {
  std::string out = status.lag_seconds < 0    ? "lag unknown"
                    : status.lag_seconds == 0 ? step_text(status)
                                              : "lag " + human_duration(status.lag_seconds);
  if (status.lag_seconds > 0 && !status.in_step && status.state == RunState::streaming) {
    if (!status.source_answers) out += " · the source does not answer";
    if (!status.target_answers) out += " · the target does not answer";
  }
  if (!status.in_step && status.source_lsn > status.applied && status.applied.valid())
    // What it wrote since it answered last is not known.
    out += fmt::format(" · {}{} of WAL behind", status.source_answers ? "" : "at least ",
                       human_bytes(static_cast<std::int64_t>(status.source_lsn.value - status.applied.value)));
  return out;
}

}  // namespace tailrace::serve
