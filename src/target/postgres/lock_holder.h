#pragma once
// Who holds a subscription's lock at the target: another tailrace that lives, which no waiting mends, or a
// connection whose client is gone, which its server has not noticed yet.

#include <optional>
#include <string>

#include "pg/connection.h"

namespace tailrace::target::postgres {

/// The server's process of a tailrace that holds it and lives, and the address it is from, for people. Watches
/// as describe_lock_holder() does, where there is one.
std::optional<std::string> living_lock_holder(pg::Connection& connection, const std::string& subscription);

/// The Error for it. Watches for a moment whether the holder's mirror asks the server something new.
Error describe_lock_holder(pg::Connection& connection, const std::string& subscription);

}  // namespace tailrace::target::postgres
