#include "pipeline/followed.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "pipeline/open_options.h"
#include "target/open_target.h"

namespace tailrace::pipeline {

Error follows_nothing(const config::Config& config) {
  return Error(Retry::needs_operator, fmt::format("{} follows nothing yet", config.target.url()),
               "Is this the right target, and the right --name? A first copy that was stopped goes on with "
               "'tailrace run'");
}

void refuse_unfollowed(const config::Config& config) {
  bool file = config.target.kind == "duckdb";
  std::error_code unknown;
  if (file && !std::filesystem::exists(config.target.path, unknown) && !unknown) throw follows_nothing(config);
  std::optional<Checkpoint> books;
  try {
    books = target::read_checkpoint(open_options(config));
  } catch (const Error&) {
    // A file that cannot be read without more ado is there, and whoever opens it makes nothing of it.
    if (!file) throw;
    return;
  }
  if (!books) throw follows_nothing(config);
}

}  // namespace tailrace::pipeline
