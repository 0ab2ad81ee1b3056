#pragma once
// Progress: shows a run to whoever started it: a live display on a terminal, a line now and then elsewhere.

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>

#include "pipeline/status.h"

namespace tailrace::serve {

/// Draws on its own thread until destroyed, and notes on the board how fast it goes. `board` must outlive it.
class Progress {
 public:
  enum class Style { live, lines };
  /// Whether a line says what each copy brought, when it is done.
  enum class Copies { told, untold };

  /// live if `out` is a terminal that can move its cursor, else lines.
  static Style style_for(std::FILE* out);

  Progress(pipeline::StatusBoard& board, std::FILE* out, Style style, Copies copies);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

 private:
  void loop();
  void tell_copied(const pipeline::Status& status);

  pipeline::StatusBoard& board_;
  std::FILE* out_;
  Style style_;
  Copies copies_;
  Lsn told_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool done_ = false;
  std::thread thread_;
};

}  // namespace tailrace::serve
