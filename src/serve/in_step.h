#pragma once
// In step: whether the target has all that the source has by now.

#include <string>

#include "pipeline/status.h"

namespace tailrace::serve {

/// How far behind, for people: "in step", "lag 3.2 s", or which tables are left out of it.
std::string lag_text(const pipeline::Status& status);

}  // namespace tailrace::serve
