#include "target/duckdb/new_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"

namespace tailrace::target::duckdb {
namespace {

namespace fs = std::filesystem;

/// The directory of a new file: one process at a time makes files in it, and their names are made durable.
class Directory {
 public:
  explicit Directory(const fs::path& path) : fd_(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    // Some network file systems lock no directories. Two that create the same file at the same instant then
    // still end with a whole one, and DuckDB's own lock tells the second.
    if (fd_ >= 0) ::flock(fd_, LOCK_EX);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() {
    if (fd_ >= 0) ::close(fd_);
  }

  void sync() const {
    if (fd_ >= 0) ::fsync(fd_);
  }

 private:
  int fd_;
};

void remove_quietly(const fs::path& path) {
  std::error_code ignored;
  fs::remove(path, ignored);
}

fs::path log_of(const fs::path& file) {
  return file.string() + ".wal";
}

/// A link that leads nowhere yet counts as there: a rename would put the file in the link's place.
bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::symlink_status(path, ignored).type() != fs::file_type::not_found;
}

}  // namespace

void create_whole(const std::string& file, const std::function<void(const std::string& path)>& create) {
  const fs::path target = fs::absolute(file);
  if (is_there(target)) return;
  // What is found under this name is removed, so nobody else must come to use it.
  const fs::path half_made = target.string() + ".tailrace-new";
  const Directory directory(target.parent_path());
  if (is_there(target)) return;  // made while the lock was waited for
  remove_quietly(half_made);
  try {
    create(half_made.string());
    // The log of an earlier file of this name, which DuckDB would replay into the new one.
    remove_quietly(log_of(target));
    std::error_code refused;
    fs::rename(half_made, target, refused);
    if (refused)
      throw Error(Retry::needs_operator,
                  fmt::format("renaming {} to {}: {}", half_made.string(), file, refused.message()),
                  "Let this user create and rename files in that directory");
  } catch (...) {
    remove_quietly(half_made);
    throw;
  }
  directory.sync();
}

}  // namespace tailrace::target::duckdb
