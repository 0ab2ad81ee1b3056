#include "base/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <utility>

namespace tailrace::terminal {
namespace {

// A line that is logged while something is printed aside must not wait for itself.
std::recursive_mutex turn;
Panel* on_screen = nullptr;

bool is_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

}  // namespace

std::optional<Size> size_of(std::FILE* out) {
  if (::isatty(::fileno(out)) != 1) return std::nullopt;
  winsize size{};
  if (::ioctl(::fileno(out), TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return Size{};
  return Size{size.ws_col, size.ws_row};
}

bool can_draw(std::FILE* out) {
  return is_set("TERM") && std::string_view(std::getenv("TERM")) != "dumb" && ::isatty(::fileno(out)) == 1;
}

bool colour_wanted(std::FILE* out) {
  return can_draw(out) && !is_set("NO_COLOR");
}

void aside(const std::function<void()>& write) {
  std::lock_guard lock(turn);
  if (on_screen == nullptr) return write();
  on_screen->erase();
  write();
  std::fflush(stdout);
  on_screen->draw();
}

void Panel::show(std::string lines) {
  std::lock_guard lock(turn);
  on_screen = this;
  lines_ = std::move(lines);
  draw();
}

void Panel::clear() {
  std::lock_guard lock(turn);
  if (std::exchange(on_screen, nullptr) == nullptr) return;
  erase();
}

void Panel::leave() {
  std::lock_guard lock(turn);
  if (std::exchange(on_screen, nullptr) == nullptr) return;
  std::string text = "\r\x1b[J" + lines_;
  std::fwrite(text.data(), 1, text.size(), out_);
  std::fflush(out_);
}

/// In one write: a half-drawn one would flicker.
void Panel::draw() const {
  std::string text = "\r\x1b[J" + lines_;
  if (auto height = std::ranges::count(lines_, '\n'); height > 0) text += fmt::format("\x1b[{}A\r", height);
  std::fwrite(text.data(), 1, text.size(), out_);
  std::fflush(out_);
}

void Panel::erase() const {
  std::fputs("\r\x1b[J", out_);
  std::fflush(out_);
}

}  // namespace tailrace::terminal
