#pragma once
// Engine: what the commands do, apart from talking to their user. Blocking; each returns soon after `stop`.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/lsn.h"
#include "base/stop.h"
#include "config/config.h"
#include "pipeline/status.h"
#include "verify/report.h"

namespace tailrace::target {
class Target;
}

namespace tailrace::pipeline {

/// One consistent copy and stop; leaves no slot behind.
void snapshot(const config::Config& config, StatusBoard& board, const StopSignal& stop);

/// The decoded stream as JSON lines.
void tail(const config::Config& config, std::FILE* out, const StopSignal& stop);

using VerifyDifference = verify::Difference;
using VerifyTable = verify::TableReport;
using VerifyReport = verify::Report;

class Applier;

/// Copies, then follows, supervised. One object, one run(); compare() from any other thread while it runs.
class Engine {
 public:
  Engine(const config::Config& config, StatusBoard& board, const StopSignal& stop)
      : config_(config), board_(board), stop_(stop) {}

  /// Returns when a stop is requested; throws Error only when a human is needed. `recopy`: tables, as
  /// SCHEMA.TABLE, to copy anew first.
  void run(const std::vector<std::string>& recopy = {});
  /// Compares source and target at one position while both go on; `stop` ends the comparison early.
  VerifyReport compare(const StopSignal& stop);
  /// Work with the target between transactions; what it throws comes out here. `stop`: give up waiting. The
  /// work may be done even so, so it owns what it uses.
  void between_transactions(std::function<void(target::Target&)> work, const StopSignal& stop);

 private:
  void attempt(target::Target& target);
  struct Meeting;
  void with_applier(const StopSignal& stop, std::optional<std::chrono::seconds> patience,
                    const std::function<void(Applier&)>& action);
  Meeting meet(const StopSignal& stop);
  static void mark_for_copy(target::Target& target, const std::vector<std::string>& tables);
  bool wait_before_retry(const Error& error, bool established);
  bool source_has_slot(const Error& error) const;

  const config::Config& config_;
  StatusBoard& board_;
  const StopSignal& stop_;
  std::chrono::milliseconds backoff_{0};
  std::mutex applier_mutex_;
  std::condition_variable applier_changed_;
  Applier* applier_ = nullptr;  ///< while streaming
};

/// Opens the target itself, and catches it up to the position of the comparison. A running tailrace holds the
/// file, so it is asked through its control socket instead.
VerifyReport verify(const config::Config& config, const StopSignal& stop);

}  // namespace tailrace::pipeline
