#include <fmt/format.h>

#include "base/printable.h"
#include "base/terminal.h"
#include "cli/find_mirror.h"
#include "cli/status_watch.h"
#include "cli/stopped_mirror.h"
#include "serve/status_json.h"
#include "serve/status_view.h"

namespace tailrace::cli {
namespace {

std::string render(const pipeline::Status& status) {
  auto size = terminal::size_of(stdout);
  return serve::render_status(status,
                              {colour_wanted(stdout), size ? size->columns : 200U, 0, PgTimestamp::now()});
}

/// Nobody answered.
std::string stopped_text(const Found& found, bool json) {
  std::optional<pipeline::Status> status;
  try {
    status = stopped_mirror(found);
  } catch (const RunsElsewhere&) {
    throw;
  } catch (const Error& error) {
    fmt::print(stderr, "tailrace: how old it is is not known: {}\n", printable(error.message()));
  }
  if (json) return status ? serve::to_json(*status) : "null";
  return (status ? describe_stopped(*status) + "\n" : "") + not_running(found);
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
  auto json = client.status_json();
  if (!json) {
    fmt::print("{}\n", stopped_text(found, options.json));
    return exit_differs;
  }
  if (options.watch)
    return watch_status(client, options.json, [&] { return stopped_text(found, options.json); });
  if (options.json)
    fmt::print("{}\n", *json);
  else
    fmt::print("{}", render(serve::status_from_json(*json)));
  return exit_ok;
}

}  // namespace tailrace::cli
