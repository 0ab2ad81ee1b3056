#pragma once
// A connection string as it is shown to whoever wrote it: with all that it says, but for secrets.

#include <string>

namespace tailrace::pg {

/// Like redact(), and with its other parameters, such as sslmode, as a URL has them. Those of the environment
/// and of defaults are not in it.
std::string shown_conninfo(const std::string& conninfo);

}  // namespace tailrace::pg
