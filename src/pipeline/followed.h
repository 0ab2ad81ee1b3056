#pragma once
// Opening a target makes what a mirror needs there. Whoever asks for a mirror that is there already looks
// first: at a wrong target, nothing is made.

#include "base/error.h"
#include "config/config.h"

namespace tailrace::pipeline {

/// "... follows nothing yet"
Error follows_nothing(const config::Config& config);

/// Throws that where no mirror of this name is at the target; nothing is written.
void refuse_unfollowed(const config::Config& config);

}  // namespace tailrace::pipeline
