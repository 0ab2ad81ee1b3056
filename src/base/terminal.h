#pragma once
// Terminal: what a stream can show, and lines that are drawn over again and again while others write too.

#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace tailrace::terminal {

struct Size {
  std::size_t columns = 80;
  std::size_t rows = 24;
};

/// As it is now: people change it. Nothing where `out` is no terminal.
std::optional<Size> size_of(std::FILE* out);

/// A terminal that can move its cursor.
bool can_draw(std::FILE* out);

/// A terminal that can show colours, and nobody said by NO_COLOR that he does not want any.
bool colour_wanted(std::FILE* out);

/// Runs `write`, which prints whole lines to a terminal: what a panel shows gives way, and stands below after.
void aside(const std::function<void()>& write);

/// Lines at the end of what is printed, drawn again and again in the same place. The cursor waits on the first
/// of them. One at a time in the process; several threads.
class Panel {
 public:
  explicit Panel(std::FILE* out) : out_(out) {}
  ~Panel() { clear(); }
  Panel(const Panel&) = delete;
  Panel& operator=(const Panel&) = delete;

  /// Whole lines, none wider and all together less high than the terminal.
  void show(std::string lines);
  void clear();
  /// What is shown stays, and what is printed next comes below.
  void leave();

 private:
  friend void aside(const std::function<void()>&);
  void draw() const;
  void erase() const;

  std::FILE* out_;
  std::string lines_;
};

}  // namespace tailrace::terminal
