#include "base/real_path.h"

#include <filesystem>

namespace tailrace {

std::string real_path(const std::string& path) {
  namespace fs = std::filesystem;
  constexpr int most_links = 40;  // as the kernel follows
  std::error_code failed;
  fs::path at = fs::absolute(path, failed);
  if (failed) return path;
  // One that leads to nothing yet is not followed by weakly_canonical().
  for (int i = 0; i < most_links && fs::is_symlink(fs::symlink_status(at, failed)); ++i) {
    auto next = fs::read_symlink(at, failed);
    if (failed) return path;
    at = at.parent_path() / next;
  }
  auto out = fs::weakly_canonical(at, failed);
  return failed ? path : out.string();
}

}  // namespace tailrace
