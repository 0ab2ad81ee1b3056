#pragma once
// The one place that knows every kind of target by name.

#include <memory>
#include <string>

#include "target/target.h"

namespace tailrace::target {

/// `kind` is a target URL's scheme, `path` its rest; the configuration has judged both.
std::unique_ptr<Target> open(const std::string& kind, const std::string& path, std::int64_t memory_bytes);

}  // namespace tailrace::target
