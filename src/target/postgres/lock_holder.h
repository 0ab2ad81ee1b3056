#pragma once
// Who holds a subscription's lock at the target: another tailrace that lives, which no waiting mends, or a
// connection whose client is gone, which its server has not noticed yet.

#include <string>

#include "pg/connection.h"

namespace tailrace::target::postgres {

/// The Error for it. Watches for a moment whether the holder's mirror asks the server something new.
Error describe_lock_holder(pg::Connection& connection, const std::string& subscription);

}  // namespace tailrace::target::postgres
