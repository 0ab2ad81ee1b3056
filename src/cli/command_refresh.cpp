#include <fmt/format.h>

#include "base/printable.h"
#include "cli/find_mirror.h"
#include "cli/progress_line.h"

namespace tailrace::cli {

int command_refresh(const Options& options) {
  auto found = find_mirror(options, {false, true});
  auto report = [&] {
    ProgressLine line("waiting until what is new is copied");
    return found.client().refresh(stop_signal());
  }();
  if (!report) {
    fmt::print("{}\n`tailrace run` looks at the publications when it starts\n", not_running(found));
    return exit_differs;
  }
  for (const auto& table : report->added) fmt::print("{} is new, and copied\n", printable(table));
  for (const auto& table : report->removed)
    fmt::print("{} is not published any more; its rows stay\n", printable(table));
  fmt::print("{} tables are followed\n", report->tables);
  return exit_ok;
}

}  // namespace tailrace::cli
