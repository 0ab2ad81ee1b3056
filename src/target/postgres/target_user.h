#pragma once
// TargetUser: what the target's user may do, judged before anything is written there.

#include <string>
#include <string_view>
#include <vector>

#include "pg/connection.h"

namespace tailrace::target::postgres {

/// Throws Error where the user's sessions may not write. `set_up`: the mirror has begun there, so that a
/// standby is waited out.
void check_writable(pg::Connection& connection, bool set_up);

/// From here on the connection's statements fire no triggers but those that always do: triggers and foreign
/// keys fired at the source already. Throws Error where the user may not have that.
void take_replica_role(pg::Connection& connection, std::string_view purpose);

/// Throws Error where the user does not see, or may not change, all rows of these tables for their FORCE ROW
/// LEVEL SECURITY. They are named as they are at the source, whose copies will have it.
void check_row_security(pg::Connection& connection, const std::vector<std::string>& forced);

}  // namespace tailrace::target::postgres
