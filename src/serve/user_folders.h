#pragma once
// The folders in which mirrors of this host leave what others of its processes must find: sockets, and notes of
// who runs. Each is one user's own: who could put something into another's would answer in their name, or keep
// them from starting. Internal to this room.

#include <sys/types.h>

#include <string>
#include <vector>

namespace tailrace::serve {

/// For sockets of this user's, best first; not all of them can be had.
std::vector<std::string> socket_folders();
/// For notes: places that outlive a reboot come first, and those that depend on the environment last.
/// $TAILRACE_STATE alone, where that is set.
std::vector<std::string> note_folders();

struct OwnedFolder {
  std::string path;
  uid_t owner = 0;
};
/// Those that are there, this user's and root's first; for root, everybody's.
std::vector<OwnedFolder> folders_to_look_into();

/// Made 0700, if it is not there, and then looked at: whoever was first, it must be ours now.
bool make_own_folder(const std::string& path);

/// True if nobody but this user and root can put something into it. A link is nobody's folder.
bool is_own_folder(const std::string& path);

}  // namespace tailrace::serve
