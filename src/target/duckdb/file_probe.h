#pragma once
// FileProbe: whether a DuckDB file is still where it was opened. DuckDB goes on writing to one that was deleted
// or replaced, and nobody would ever see it.

#include <sys/types.h>

#include <string>
#include <utility>

#include "target/target_probe.h"

namespace tailrace::target::duckdb {

/// A value; any thread.
class FilePlace {
 public:
  /// Of the file that has this path now.
  explicit FilePlace(std::string path);
  enum class Now { there, gone, unknown };
  Now look() const;
  /// Throws Error(needs_operator) when it is gone, or another file has its name.
  void check() const;

 private:
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

class FileProbe : public TargetProbe {
 public:
  explicit FileProbe(FilePlace place) : place_(std::move(place)) {}
  bool answers() override { return place_.look() == FilePlace::Now::there; }

 private:
  FilePlace place_;
};

}  // namespace tailrace::target::duckdb
