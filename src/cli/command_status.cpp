#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/printable.h"
#include "cli/find_mirror.h"
#include "cli/stopped_mirror.h"
#include "serve/status_json.h"
#include "serve/status_view.h"

namespace tailrace::cli {
namespace {

std::string render(const pipeline::Status& status) {
  winsize size{};
  bool terminal =
      ::isatty(STDOUT_FILENO) == 1 && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return serve::render_status(status,
                              {colour_wanted(stdout), terminal ? size.ws_col : 200U, 0, PgTimestamp::now()});
}

/// Nobody answered.
int say_stopped(const Found& found, bool json) {
  std::optional<pipeline::Status> status;
  try {
    status = stopped_mirror(found);
  } catch (const Error& error) {
    fmt::print(stderr, "tailrace: how old it is is not known: {}\n", printable(error.message()));
  }
  if (json)
    fmt::print("{}\n", status ? serve::to_json(*status) : "null");
  else if (status)
    fmt::print("{}\n", describe_stopped(*status));
  if (!json) fmt::print("{}\n", not_running(found));
  return exit_differs;
}

}  // namespace

int command_status(const Options& given) {
  auto options = given;
  // For a look, the bare file name is clear enough.
  if (!options.target.empty() && !options.target.contains(':')) options.target = "duckdb:" + options.target;
  auto found = find_mirror(options, {});
  if (!found.config.target.given() && found.places.paths.empty() && found.name.empty())
    throw UsageProblems{
        {{"target", "is missing: say which mirror, such as duckdb:shop.duckdb; " + not_running(found), "", 0,
          0}}};
  auto client = found.client();
  do {
    auto json = client.status_json();
    if (!json) return say_stopped(found, options.json);
    if (options.json) {
      fmt::print("{}\n", *json);
    } else {
      // Home and clear only what is below, so that the screen does not flicker.
      if (options.watch) fmt::print("\x1b[H\x1b[J");
      fmt::print("{}", render(serve::status_from_json(*json)));
    }
    std::fflush(stdout);
  } while (options.watch && stop_signal().sleep(std::chrono::seconds(1)));
  return exit_ok;
}

}  // namespace tailrace::cli
