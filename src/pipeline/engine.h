#pragma once
// Engine: what the commands do, apart from talking to their user. Blocking; each returns soon after `stop`.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/lsn.h"
#include "base/stop.h"
#include "config/config.h"
#include "pipeline/copy_outcome.h"
#include "pipeline/first_start.h"
#include "pipeline/looks.h"
#include "pipeline/run_end.h"
#include "pipeline/status.h"
#include "pipeline/verification.h"
#include "verify/report.h"

namespace tailrace::pipeline {

/// One consistent copy and stop; leaves no slot behind. One that was interrupted begins anew.
CopyOutcome snapshot(const config::Config& config, StatusBoard& board, const StopSignal& stop);

/// The decoded stream as JSON lines.
void tail(const config::Config& config, std::FILE* out, const StopSignal& stop);

using VerifyDifference = verify::Difference;
using VerifyTable = verify::TableReport;
using VerifyReport = verify::Report;

/// Copies, then follows, supervised. One object, one run(); compare() from any other thread while it runs.
class Engine {
 public:
  Engine(const config::Config& config, StatusBoard& board, const StopSignal& stop)
      : config_(config), board_(board), stop_(stop) {}

  /// Returns when a stop is requested or the end is reached, and what it leaves to be copied; throws Error only
  /// when a human is needed.
  CopyOutcome run(const Recopy& recopy = {}, const Until& until = {});
  /// What the last session left, as far as it is known.
  const CopyOutcome& outcome() const { return outcome_; }
  /// Whether run() got to where it was to end.
  bool reached_end() const { return end_.reached(); }
  /// Whether the mirror has begun: a start finds something to go on from.
  bool established() const { return established_; }
  /// Everything is copied anew: what was known of its position before holds no more.
  bool began_anew() const { return recopy_.all && !anew_; }
  /// Compares source and target while both go on, and mends the target if asked; `stop` ends that early.
  VerifyReport compare(const VerifyRequest& request, const StopSignal& stop);
  /// Looks at the source's publications now, and returns when what they list is copied and followed; `stop`
  /// ends the waiting early, by an Error.
  RefreshReport refresh(const StopSignal& stop);
  /// Work with the target between transactions; what it throws comes out here. `stop`: give up waiting. The
  /// work may be done even so, so it owns what it uses.
  void between_transactions(std::function<void(target::Target&)> work, const StopSignal& stop);

 private:
  CopyOutcome run_supervised(FirstStart& first);
  void attempt(target::Target& target, std::unique_ptr<pg::Connection> source, FirstStart& first);
  void note_outcome(target::Target& target);
  void mark_for_copy(target::Target& target, const std::vector<std::string>& tables);
  bool wait_before_retry(const Error& error, bool established);
  bool source_has_slot(const Error& error) const;

  const config::Config& config_;
  StatusBoard& board_;
  const StopSignal& stop_;
  Looks looks_;
  std::chrono::milliseconds backoff_{0};
  Lsn failed_at_;  ///< how far the target was when the run last failed
  std::optional<std::chrono::steady_clock::time_point> streaming_since_;
  bool streamed_ = false;  ///< the session, or the last one
  Recopy recopy_;
  std::vector<AskedCopy> asked_;
  bool anew_ = false;  ///< everything is still to be copied anew
  bool established_ = false;
  RunEnd end_{{}};
  RunningApplier applier_;
  CopyOutcome outcome_;
};

/// For when no tailrace runs on the target (a running one is asked through its control socket): follows as
/// run() does for as long as `work` takes, which may ask for comparisons.
using Compare = std::function<VerifyReport(const VerifyRequest&)>;
void follow_meanwhile(const config::Config& config, StatusBoard& board, const StopSignal& stop,
                      const std::function<void(const Compare&)>& work);

}  // namespace tailrace::pipeline
