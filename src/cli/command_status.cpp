#include <fmt/format.h>

#include <filesystem>

#include "base/terminal.h"
#include "cli/command.h"
#include "cli/status_watch.h"
#include "serve/control_client.h"
#include "serve/status_json.h"
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
  auto size = terminal::size_of(stdout);
  return serve::render_status(status,
                              {colour_wanted(stdout), size ? size->columns : 200U, 0, PgTimestamp::now()});
}

}  // namespace

int command_status(const Options& options) {
  serve::ControlClient client(socket_of(options));
  if (options.watch) return watch_status(client, options.json);
  auto json = client.status_json();
  if (!json) {
    if (options.json)
      fmt::print("null\n");
    else
      fmt::print("not running: nothing answers at {}\n", client.path());
    return exit_differs;
  }
  if (options.json)
    fmt::print("{}\n", *json);
  else
    fmt::print("{}", render(serve::status_from_json(*json)));
  return exit_ok;
}

}  // namespace tailrace::cli
