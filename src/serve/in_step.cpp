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

/// Of tables that are not published any more nothing is due.
bool is_due(const TableStatus& table) {
  bool left = table.state == TableState::stopped && table.last_error.empty();
  return table.state != TableState::streaming && !left;
}

std::string step_text(const Status& status) {
  if (in_step(status)) return "in step";
  auto held = std::ranges::count(status.tables, TableState::held, &TableStatus::state);
  if (held > 0) return fmt::format("not in step: {} of {} tables held", held, status.tables.size());
  auto due = std::ranges::count_if(status.tables, is_due);
  if (status.state != RunState::streaming || due == 0) return "not in step";
  return fmt::format("not in step: {} of {} tables not followed", due, status.tables.size());
}

}  // namespace

bool in_step(const Status& status) {
  return status.state == RunState::streaming && status.lag_seconds == 0 &&
         std::ranges::none_of(status.tables, is_due);
}

std::string lag_text(const Status& status) {
  std::string out = status.lag_seconds < 0    ? "lag unknown"
                    : status.lag_seconds == 0 ? step_text(status)
                                              : "lag " + human_duration(status.lag_seconds);
  if (status.source_lsn > status.applied && status.applied.valid())
    out += fmt::format(" · {} of WAL behind",
                       human_bytes(static_cast<std::int64_t>(status.source_lsn.value - status.applied.value)));
  return out;
}

}  // namespace tailrace::serve
