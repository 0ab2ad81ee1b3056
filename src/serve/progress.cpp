#include "serve/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "base/log.h"
#include "serve/human.h"
#include "serve/status_view.h"

namespace tailrace::serve {
namespace {

using Clock = std::chrono::steady_clock;
using pipeline::RunState;
using pipeline::Status;

/// Smoothed speed of what is going on, and the time that the copy still takes.
class Speed {
 public:
  void observe(const Status& status) {
    bool copying = status.state == RunState::copying;
    auto copy = copy_progress(status);
    std::int64_t count = copying ? copy.rows : status.changes;
    auto now = Clock::now();
    if (copying != copying_ || !started_) {
      copying_ = copying;
      started_ = last_ = now;
      first_fraction_ = copy.fraction;
      last_count_ = count;
      per_second_ = -1;
      return;
    }
    double seconds = std::chrono::duration<double>(now - *last_).count();
    if (seconds < 0.05) return;
    double current = std::max(0.0, static_cast<double>(count - last_count_) / seconds);
    // A memory of some five seconds, whatever the distance between two looks.
    double weight = std::min(1.0, seconds / 5);
    per_second_ = per_second_ < 0 ? current : per_second_ + weight * (current - per_second_);
    last_ = now;
    last_count_ = count;
    double gained = copy.fraction - first_fraction_;
    double elapsed = std::chrono::duration<double>(now - *started_).count();
    left_ = copying && gained > 0.01 && elapsed > 2 ? elapsed * (1 - copy.fraction) / gained : -1;
  }
  double per_second() const { return per_second_; }
  double seconds_left() const { return left_; }

 private:
  std::optional<Clock::time_point> started_, last_;
  bool copying_ = false;
  std::int64_t last_count_ = 0;
  double first_fraction_ = 0;
  double per_second_ = -1;
  double left_ = -1;
};

class LiveDisplay {
 public:
  explicit LiveDisplay(std::FILE* out) : out_(out) {}

  /// The cursor is left above the display, on an empty line: a log line that comes between two looks then
  /// stays, and the next look begins below it.
  void draw(const Status& status, const Speed& speed, bool last) {
    winsize size{};
    bool known = ::ioctl(::fileno(out_), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
    ViewOptions view{true, known ? size.ws_col : 80U, 0, PgTimestamp::now()};
    std::size_t rows = known ? size.ws_row : 24U;
    constexpr std::size_t frame = 15;  // the head, the table's title, and room for a prompt
    view.max_tables = rows > frame + 3 ? rows - frame : 3;
    std::string text = render_status(status, view) + "\n" +
                       clip("  " + render_line(status, speed.per_second(), speed.seconds_left()), view.width) +
                       "\n";
    auto lines = std::ranges::count(text, '\n');
    std::string frame_text = "\r\x1b[J\n" + text;
    if (!last) frame_text += fmt::format("\x1b[{}A\r", lines + 1);
    std::fwrite(frame_text.data(), 1, frame_text.size(), out_);
    std::fflush(out_);
  }

 private:
  std::FILE* out_;
};

/// Says what changed at once, and otherwise something every now and then.
class Lines {
 public:
  void look(const Status& status, const Speed& speed) {
    auto now = Clock::now();
    auto pause = status.state == RunState::copying ? std::chrono::seconds(10) : std::chrono::seconds(60);
    bool changed = status.state != state_;
    bool idle = status.changes == changes_ && status.state == RunState::streaming;
    if (!changed && (idle || now - last_ < pause)) return;
    state_ = status.state;
    changes_ = status.changes;
    last_ = now;
    log::info("progress", "{}", render_line(status, speed.per_second(), speed.seconds_left()));
  }

 private:
  RunState state_ = RunState::starting;
  std::int64_t changes_ = 0;
  Clock::time_point last_ = Clock::now();
};

}  // namespace

Progress::Style Progress::style_for(std::FILE* out) {
  const char* term = std::getenv("TERM");
  bool capable = term != nullptr && std::string_view(term) != "dumb" && *term != '\0';
  return capable && ::isatty(::fileno(out)) == 1 ? Style::live : Style::lines;
}

Progress::Progress(const pipeline::StatusBoard& board, std::FILE* out, Style style)
    : board_(board), out_(out), style_(style) {
  if (style_ != Style::silent) thread_ = std::thread([this] { loop(); });
}

Progress::~Progress() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    done_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Progress::loop() {
  Speed speed;
  LiveDisplay display(out_);
  Lines lines;
  std::unique_lock lock(mutex_);
  while (true) {
    bool last = done_;
    Status status = board_.read();
    speed.observe(status);
    if (style_ == Style::live)
      display.draw(status, speed, last);
    else
      lines.look(status, speed);
    if (last) return;
    wake_.wait_for(lock, std::chrono::milliseconds(style_ == Style::live ? 250 : 1000), [&] { return done_; });
  }
}

}  // namespace tailrace::serve
