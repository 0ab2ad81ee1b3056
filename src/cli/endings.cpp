#include "cli/endings.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/copy_anew.h"
#include "base/log.h"
#include "base/printable.h"
#include "cli/command.h"
#include "serve/human.h"
#include "serve/status_view.h"

namespace tailrace::cli {
namespace {

/// Where the log is for machines it is a line of it: they read every line.
void tell(const std::string& text) {
  if (log::writes_json()) return log::info("tailrace", "{}", text);
  fmt::print(stderr, "tailrace: {}\n", printable(with_run_arguments(text)));
}

}  // namespace

void tell_run_ended(const pipeline::Status& status) {
  auto held = std::ranges::count(status.tables, pipeline::TableState::held, &pipeline::TableStatus::state);
  std::string not_all =
      held == 0 ? "" : fmt::format("; not in step: {} of {} tables held", held, status.tables.size());
  std::string at = status.applied.valid() ? " at " + status.applied.str() : "";
  tell(fmt::format("stopped{}: {} in {}{}; run again to go on", at,
                   serve::human_number(status.changes, "change"),
                   serve::human_number(status.transactions, "transaction"), not_all));
}

int tell_end_reached(const pipeline::Status& status) {
  std::string held;
  std::int64_t kept_back = 0;
  for (const auto& table : status.tables) {
    if (table.state == pipeline::TableState::held)
      held += (held.empty() ? "" : ", ") + table.schema + "." + table.name;
    kept_back += table.quarantined;
  }
  tell(fmt::format("done: at {}; {} in {}", status.applied.str(), serve::human_number(status.changes, "change"),
                   serve::human_number(status.transactions, "transaction")));
  if (!held.empty())
    tell(fmt::format("not in step: held: {}; 'tailrace run --recopy TABLE' copies one anew", held));
  if (kept_back > 0) {
    tell(fmt::format("not in step: {} in quarantine; 'tailrace replay' applies what is there",
                     serve::human_number(kept_back, "change")));
  }
  return held.empty() && kept_back == 0 ? exit_ok : exit_operator;
}

void tell_snapshot_done(const pipeline::Status& status) {
  auto done = status.copied.value_or(pipeline::CopyDone{});
  std::string as_of = done.lsn.valid() ? fmt::format(" (as of {})", done.lsn.str()) : "";
  tell(fmt::format("done: {} -> {}{}", serve::copied_text(done), status.target, as_of));
}

}  // namespace tailrace::cli
