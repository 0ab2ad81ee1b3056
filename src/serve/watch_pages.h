#pragma once
// WatchPages: what the HTTP server shows of a mirror: /metrics, /healthz, /readyz, /status.

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "pipeline/status.h"
#include "serve/http_server.h"
#include "serve/liveness.h"
#include "serve/metrics_text.h"

namespace tailrace::serve {

/// Thread-safe. Borrows all that it is given.
class WatchPages {
 public:
  struct Folder {
    std::string path;
    std::string holds;  ///< see Disk
  };
  struct About {
    std::string version;
    std::string target_kind;
    std::vector<Folder> folders;
  };

  WatchPages(const pipeline::StatusBoard& board, const Liveness& liveness, About about)
      : board_(board), liveness_(liveness), about_(std::move(about)) {}

  std::optional<HttpAnswer> page(std::string_view path);

 private:
  std::shared_ptr<const pipeline::Status> status();
  std::string metrics();

  const pipeline::StatusBoard& board_;
  const Liveness& liveness_;
  About about_;
  std::mutex mutex_;
  std::shared_ptr<const pipeline::Status> read_;
  std::chrono::steady_clock::time_point read_at_;
};

}  // namespace tailrace::serve
