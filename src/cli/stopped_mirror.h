#pragma once
// What can be told of a mirror that does not run.

#include <optional>

#include "base/error.h"
#include "cli/find_mirror.h"
#include "pipeline/status.h"

namespace tailrace::cli {

/// It runs, and answers nobody here: it is another user's, or another host's.
class RunsElsewhere : public Error {
 public:
  RunsElsewhere(const std::string& name, const std::string& holder);
};

/// By its target's books, and by the note it left. Nothing: neither knows of it. Says in its message where the
/// target could not be asked. Throws RunsElsewhere.
std::optional<pipeline::Status> stopped_mirror(const Found& found);

/// The same by the note alone, without asking the target.
pipeline::Status stopped_by_note(const serve::MirrorNote& note);

/// For people.
std::string describe_stopped(const pipeline::Status& status);

}  // namespace tailrace::cli
