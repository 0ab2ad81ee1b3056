#include "base/system_failure.h"

namespace tailrace {

Error as_error(const std::system_error& error) {
  auto said = error.code().default_error_condition();
  if (said == std::errc::resource_unavailable_try_again)
    return {Retry::transient, fmt::format("no thread can be started: {}", error.what()),
            "Raise the limit of threads (ulimit -u, the pids of a container)"};
  if (said == std::errc::too_many_files_open || said == std::errc::too_many_files_open_in_system ||
      said == std::errc::not_enough_memory)
    return {Retry::transient, fmt::format("the system gives no more: {}", error.what()),
            "Raise the limit of open files or of memory (ulimit -n, ulimit -v, those of a container)"};
  if (said == std::errc::no_space_on_device) return {Retry::transient, error.what(), "Free space there"};
  return {Retry::needs_operator, fmt::format("the system refused: {}", error.what())};
}

}  // namespace tailrace
