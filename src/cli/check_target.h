#pragma once
// What `check` says of the user that a PostgreSQL target is written as.

#include <vector>

#include "config/config.h"
#include "pg/connection.h"
#include "source/preflight.h"

namespace tailrace::cli {

std::vector<source::CheckResult> check_target_user(const config::Config& config, pg::Connection& source,
                                                   pg::Connection& target);

}  // namespace tailrace::cli
