#include "cli/progress_line.h"

#include "base/error.h"
#include "base/log.h"
#include "base/terminal.h"
#include "serve/human.h"

namespace tailrace::cli {

using namespace std::chrono_literals;

namespace {

ProgressLine::Ask with_seconds(const std::string& doing) {
  return [doing, began = std::chrono::steady_clock::now()] {
    std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    return doing + ", " + serve::human_duration(took.count());
  };
}

}  // namespace

ProgressLine::ProgressLine(Ask ask, std::string component, std::chrono::milliseconds log_every)
    : ask_(std::move(ask)),
      component_(std::move(component)),
      log_every_(log_every),
      thread_([this] { loop(); }) {}

ProgressLine::ProgressLine(const std::string& doing) : ProgressLine(with_seconds(doing), "wait", 10s) {}

ProgressLine::~ProgressLine() {
  done_.request();
  thread_.join();
}

void ProgressLine::loop() {
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
      log::info(component_, "{}", *text);
    }
  }
}

}  // namespace tailrace::cli
