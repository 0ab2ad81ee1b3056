#include "cli/status_watch.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include "base/terminal.h"
#include "cli/command.h"
#include "serve/human.h"
#include "serve/status_json.h"
#include "serve/status_view.h"

namespace tailrace::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t width_of_a_pipe = 200;

class Watch {
 public:
  Watch(const serve::ControlClient& client, const std::function<std::string()>& away)
      : client_(client), away_(away) {}

  int run() {
    while (!stop_signal().requested() && std::ferror(stdout) == 0) {
      if (auto json = ask()) {
        last_ = serve::status_from_json(*json);
        away_since_.reset();
        show(*last_, "");
      } else if (last_) {
        if (!away_since_) away_since_ = Clock::now();
        double seconds = std::chrono::duration<double>(Clock::now() - *away_since_).count();
        show_away(fmt::format("nothing answers for {}; this is how it was", serve::human_duration(seconds)));
      }
      stop_signal().sleep(std::chrono::seconds(1));
    }
    panel_.leave();
    return exit_ok;
  }

 private:
  /// One that stops may leave a question without an answer.
  std::optional<std::string> ask() const {
    try {
      return client_.status_json();
    } catch (const Error& error) {
      if (!last_ || error.retry() == Retry::needs_operator) throw;
      return std::nullopt;
    }
  }

  void show(const pipeline::Status& status, const std::string& first) {
    if (!terminal::can_draw(stdout)) {
      fmt::print("{}\n", serve::render_status(status, {terminal::colour_wanted(stdout), width_of_a_pipe, 0,
                                                       PgTimestamp::now()}));
      std::fflush(stdout);
      return;
    }
    auto size = terminal::size_of(stdout).value_or(terminal::Size{});
    std::size_t taken = first.empty() ? 1 : 2;
    std::size_t lines = size.rows > taken + 1 ? size.rows - taken : 1;
    std::string head = first.empty() ? "" : serve::clip(first, size.columns) + "\n";
    panel_.show(head + serve::render_status(
                           status, {terminal::colour_wanted(stdout), size.columns, lines, PgTimestamp::now()}));
  }

  /// In a pipe once: it does not change.
  void show_away(const std::string& text) {
    if (terminal::can_draw(stdout)) return show(*last_, text);
    if (*away_since_ == told_away_) return;
    told_away_ = *away_since_;
    fmt::print("{}\n\n", away_());
    std::fflush(stdout);
  }

  const serve::ControlClient& client_;
  const std::function<std::string()>& away_;
  terminal::Panel panel_{stdout};
  std::optional<pipeline::Status> last_;
  std::optional<Clock::time_point> away_since_;
  Clock::time_point told_away_;
};

int watch_json(const serve::ControlClient& client, const std::function<std::string()>& away) {
  do {
    auto json = client.status_json();
    fmt::print("{}\n", json ? *json : away());
    std::fflush(stdout);
  } while (std::ferror(stdout) == 0 && stop_signal().sleep(std::chrono::seconds(1)));
  return exit_ok;
}

}  // namespace

int watch_status(const serve::ControlClient& client, bool json, const std::function<std::string()>& away) {
  return json ? watch_json(client, away) : Watch(client, away).run();
}

}  // namespace tailrace::cli
