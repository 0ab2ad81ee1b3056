#pragma once
// Running: what surrounds a long command: the control socket and the progress display.

#include <optional>

#include "cli/command.h"
#include "pipeline/copy_outcome.h"
#include "pipeline/status.h"
#include "serve/control_server.h"
#include "serve/mirror_notes.h"
#include "serve/progress.h"

namespace tailrace::cli {

/// Lives as long as the command works; `board`, and what `work` uses, outlive it. Throws Error when another
/// tailrace runs on the target.
class Running {
 public:
  Running(const config::Config& config, pipeline::StatusBoard& board, serve::Progress::Copies copies,
          serve::ControlWork work = {});

  /// What an earlier run left to be told of its position holds no more. Before ended().
  void began_anew() { note_.forget_position(); }
  /// For whoever asks later. `leaves`: something is at its ends that a later run goes on from, or a teardown
  /// removes. Where a start left nothing, nothing is left to be told but of an earlier run. `why`: of an end in
  /// order.
  void ended(bool leaves, const pipeline::CopyOutcome& outcome, const Error* failure = nullptr,
             const char* why = "asked to stop");

 private:
  pipeline::StatusBoard& board_;
  serve::ControlServer server_;
  serve::NoteKeeper note_;
  std::optional<serve::Progress> progress_;
};

}  // namespace tailrace::cli
