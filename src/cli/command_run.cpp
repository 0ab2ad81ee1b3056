#include <memory>

#include "cli/command.h"
#include "cli/endings.h"
#include "cli/running.h"
#include "pipeline/bad_changes.h"
#include "pipeline/engine.h"

namespace tailrace::cli {

namespace {

serve::ControlWork work_of(pipeline::Engine& engine) {
  serve::ControlWork out;
  out.verify = [&engine](const pipeline::VerifyRequest& request, const StopSignal& stop) {
    return engine.compare(request, stop);
  };
  out.refresh = [&engine](const StopSignal& stop) { return engine.refresh(stop); };
  out.skip = [&engine](Lsn commit_lsn, const StopSignal& stop) {
    engine.between_transactions([=](target::Target& target) { pipeline::note_skip(target, commit_lsn); }, stop);
  };
  out.replay = [&engine](const pipeline::ReplayRequest& request, const StopSignal& stop) {
    auto report = std::make_shared<pipeline::ReplayReport>();
    engine.between_transactions([=](target::Target& target) { *report = pipeline::replay(target, request); },
                                stop);
    return *report;
  };
  return out;
}

}  // namespace

int command_run(const Options& options) {
  auto config = load(options, {true, true});
  pipeline::StatusBoard board;
  pipeline::Engine engine(config, board, stop_signal());
  pipeline::CopyOutcome outcome;
  {
    Running running(config, board, serve::Progress::Copies::told, work_of(engine));
    outcome = engine.run(options.recopy);
  }
  if (outcome.whole()) tell_run_ended(board.read());
  return report(outcome, "run again to go on");
}

}  // namespace tailrace::cli
