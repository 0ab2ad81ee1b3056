#pragma once
// Which mirror of this host a command means: by its target, its name, or as the only one there is.

#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "serve/control_client.h"
#include "serve/mirror_notes.h"

namespace tailrace::cli {

struct Found {
  /// Completed by what the mirror's note says: name, slot, publications, target.
  config::Config config;
  /// Where it may answer.
  serve::SocketPlaces places;
  /// The name to be asked for; empty: nobody said one, and no note was found.
  std::string name;
  std::optional<serve::MirrorNote> note;
  /// Of the other mirrors that were seen.
  std::vector<serve::MirrorNote> others;

  serve::ControlClient client() const { return serve::ControlClient(places, name); }
};

/// Throws UsageProblems where several may be meant, or none and `needs` cannot be met.
Found find_mirror(const Options& options, config::Needs needs);

/// For people, when nobody answered: where it was looked, and what else is there.
std::string not_running(const Found& found);

/// Whether a name was said, rather than left at its default.
bool is_named(const Options& options, const config::Config& config);

/// What the mirror of this configuration leaves for others to find it.
serve::MirrorNote note_of(const config::Config& config, const std::string& socket);

}  // namespace tailrace::cli
