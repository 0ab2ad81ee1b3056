#include <fmt/format.h>

#include "cli/command.h"
#include "cli/progress_line.h"
#include "cli/source_access.h"
#include "serve/control_client.h"
#include "source/publication.h"
#include "source/slot.h"
#include "target/open_target.h"

namespace tailrace::cli {
namespace {

/// Asks the running tailrace to stop and waits until it is gone.
void stop_running(const config::Config& config) {
  serve::ControlClient client(control_places(config));
  if (!client.stop()) return;
  ProgressLine line("waiting for the running tailrace to stop");
  for (int i = 0; i < 300; ++i) {
    if (!stop_signal().sleep(std::chrono::milliseconds(100))) return;
    if (!client.running()) return;
  }
  throw Error(Retry::needs_operator, "the running tailrace did not stop within 30 seconds", "Look at its log");
}

}  // namespace

int command_teardown(const Options& options) {
  auto config = load(options, {true, options.stop_running});
  if (options.stop_running) stop_running(config);
  auto connection = open_source(config);
  // As it is where a source was frozen for a switchover: what is removed is tailrace's own.
  connection.query("set default_transaction_read_only = off", "preparing to remove");
  // The slot first: while it is there, a missing publication would break its stream.
  bool slot = [&] {
    ProgressLine line("dropping the slot, which its reader must have left");
    return source::drop_slot(connection, config.slot.name);
  }();
  fmt::print("slot {}: {}\n", config.slot.name, slot ? "dropped" : "there was none");
  for (const std::string& name : config.publication.names) {
    auto existing = source::read_publication(connection, name);
    bool dropped = source::drop_publication(connection, name);
    fmt::print("publication {}: {}\n", name,
               dropped    ? "dropped"
               : existing ? "left alone, tailrace did not make it"
                          : "there was none");
  }
  if (config.target.kind == "postgres") {
    target::OpenOptions mirror;
    mirror.kind = config.target.kind;
    mirror.path = config.target.path;
    mirror.name = config.name;
    fmt::print(
        "{}: {}\n", config.target.url(),
        target::forget(mirror) ? "its bookkeeping and origin dropped, the tables stay" : "there was nothing");
  }
  return exit_ok;
}

}  // namespace tailrace::cli
