#include "serve/user_folders.h"

#include <fmt/format.h>
#include <glob.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <set>

namespace tailrace::serve {
namespace {

constexpr mode_t others_write = S_IWGRP | S_IWOTH;
constexpr const char* below_home = "/.local/state/tailrace";

bool ours(const struct stat& info) {
  return info.st_uid == ::geteuid() || info.st_uid == 0;
}

/// What lies in it stays who it is: others may not write, or (/tmp) not move what is another's.
bool keeps_what_is_in_it(const std::string& folder) {
  struct stat info{};
  if (::stat(folder.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || !ours(info)) return false;
  return (info.st_mode & others_write) == 0 || (info.st_mode & S_ISVTX) != 0;
}

/// Not $HOME: cron, sudo and a service may see another one.
std::optional<std::string> folder_at_home() {
  const passwd* user = ::getpwuid(::geteuid());
  if (user == nullptr || user->pw_dir == nullptr || std::string_view(user->pw_dir).size() < 2)
    return std::nullopt;
  return std::string(user->pw_dir) + below_home;
}

/// Nothing, if it is not an absolute path.
std::optional<std::string> from_environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value != '/') return std::nullopt;
  return value;
}

/// What systemd made for a service, where the others look for it.
std::optional<std::string> of_service(const char* name, std::string_view prefix) {
  auto folder = from_environment(name);
  return folder && folder->starts_with(prefix) && !folder->contains(':') ? folder : std::nullopt;
}

std::string at_run() {
  return fmt::format("/run/user/{}/tailrace", ::geteuid());
}
std::string at_tmp() {
  return fmt::format("/tmp/tailrace-{}", ::geteuid());
}

/// The folder's owner, where nobody else may write; a link has none.
std::optional<uid_t> owner_of(const std::string& path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || (info.st_mode & others_write) != 0)
    return std::nullopt;
  return info.st_uid;
}

std::vector<std::string> matching(const char* pattern) {
  glob_t found{};
  std::vector<std::string> out;
  if (::glob(pattern, GLOB_NOSORT, nullptr, &found) == 0)
    out.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  return out;
}

/// Of each user whom the host lists.
std::vector<OwnedFolder> folders_at_homes() {
  std::vector<OwnedFolder> out;
  ::setpwent();
  while (const passwd* user = ::getpwent()) {
    if (user->pw_uid == 0 || user->pw_dir == nullptr || std::string_view(user->pw_dir).size() < 2) continue;
    out.push_back({std::string(user->pw_dir) + below_home, user->pw_uid});
  }
  ::endpwent();
  return out;
}

}  // namespace

std::vector<std::string> socket_folders() {
  std::vector<std::string> out;
  if (::geteuid() == 0) {
    out.emplace_back("/run/tailrace");
  } else if (auto home = folder_at_home()) {
    out.push_back(*home);
  }
  if (auto runtime = from_environment("XDG_RUNTIME_DIR")) out.push_back(*runtime + "/tailrace");
  out.push_back(at_run());
  out.push_back(at_tmp());
  if (auto service = of_service("RUNTIME_DIRECTORY", "/run/tailrace")) out.push_back(*service);
  return out;
}

std::vector<std::string> note_folders() {
  if (auto chosen = from_environment("TAILRACE_STATE")) return {*chosen};
  std::vector<std::string> out;
  if (::geteuid() == 0) {
    out.emplace_back("/var/lib/tailrace");
    out.emplace_back("/run/tailrace");
  } else if (auto home = folder_at_home()) {
    out.push_back(*home);
  }
  if (auto service = of_service("STATE_DIRECTORY", "/var/lib/tailrace")) out.push_back(*service);
  if (auto service = of_service("RUNTIME_DIRECTORY", "/run/tailrace")) out.push_back(*service);
  out.push_back(at_run());
  out.push_back(at_tmp());
  if (auto runtime = from_environment("XDG_RUNTIME_DIR")) out.push_back(*runtime + "/tailrace");
  return out;
}

std::vector<OwnedFolder> folders_to_look_into() {
  std::vector<OwnedFolder> out;
  std::set<std::string> seen;
  bool root = ::geteuid() == 0;
  auto add = [&](const std::string& path, std::optional<uid_t> whose) {
    auto owner = owner_of(path);
    if (!owner || (whose && *whose != *owner)) return;
    if (!root && *owner != ::geteuid() && *owner != 0) return;
    if (seen.insert(path).second) out.push_back({path, *owner});
  };
  for (const auto& path : note_folders()) add(path, std::nullopt);
  if (from_environment("TAILRACE_STATE")) return out;
  for (const char* pattern : {"/run/tailrace*", "/var/lib/tailrace*"})
    for (const auto& path : matching(pattern)) add(path, std::nullopt);
  if (root) {
    for (const char* pattern : {"/run/user/*/tailrace", "/tmp/tailrace-*"})
      for (const auto& path : matching(pattern)) add(path, std::nullopt);
    for (const auto& home : folders_at_homes()) add(home.path, home.owner);
  }
  std::ranges::stable_partition(out, [](const OwnedFolder& folder) { return folder.owner == ::geteuid(); });
  return out;
}

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

bool is_own_folder(const std::string& path) {
  struct stat info{};
  return ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode) && ours(info) &&
         (info.st_mode & others_write) == 0;
}

}  // namespace tailrace::serve
