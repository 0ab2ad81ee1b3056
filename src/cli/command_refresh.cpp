#include <fmt/format.h>

#include "base/printable.h"
#include "cli/command.h"
#include "cli/progress_line.h"
#include "serve/control_client.h"

namespace tailrace::cli {

int command_refresh(const Options& options) {
  auto config = load(options, {false, true});
  serve::ControlClient client(control_places(config));
  auto report = [&] {
    ProgressLine line("waiting until what is new is copied");
    return client.refresh(stop_signal());
  }();
  if (!report) {
    fmt::print("not running: nothing answers at {}; `tailrace run` looks at the publications when it starts\n",
               client.path());
    return exit_differs;
  }
  for (const auto& table : report->added) fmt::print("{} is new, and copied\n", printable(table));
  for (const auto& table : report->removed)
    fmt::print("{} is not published any more; its rows stay\n", printable(table));
  fmt::print("{} tables are followed\n", report->tables);
  return exit_ok;
}

}  // namespace tailrace::cli
