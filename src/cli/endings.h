#pragma once
// Endings: the one line that a command which went well ends with: what was done.

#include "pipeline/status.h"

namespace tailrace::cli {

/// Of a run that was stopped with all tables copied.
void tell_run_ended(const pipeline::Status& status);

/// Of a run that got to where it was to end, and the exit code for it: what is not in step there, somebody must
/// see to.
int tell_end_reached(const pipeline::Status& status);

/// Of a snapshot that is whole.
void tell_snapshot_done(const pipeline::Status& status);

}  // namespace tailrace::cli
