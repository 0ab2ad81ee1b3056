#include <fmt/format.h>

#include "cli/command.h"
#include "serve/control_client.h"
#include "serve/human.h"
#include "serve/status_json.h"

namespace tailrace::cli {
namespace {

void print_text(const pipeline::VerifyReport& report) {
  for (const auto& table : report.tables) {
    fmt::print("{}  {}  source {} rows, target {} rows\n", table.equal ? "equal  " : "DIFFERS",
               serve::pad_right(table.table, 40), serve::human_count(table.source_rows),
               serve::human_count(table.target_rows));
    for (const auto& difference : table.differences)
      fmt::print("           {}\n             source: {}\n             target: {}\n", difference.key,
                 difference.source_row.empty() ? "(no such row)" : difference.source_row,
                 difference.target_row.empty() ? "(no such row)" : difference.target_row);
  }
  fmt::print("\n{} at {}: {} tables compared\n", report.equal ? "equal" : "NOT EQUAL", report.lsn.str(),
             report.tables.size());
}

pipeline::VerifyReport ask(const Options& options) {
  // A running tailrace holds the file and knows its source, so the source need not be said again.
  auto config = load(options, {false, true});
  if (auto report = serve::ControlClient(control_path(config)).verify(stop_signal())) return std::move(*report);
  return pipeline::verify(load(options, {true, true}), stop_signal());
}

}  // namespace

int command_verify(const Options& options) {
  auto report = ask(options);
  if (options.json)
    fmt::print("{}\n", serve::to_json(report));
  else if (report.error.empty())
    print_text(report);
  if (!report.error.empty())
    throw Error(Retry::needs_operator, "source and target could not be compared: " + report.error);
  return report.equal ? exit_ok : exit_differs;
}

}  // namespace tailrace::cli
