#pragma once
// SocketPlaces: where the control socket of a target stands. Only where nobody else can put one: who could
// would answer in our name, or keep us from starting.

#include <sys/types.h>

#include <string>
#include <vector>

namespace tailrace::serve {

/// Where whoever asks looks, best first, and whose answer counts.
struct SocketPlaces {
  std::vector<std::string> paths;
  bool named = false;  ///< by the user: root believes it, whoever's it is
  /// For root: where mirrors of other users say that they listen; each is believed of its user alone.
  struct OfAnother {
    std::string path;
    uid_t owner = 0;
  };
  std::vector<OfAnother> of_others = {};
};

/// FILE.tailrace.sock beside a target's file; or, where that is too long for a socket or others may write to
/// the folder, one of those below.
SocketPlaces places_beside(const std::string& target_file);
/// For a target that is no file here, by what identifies the mirror: a folder of this user's.
SocketPlaces places_of(const std::string& identity);
SocketPlaces named_place(const std::string& path);

/// The first of them that a server may use. Makes what is missing of this user's own folders, 0700. Error: none
/// is fit; it says why.
std::string place_to_listen(const SocketPlaces& places);

}  // namespace tailrace::serve
