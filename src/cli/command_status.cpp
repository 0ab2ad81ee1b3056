#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <filesystem>

#include "cli/command.h"
#include "serve/control_client.h"
#include "serve/status_view.h"

namespace tailrace::cli {
namespace {

constexpr std::string_view suffix = ".tailrace.sock";

/// With nothing said, the one mirror of this folder is meant.
std::string find_target_here() {
  std::string found;
  for (const auto& entry : std::filesystem::directory_iterator(".")) {
    std::string name = entry.path().filename().string();
    if (!name.ends_with(suffix)) continue;
    if (!found.empty())
      throw UsageProblems{
          {{"target", "several mirrors are in this folder: say which, such as duckdb:shop.duckdb", "", 0, 0}}};
    found = name.substr(0, name.size() - suffix.size());
  }
  return found;
}

serve::SocketPlaces socket_of(Options options) {
  // For a look, the bare file name is clear enough.
  if (!options.target.empty() && !options.target.contains(':')) options.target = "duckdb:" + options.target;
  auto config = load(options, {});
  if (!config.target.given() && config.control_socket.empty()) {
    config.target = {"duckdb", find_target_here()};
    if (config.target.path.empty())
      throw UsageProblems{{{"target", "is missing: say which mirror, such as duckdb:shop.duckdb", "", 0, 0}}};
  }
  return control_places(config);
}

std::string render(const pipeline::Status& status) {
  winsize size{};
  bool terminal =
      ::isatty(STDOUT_FILENO) == 1 && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return serve::render_status(status,
                              {colour_wanted(stdout), terminal ? size.ws_col : 200U, 0, PgTimestamp::now()});
}

}  // namespace

int command_status(const Options& options) {
  serve::ControlClient client(socket_of(options));
  do {
    auto json = client.status_json();
    if (!json) {
      if (options.json)
        fmt::print("null\n");
      else
        fmt::print("not running: nothing answers at {}\n", client.path());
      return exit_differs;
    }
    if (options.json) {
      fmt::print("{}\n", *json);
    } else {
      // Home and clear only what is below, so that the screen does not flicker.
      if (options.watch) fmt::print("\x1b[H\x1b[J");
      fmt::print("{}", render(*client.status()));
    }
    std::fflush(stdout);
  } while (options.watch && stop_signal().sleep(std::chrono::seconds(1)));
  return exit_ok;
}

}  // namespace tailrace::cli
