#pragma once
// Watched: what lets others watch a run from outside: the HTTP server, and the
// service manager that started it.

#include <memory>

#include "cli/command.h"
#include "pipeline/status.h"
#include "serve/http_server.h"
#include "serve/liveness.h"
#include "serve/service_manager.h"
#include "serve/watch_pages.h"

namespace tailrace::cli {

/// Lives as long as the run; `board` outlives it. Throws Error if it cannot listen.
class Watched {
 public:
  Watched(const config::Config& config, const pipeline::StatusBoard& board);

 private:
  std::unique_ptr<serve::Liveness> liveness_;
  std::unique_ptr<serve::ServiceManager> manager_;
  std::unique_ptr<serve::WatchPages> pages_;
  std::unique_ptr<serve::HttpServer> http_;
};

}  // namespace tailrace::cli
