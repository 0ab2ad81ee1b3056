#pragma once
// Endings: the one line that a command which went well ends with: what was done.

#include "pipeline/status.h"

namespace tailrace::cli {

/// Of a run that was stopped with all tables copied.
void tell_run_ended(const pipeline::Status& status);

/// Of a snapshot that is whole.
void tell_snapshot_done(const pipeline::Status& status);

}  // namespace tailrace::cli
