#include "cli/watched.h"

#include <filesystem>

namespace tailrace::cli {
namespace {

serve::WatchPages::About about(const config::Config& config) {
  serve::WatchPages::About out{TAILRACE_VERSION, config.target.kind, {}};
  if (config.target.kind == "duckdb") {
    auto folder = std::filesystem::path(config.target.path).parent_path();
    out.folders.push_back({folder.empty() ? "." : folder.string(), "target"});
  }
  if (config.streaming) out.folders.push_back({config::spool_directory(config), "spool"});
  return out;
}

}  // namespace

Watched::Watched(const config::Config& config, const pipeline::StatusBoard& board) {
  liveness_ = std::make_unique<serve::Liveness>();
  manager_ = serve::ServiceManager::of_environment(board, *liveness_, stop_signal());
  if (!config.http) return;
  pages_ = std::make_unique<serve::WatchPages>(board, *liveness_, about(config));
  http_ = std::make_unique<serve::HttpServer>(*config.http,
                                              [this](std::string_view path) { return pages_->page(path); });
}

}  // namespace tailrace::cli
