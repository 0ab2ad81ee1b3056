#pragma once
// look_around: asks many mirrors at once how they are, so that one that is stuck, or another user's that means
// to be, keeps nobody waiting for the others.

#include <optional>
#include <vector>

#include "pipeline/status.h"
#include "serve/mirror_notes.h"

namespace tailrace::serve {

/// `silent`: somebody is there who did not answer in time, or may not be asked. `runs`: with its status.
struct Look {
  enum class Seen { nobody, silent, runs };
  Seen seen = Seen::nobody;
  std::optional<pipeline::Status> status;
};

/// One for each note, in their order. Waits two seconds at most, and less than one for notes of other users.
std::vector<Look> look_around(const std::vector<MirrorNote>& notes);

}  // namespace tailrace::serve
