#pragma once
// Engine: what the commands do, apart from talking to their user. Blocking; each returns soon after `stop`.

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "base/lsn.h"
#include "base/stop.h"
#include "config/config.h"
#include "pipeline/status.h"

namespace tailrace::pipeline {

/// Copies, then follows, supervised; throws Error only when a human is needed.
void run(const config::Config& config, StatusBoard& board, const StopSignal& stop);

/// One consistent copy and stop; leaves no slot behind.
void snapshot(const config::Config& config, StatusBoard& board, const StopSignal& stop);

/// The decoded stream as JSON lines.
void tail(const config::Config& config, std::FILE* out, const StopSignal& stop);

struct VerifyDifference {
  std::string table;
  std::string key;
  std::string source_row;  ///< empty: missing there
  std::string target_row;
};

struct VerifyTable {
  std::string table;
  std::int64_t source_rows = 0;
  std::int64_t target_rows = 0;
  bool equal = true;
  std::vector<VerifyDifference> differences;  ///< the first few
};

struct VerifyReport {
  Lsn lsn;  ///< where both sides were compared
  bool equal = false;
  std::vector<VerifyTable> tables;
  std::string error;  ///< why it could not be done; empty if it was
};

/// Opens the target itself. A running tailrace holds the file, so it is asked through its control socket instead.
VerifyReport verify(const config::Config& config, const StopSignal& stop);

}  // namespace tailrace::pipeline
