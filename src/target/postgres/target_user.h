#pragma once
// TargetUser: what the target's user may do, judged before anything is written there.

#include <string>
#include <vector>

#include "pg/connection.h"

namespace tailrace::target::postgres {

/// Throws Error where the user's sessions may not write.
void check_writable(pg::Connection& connection);

/// Throws Error where the user does not see, or may not change, all rows of these tables for their FORCE ROW
/// LEVEL SECURITY. They are named as they are at the source, whose copies will have it.
void check_row_security(pg::Connection& connection, const std::vector<std::string>& forced);

}  // namespace tailrace::target::postgres
