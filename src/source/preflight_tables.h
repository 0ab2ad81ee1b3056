#pragma once
// The part of the preflight that looks at the selected tables. Internal to this room.

#include <optional>
#include <vector>

#include "source/preflight.h"

namespace tailrace::source {

std::vector<CheckResult> check_tables(pg::Connection& connection, const PreflightRequest& request,
                                      const std::optional<PublicationInfo>& existing);

}  // namespace tailrace::source
