#include "pipeline/status.h"

namespace tailrace::pipeline {

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

}  // namespace tailrace::pipeline
