#include <fmt/format.h>

#include "cli/command.h"

namespace tailrace::cli {

int command_config_check(const Options& options) {
  auto config = load(options, {});
  fmt::print("{}", config::describe(config));
  return exit_ok;
}

}  // namespace tailrace::cli
