#include "cli/verify_progress.h"

#include "base/error.h"
#include "base/log.h"
#include "base/terminal.h"
#include "serve/human.h"

namespace tailrace::cli {

using namespace std::chrono_literals;

VerifyProgress::VerifyProgress(Ask ask, std::chrono::milliseconds log_every)
    : ask_(std::move(ask)), log_every_(log_every), thread_([this] { loop(); }) {}

VerifyProgress::~VerifyProgress() {
  done_.request();
  thread_.join();
}

void VerifyProgress::loop() {
  bool live = terminal::can_draw(stderr);
  terminal::Panel panel(stderr);
  while (done_.sleep(live ? 500ms : log_every_)) {
    std::optional<std::string> text;
    try {
      text = ask_();
    } catch (const Error&) {
      // Who asked for the comparison is told by its own answer.
      continue;
    }
    if (!text) continue;
    if (live) {
      panel.show(serve::clip(*text, terminal::size_of(stderr).value_or(terminal::Size{}).columns) + "\n");
    } else {
      log::info("verify", "{}", *text);
    }
  }
}

}  // namespace tailrace::cli
