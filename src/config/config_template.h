#pragma once
// A configuration file to begin with: what is given, and everything else that can be said, as comments.

#include <string>

#include "config/config.h"

namespace tailrace::config {

/// Prose begins with "# ", a setting with its default with "#". Read by config_reader as it is, and also with
/// each of the settings taken out of its comment. With the secrets of `config`.
std::string config_template(const Config& config);

}  // namespace tailrace::config
