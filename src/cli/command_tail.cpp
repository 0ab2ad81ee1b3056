#include "cli/command.h"
#include "pipeline/engine.h"

namespace tailrace::cli {

int command_tail(const Options& options) {
  auto config = load(options, {true, false});
  pipeline::tail(config, stdout, stop_signal());
  return exit_ok;
}

}  // namespace tailrace::cli
