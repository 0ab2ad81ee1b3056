#pragma once
// Connection strings as text: a PostgreSQL URL or key=value settings, as libpq takes them.

#include <string>

namespace tailrace::pg {

bool holds_password(const std::string& conninfo);
/// A URL that says all else that `conninfo` does, which is a valid one.
std::string without_password(const std::string& conninfo);

}  // namespace tailrace::pg
