#include <algorithm>
#include <memory>

#include "cli/command.h"
#include "cli/endings.h"
#include "cli/running.h"
#include "cli/until.h"
#include "cli/watched.h"
#include "pipeline/bad_changes.h"
#include "pipeline/engine.h"

namespace tailrace::cli {

namespace {

/// Waits for a newer look at the source before it refuses.
void check_skip(const pipeline::StatusBoard& board, Lsn commit_lsn, const StopSignal& stop) {
  Lsn written;
  for (int look = 0; look < 30 && !stop.requested(); ++look) {
    auto status = board.read();
    written = std::max(status.source_lsn, status.received);
    if (commit_lsn <= written) return;
    stop.sleep(std::chrono::milliseconds(100));
  }
  pipeline::refuse_skip_ahead(commit_lsn, written);
}

serve::ControlWork work_of(pipeline::Engine& engine, const pipeline::StatusBoard& board) {
  serve::ControlWork out;
  out.verify = [&engine](const pipeline::VerifyRequest& request, const StopSignal& stop) {
    return engine.compare(request, stop);
  };
  out.refresh = [&engine](const StopSignal& stop) { return engine.refresh(stop); };
  out.skip = [&](Lsn commit_lsn, bool forget, const StopSignal& stop) {
    if (!forget) check_skip(board, commit_lsn, stop);
    engine.between_transactions(
        [=](target::Target& target) {
          forget ? pipeline::take_skip_back(target, commit_lsn) : pipeline::note_skip(target, commit_lsn);
        },
        stop);
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
  auto until = read_until(options);
  auto config = load(options, {true, true});
  pipeline::StatusBoard board;
  pipeline::Engine engine(config, board, stop_signal());
  pipeline::CopyOutcome outcome;
  {
    Running running(config, board, serve::Progress::Copies::told, work_of(engine, board));
    Watched watched(config, board);
    try {
      outcome = engine.run({options.recopy, options.recopy_all}, until);
    } catch (const Error& error) {
      if (engine.began_anew()) running.began_anew();
      running.ended(engine.established(), engine.outcome(), &error);
      throw;
    }
    if (engine.began_anew()) running.began_anew();
    // Also one that was stopped before its copy began leaves a publication, or a slot.
    running.ended(true, outcome, nullptr, engine.reached_end() ? "it reached its end" : "asked to stop");
  }
  if (engine.reached_end() && outcome.whole()) return tell_end_reached(board.read());
  if (outcome.whole()) tell_run_ended(board.read());
  return report(outcome, "run again to go on");
}

}  // namespace tailrace::cli
