#pragma once
// What the standard library throws of a thread, a file or memory that the system did not give, as an Error.

#include <system_error>

#include "base/error.h"

namespace tailrace {

/// Transient where the system may give it later.
Error as_error(const std::system_error& error);

}  // namespace tailrace
