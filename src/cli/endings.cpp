#include "cli/endings.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/printable.h"
#include "serve/human.h"
#include "serve/status_view.h"

namespace tailrace::cli {

void tell_run_ended(const pipeline::Status& status) {
  auto held = std::ranges::count(status.tables, pipeline::TableState::held, &pipeline::TableStatus::state);
  std::string not_all =
      held == 0 ? "" : fmt::format("; not in step: {} of {} tables held", held, status.tables.size());
  std::string at = status.applied.valid() ? " at " + status.applied.str() : "";
  fmt::print(stderr, "tailrace: stopped{}: {} in {}{}; run again to go on\n", at,
             serve::human_number(status.changes, "change"),
             serve::human_number(status.transactions, "transaction"), not_all);
}

void tell_snapshot_done(const pipeline::Status& status) {
  auto done = status.copied.value_or(pipeline::CopyDone{});
  std::string as_of = done.lsn.valid() ? fmt::format(" (as of {})", done.lsn.str()) : "";
  fmt::print(stderr, "tailrace: done: {} -> {}{}\n", serve::copied_text(done), printable(status.target), as_of);
}

}  // namespace tailrace::cli
