#include "cli/command.h"
#include "cli/running.h"
#include "pipeline/engine.h"

namespace tailrace::cli {

int command_snapshot(const Options& options) {
  auto config = load(options, {true, true});
  pipeline::StatusBoard board;
  Running running(config, board);
  pipeline::snapshot(config, board, stop_signal());
  // Interrupted, the copy is not there yet: a script must not take it for one.
  return stop_signal().requested() ? exit_retry : exit_ok;
}

}  // namespace tailrace::cli
