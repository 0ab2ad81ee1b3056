#include "cli/command.h"
#include "cli/running.h"
#include "pipeline/engine.h"

namespace tailrace::cli {

int command_snapshot(const Options& options) {
  auto config = load(options, {true, true});
  pipeline::StatusBoard board;
  pipeline::CopyOutcome outcome;
  {
    Running running(config, board);
    try {
      outcome = pipeline::snapshot(config, board, stop_signal());
    } catch (...) {
      running.ended(false);
      throw;
    }
    running.ended(false);
  }
  return report(outcome, "the same command begins anew");
}

}  // namespace tailrace::cli
