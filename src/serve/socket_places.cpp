#include "serve/socket_places.h"

#include <fmt/format.h>

#include <filesystem>

#include "base/error.h"
#include "base/fnv.h"
#include "base/real_path.h"
#include "serve/user_folders.h"

namespace tailrace::serve {
namespace {

constexpr std::size_t longest_path = 107;

}  // namespace

SocketPlaces places_of(const std::string& identity) {
  SocketPlaces out;
  for (const std::string& folder : socket_folders()) {
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
