#pragma once
// What the configuration says of opening its two ends.

#include <memory>

#include "config/config.h"
#include "pg/connection.h"
#include "target/open_target.h"

namespace tailrace::pipeline {

target::OpenOptions open_options(const config::Config& config);

/// With patience for what reads a catalog; what waits for locks or running transactions must have none.
std::unique_ptr<pg::Connection> open_source(const config::Config& config, pg::Mode mode);

}  // namespace tailrace::pipeline
