#pragma once
// Readiness: whether who reads the target gets what they expect of a mirror: its tables, as of now. Pure.

#include <string>

#include "pipeline/status.h"

namespace tailrace::serve {

struct Readiness {
  bool ready = false;
  std::string sentence;
};

/// Ready: in step, or a few seconds behind, as every busy mirror is again and again; or copying as planned.
Readiness readiness(const pipeline::Status& status);

}  // namespace tailrace::serve
