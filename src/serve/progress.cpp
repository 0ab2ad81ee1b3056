#include "serve/progress.h"

#include <fmt/format.h>

#include "base/log.h"
#include "base/terminal.h"
#include "serve/human.h"
#include "serve/speed.h"
#include "serve/status_view.h"

namespace tailrace::serve {
namespace {

using Clock = std::chrono::steady_clock;
using pipeline::RunState;
using pipeline::Status;

constexpr std::size_t least_rows = 10;  // of a terminal for more than one line

class LiveDisplay {
 public:
  explicit LiveDisplay(std::FILE* out) : out_(out), panel_(out) {}

  void draw(Status status, bool last) {
    auto size = terminal::size_of(out_).value_or(terminal::Size{});
    // Who ends with it says it.
    if (last && status.state == RunState::failed) status.message.clear();
    if (size.rows < least_rows) {
      panel_.show(clip(render_line(status), size.columns) + "\n");
    } else {
      // A whole screen would scroll when its last line ends.
      panel_.show(render_status(
          status, {terminal::colour_wanted(out_), size.columns, size.rows - 1, PgTimestamp::now()}));
    }
    if (last) panel_.leave();
  }

 private:
  std::FILE* out_;
  terminal::Panel panel_;
};

/// Says when it copies and when it follows, and otherwise something every now and then. What fails is told by
/// those who know why.
class Lines {
 public:
  void look(const Status& status) {
    auto now = Clock::now();
    bool changed = status.state != state_;
    state_ = status.state;
    if (state_ != RunState::copying && state_ != RunState::streaming) return;
    auto pause = state_ == RunState::copying ? std::chrono::seconds(10) : std::chrono::seconds(60);
    bool idle = status.changes == changes_ && state_ == RunState::streaming;
    if (!changed && (idle || now - last_ < pause)) return;
    changes_ = status.changes;
    last_ = now;
    log::info("progress", "{}", render_line(status));
  }

 private:
  RunState state_ = RunState::starting;
  std::int64_t changes_ = 0;
  Clock::time_point last_ = Clock::now();
};

}  // namespace

Progress::Style Progress::style_for(std::FILE* out) {
  return terminal::can_draw(out) ? Style::live : Style::lines;
}

Progress::Progress(pipeline::StatusBoard& board, std::FILE* out, Style style, Copies copies)
    : board_(board), out_(out), style_(style), copies_(copies), thread_([this] { loop(); }) {}

Progress::~Progress() {
  {
    std::lock_guard lock(mutex_);
    done_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Progress::tell_copied(const Status& status) {
  if (!status.copied || status.copied->lsn == told_) return;
  told_ = status.copied->lsn;
  auto text = fmt::format("copied {}, as of {}", copied_text(*status.copied), told_.str());
  if (style_ != Style::live || log::writes_json()) return log::info("copy", "{}", text);
  terminal::aside([&] { fmt::print(out_, "tailrace: {}\n", text); });
}

void Progress::loop() {
  Speed speed;
  LiveDisplay display(out_);
  Lines lines;
  std::unique_lock lock(mutex_);
  while (true) {
    bool last = done_;
    board_.update([&](Status& status) {
      speed.observe(status);
      status.per_second = speed.per_second();
      status.seconds_left = speed.seconds_left();
    });
    Status status = board_.read();
    if (copies_ == Copies::told) tell_copied(status);
    if (style_ == Style::live)
      display.draw(std::move(status), last);
    else
      lines.look(status);
    if (last) return;
    wake_.wait_for(lock, std::chrono::milliseconds(style_ == Style::live ? 250 : 1000), [&] { return done_; });
  }
}

}  // namespace tailrace::serve
