#pragma once
// What the commands that talk to the source themselves share.

#include "config/config.h"
#include "pg/connection.h"

namespace tailrace::cli {

pg::Connection open_source(const config::Config& config, pg::Mode mode = pg::Mode::sql);

}  // namespace tailrace::cli
