#include <fmt/format.h>

#include "cli/command.h"

namespace tailrace::cli {

int command_version() {
  fmt::print("tailrace {}\n", TAILRACE_VERSION);
  return exit_ok;
}

}  // namespace tailrace::cli
