#include "target/duckdb/file_probe.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/error.h"

namespace tailrace::target::duckdb {

FilePlace::FilePlace(std::string path) : path_(std::move(path)) {
  struct stat found{};
  if (stat(path_.c_str(), &found) != 0) return;
  device_ = found.st_dev;
  inode_ = found.st_ino;
}

FilePlace::Now FilePlace::look() const {
  struct stat found{};
  if (stat(path_.c_str(), &found) != 0) return errno == ENOENT || errno == ENOTDIR ? Now::gone : Now::unknown;
  return found.st_dev == device_ && found.st_ino == inode_ ? Now::there : Now::gone;
}

void FilePlace::check() const {
  if (look() != Now::gone) return;
  throw Error(Retry::needs_operator,
              fmt::format("{} was deleted, moved or replaced while tailrace wrote to it", path_),
              "Move it back to go on from its last commit; where it is lost, run again: everything is copied "
              "into a new "
              "file");
}

}  // namespace tailrace::target::duckdb
