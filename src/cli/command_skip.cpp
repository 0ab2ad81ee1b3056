#include <fmt/format.h>

#include "cli/command.h"
#include "pipeline/bad_changes.h"
#include "serve/control_client.h"

namespace tailrace::cli {

int command_skip(const Options& options) {
  auto config = load(options, {false, true});
  auto lsn = Lsn::parse(options.lsn);
  if (!lsn || !lsn->valid()) {
    throw UsageProblems{
        {{"--lsn",
          options.lsn.empty() ? "is missing: give the position that the error names, such as 0/15D6A28"
                              : fmt::format("'{}' is no position such as 0/15D6A28", options.lsn),
          "", 0, 0}}};
  }
  bool running = serve::ControlClient(control_places(config)).skip(*lsn, stop_signal());
  if (!running) pipeline::note_skip(config, *lsn);
  fmt::print("noted: the source's transaction at {} will be left out whole{}\n", lsn->str(),
             running ? "" : " by the next 'tailrace run'");
  return exit_ok;
}

}  // namespace tailrace::cli
