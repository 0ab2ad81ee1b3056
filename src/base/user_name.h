#pragma once
// Users of this host, for people.

#include <sys/types.h>

#include <string>

namespace tailrace {

/// "root", or the number of a user without a name.
std::string user_name(uid_t user);

}  // namespace tailrace
