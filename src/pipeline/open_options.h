#pragma once
// What the configuration says of opening its target.

#include "config/config.h"
#include "target/open_target.h"

namespace tailrace::pipeline {

target::OpenOptions open_options(const config::Config& config);

}  // namespace tailrace::pipeline
