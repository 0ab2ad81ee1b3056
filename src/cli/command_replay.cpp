#include <fmt/format.h>

#include "base/printable.h"
#include "cli/find_mirror.h"
#include "cli/progress_line.h"
#include "pipeline/bad_changes.h"

namespace tailrace::cli {

int command_replay(const Options& options) {
  auto found = find_mirror(options, {false, true});
  const auto& config = found.config;
  if (config.target.kind != "postgres")
    throw UsageProblems{
        {{"target", "must be a PostgreSQL database: a DuckDB file takes every change", "", 0, 0}}};
  pipeline::ReplayRequest request{options.table, options.discard};
  auto report = [&] {
    ProgressLine line(options.discard ? "dropping what is in quarantine" : "replaying what is in quarantine");
    auto by_running_one = found.client().replay(request, stop_signal());
    return by_running_one ? *by_running_one : pipeline::replay(config, request);
  }();
  for (const auto& table : report.tables) {
    fmt::print("{}: {} changes {}\n", printable(table.table), table.changes,
               options.discard ? "dropped from quarantine" : "replayed");
  }
  if (!report.error.empty()) throw Error(Retry::needs_operator, report.error);
  if (report.tables.empty()) fmt::print("nothing is in quarantine\n");
  return exit_ok;
}

}  // namespace tailrace::cli
