#include "serve/watch_pages.h"

#include "serve/readiness.h"
#include "serve/status_json.h"

namespace tailrace::serve {
namespace {

using namespace std::chrono_literals;

// The board is locked while it is read, and with many tables that takes a moment: however often somebody asks.
constexpr auto fresh_for = 100ms;

constexpr const char* text = "text/plain; charset=utf-8";

}  // namespace

std::optional<HttpAnswer> WatchPages::page(std::string_view path) {
  if (path == "/metrics") return HttpAnswer{200, "text/plain; version=0.0.4; charset=utf-8", metrics()};
  if (path == "/status") return HttpAnswer{200, "application/json", to_json(*status()) + "\n"};
  if (path == "/healthz") {
    auto standstill = liveness_.standstill();
    return HttpAnswer{standstill.empty() ? 200 : 503, text, (standstill.empty() ? "alive" : standstill) + "\n"};
  }
  if (path == "/readyz") {
    auto now = readiness(*status());
    return HttpAnswer{now.ready ? 200 : 503, text, now.sentence + "\n"};
  }
  if (path == "/")
    return HttpAnswer{200, text,
                      "tailrace\n/metrics  for Prometheus\n/healthz  does it move?\n"
                      "/readyz   is it in step?\n/status   all of it, as JSON\n"};
  return std::nullopt;
}

std::shared_ptr<const pipeline::Status> WatchPages::status() {
  std::lock_guard lock(mutex_);
  auto now = std::chrono::steady_clock::now();
  if (!read_ || now - read_at_ >= fresh_for) {
    read_ = std::make_shared<const pipeline::Status>(board_.read());
    read_at_ = now;
  }
  return read_;
}

std::string WatchPages::metrics() {
  Surroundings around{about_.version, about_.target_kind, liveness_.last_beat(), {}};
  for (const auto& folder : about_.folders) {
    if (auto disk = disk_of(folder.path, folder.holds)) around.disks.push_back(std::move(*disk));
  }
  return metrics_text(*status(), board_.measures(), around);
}

}  // namespace tailrace::serve
