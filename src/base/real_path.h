#pragma once
// What a path leads to.

#include <string>

namespace tailrace {

/// Absolute, and without links, also of a file that is still to be made: what lies beside a file lies beside
/// this one. A path that cannot be followed stays as it is.
std::string real_path(const std::string& path);

}  // namespace tailrace
