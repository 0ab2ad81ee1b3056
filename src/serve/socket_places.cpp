#include "serve/socket_places.h"

#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/fnv.h"
#include "base/real_path.h"

namespace tailrace::serve {
namespace {

constexpr std::size_t longest_path = 107;
constexpr mode_t others_write = S_IWGRP | S_IWOTH;

bool ours(const struct stat& info) {
  return info.st_uid == ::geteuid() || info.st_uid == 0;
}

/// What lies in it stays who it is: others may not write, or (/tmp) not move what is another's.
bool keeps_what_is_in_it(const std::string& folder) {
  struct stat info{};
  if (::stat(folder.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || !ours(info)) return false;
  return (info.st_mode & others_write) == 0 || (info.st_mode & S_ISVTX) != 0;
}

std::string home() {
  // Not $HOME: cron, sudo and a service may see another one.
  const passwd* user = ::getpwuid(::geteuid());
  return user != nullptr && user->pw_dir != nullptr ? user->pw_dir : "";
}

/// Folders of this user's, the same wherever and by whatever its programs were started, as far as can be.
std::vector<std::string> own_folders() {
  std::vector<std::string> out;
  auto uid = ::geteuid();
  if (uid == 0) out.emplace_back("/run/tailrace");
  if (auto at = home(); uid != 0 && at.size() > 1) out.push_back(at + "/.local/state/tailrace");
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime == '/') out.push_back(std::string(runtime) + "/tailrace");
  out.push_back(fmt::format("/run/user/{}/tailrace", uid));
  out.push_back(fmt::format("/tmp/tailrace-{}", uid));
  return out;
}

/// The folder is made, if it is not there, and then looked at: whoever was first, it must be ours now.
bool make_own_folder(const std::string& path) {
  std::filesystem::path folder(path);
  if (folder.parent_path().string().ends_with("/.local/state")) {
    for (const auto& above : {folder.parent_path().parent_path(), folder.parent_path()})
      ::mkdir(above.c_str(), 0700);
  }
  if (!keeps_what_is_in_it(folder.parent_path().string())) return false;
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return false;
  return is_own_folder(path) && ::access(path.c_str(), W_OK) == 0;
}

}  // namespace

bool is_own_folder(const std::string& path) {
  struct stat info{};
  return ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode) && ours(info) &&
         (info.st_mode & others_write) == 0;
}

SocketPlaces places_of(const std::string& identity) {
  SocketPlaces out;
  for (const std::string& folder : own_folders()) {
    auto path = fmt::format("{}/{:016x}.sock", folder, fnv1a(identity));
    if (path.size() <= longest_path) out.paths.push_back(std::move(path));
  }
  return out;
}

SocketPlaces places_beside(const std::string& target_file) {
  // Both sides must arrive at one name, wherever they were started.
  auto file = real_path(target_file);
  auto out = places_of(file);
  std::string beside = file + ".tailrace.sock";
  if (beside.size() <= longest_path) out.paths.insert(out.paths.begin(), std::move(beside));
  return out;
}

SocketPlaces named_place(const std::string& path) {
  return {{path}, true};
}

std::string place_to_listen(const SocketPlaces& places) {
  if (places.named) return places.paths.front();
  std::string tried;
  for (const std::string& path : places.paths) {
    auto folder = std::filesystem::path(path).parent_path().string();
    bool beside = path.ends_with(".tailrace.sock");
    if (beside ? is_own_folder(folder) : make_own_folder(folder)) return path;
    tried += (tried.empty() ? "" : ", ") + folder;
  }
  throw Error(Retry::needs_operator,
              fmt::format("no folder for the control socket is this user's alone: tried {}", tried),
              "Set control_socket to a path in a folder that only this user may write to");
}

}  // namespace tailrace::serve
