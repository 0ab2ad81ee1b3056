#include "pipeline/status.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace tailrace::pipeline {
namespace {

std::int64_t read_resident_bytes() {
  std::ifstream in("/proc/self/statm");
  std::int64_t size = 0;
  std::int64_t resident = 0;
  in >> size >> resident;
  return in ? resident * sysconf(_SC_PAGESIZE) : 0;
}

/// Each is written by another thread, at another moment: read together, none contradicts another.
void order_positions(Status& status) {
  if (!status.applied.valid()) return;
  status.received = std::max(status.received, status.applied);
  status.source_lsn = std::max(status.source_lsn, status.received);
  status.acknowledged = std::min(status.acknowledged, status.applied);
}

}  // namespace

bool is_due(const TableStatus& table) {
  if (table.quarantined > 0) return true;
  bool left = table.state == TableState::stopped && table.last_error.empty();
  return table.state != TableState::streaming && !left;
}

Status StatusBoard::read() const {
  Status out;
  Step::Judgement judged;
  {
    std::lock_guard lock(mutex_);
    out = status_;
    judged = step_.judge(Step::Clock::now());
  }
  bool streams = out.state == RunState::streaming;
  out.lag_seconds = judged.lag_seconds;
  out.source_answers = streams && judged.source_answers;
  out.target_answers = streams && judged.target_answers;
  out.in_step = streams && judged.in_step && !out.catalogs_lag && std::ranges::none_of(out.tables, is_due);
  {
    std::lock_guard lock(mutex_);
    // Asking the kernel costs more than all the rest, and some ask a thousand times a second.
    auto now = Step::Clock::now();
    if (now - resident_asked_ >= std::chrono::milliseconds(500)) {
      resident_asked_ = now;
      resident_bytes_ = read_resident_bytes();
    }
    out.resident_bytes = resident_bytes_;
  }
  order_positions(out);
  return out;
}

std::string_view to_string(RunState state) {
  switch (state) {
    case RunState::starting: return "starting";
    case RunState::copying: return "copying";
    case RunState::streaming: return "streaming";
    case RunState::reconnecting: return "reconnecting";
    case RunState::stopping: return "stopping";
    case RunState::stopped: return "stopped";
    case RunState::failed: return "failed";
  }
  return "unknown";
}

std::string_view to_string(TableState state) {
  switch (state) {
    case TableState::pending: return "pending";
    case TableState::copying: return "copying";
    case TableState::copied: return "copied";
    case TableState::streaming: return "streaming";
    case TableState::stopped: return "stopped";
    case TableState::held: return "held";
  }
  return "unknown";
}

std::string_view to_string(Ending ending) {
  switch (ending) {
    case Ending::unknown: break;
    case Ending::killed: return "not in order";
    case Ending::failed: return "failed";
    case Ending::in_order: return "in order";
  }
  return "unknown";
}

}  // namespace tailrace::pipeline
