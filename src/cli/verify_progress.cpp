#include "cli/verify_progress.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "serve/progress.h"
#include "serve/status_view.h"

namespace tailrace::cli {

using namespace std::chrono_literals;

VerifyProgress::VerifyProgress(Ask ask) : ask_(std::move(ask)), thread_([this] { loop(); }) {}

VerifyProgress::~VerifyProgress() {
  done_.request();
  thread_.join();
}

void VerifyProgress::loop() {
  bool live = serve::Progress::style_for(stderr) == serve::Progress::Style::live;
  bool drawn = false;
  while (done_.sleep(live ? 500ms : 10'000ms)) {
    std::optional<pipeline::VerifyStatus> status;
    try {
      status = ask_();
    } catch (const Error&) {
      // Who asked for the comparison is told by its own answer.
      continue;
    }
    if (!status) continue;
    if (live) {
      fmt::print(stderr, "\r\x1b[K{}", serve::verify_text(*status));
      drawn = true;
    } else {
      log::info("verify", "{}", serve::verify_text(*status));
    }
  }
  if (drawn) fmt::print(stderr, "\r\x1b[K");
}

}  // namespace tailrace::cli
