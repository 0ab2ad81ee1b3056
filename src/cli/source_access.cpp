#include "cli/source_access.h"

namespace tailrace::cli {

pg::Connection open_source(const config::Config& config, pg::Mode mode) {
  auto seconds = std::chrono::ceil<std::chrono::seconds>(config.connect.timeout).count();
  return pg::Connection::open(config.source, {mode, "tailrace " + config.name, static_cast<int>(seconds)});
}

}  // namespace tailrace::cli
