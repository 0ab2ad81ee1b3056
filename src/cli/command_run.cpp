#include "cli/command.h"
#include "cli/running.h"
#include "pipeline/engine.h"

namespace tailrace::cli {

int command_run(const Options& options) {
  auto config = load(options, {true, true});
  pipeline::StatusBoard board;
  pipeline::Engine engine(config, board, stop_signal());
  Running running(
      config, board,
      [&](const pipeline::VerifyRequest& request, const StopSignal& stop) {
        return engine.compare(request, stop);
      },
      [&](const StopSignal& stop) { return engine.refresh(stop); });
  engine.run(options.recopy);
  return exit_ok;
}

}  // namespace tailrace::cli
