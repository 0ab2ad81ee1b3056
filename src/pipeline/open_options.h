#pragma once
// What the configuration says of opening its two ends.

#include <chrono>
#include <memory>

#include "config/config.h"
#include "pg/connection.h"
#include "target/open_target.h"

namespace tailrace::pipeline {

target::OpenOptions open_options(const config::Config& config);

/// Of a connection that reads catalogs. One that waits for locks or running transactions has no such limit.
constexpr std::chrono::seconds catalog_patience{30};

/// With that patience.
std::unique_ptr<pg::Connection> open_source(const config::Config& config, pg::Mode mode);

}  // namespace tailrace::pipeline
