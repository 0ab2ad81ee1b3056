#include "cli/command.h"
#include "cli/endings.h"
#include "cli/running.h"
#include "pipeline/engine.h"

namespace tailrace::cli {

int command_snapshot(const Options& options) {
  auto config = load(options, {true, true});
  pipeline::StatusBoard board;
  pipeline::CopyOutcome outcome;
  {
    Running running(config, board, serve::Progress::Copies::untold);
    try {
      outcome = pipeline::snapshot(config, board, stop_signal());
    } catch (...) {
      running.ended(false, outcome);
      throw;
    }
    running.ended(false, outcome);
  }
  if (outcome.whole()) tell_snapshot_done(board.read());
  return report(outcome, "the same command begins anew");
}

}  // namespace tailrace::cli
