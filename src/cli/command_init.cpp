#include <fmt/format.h>

#include "base/printable.h"
#include "cli/command.h"
#include "cli/progress_line.h"
#include "cli/source_access.h"
#include "pipeline/published_tables.h"
#include "source/slot_waits.h"

namespace tailrace::cli {

int command_init(const Options& options) {
  auto config = load(options, {true, false});
  auto connection = open_source(config);
  // The publication first: a slot does not see one that is younger than itself.
  auto outcome = [&] {
    ProgressLine line("making the publication");
    return source::ensure_publication(connection, pipeline::publication_spec(config));
  }();
  using source::PublicationChange;
  std::string_view done = outcome.change == PublicationChange::created   ? "created"
                          : outcome.change == PublicationChange::altered ? "altered"
                                                                         : "is there already";
  fmt::print("publication {} {}: {} tables\n", config::publication_names(config), done,
             outcome.info.tables.size());
  for (const std::string& warning : outcome.warnings) fmt::print(stderr, "warning: {}\n", printable(warning));
  if (!options.create_slot) {
    fmt::print("the slot {} is made by `tailrace run`, at the point where its copy begins\n", config.slot.name);
    return exit_ok;
  }
  if (auto slot = source::read_slot(connection, config.slot.name)) {
    source::check_usable(*slot, std::nullopt);
    fmt::print("slot {} is there already, at {}\n", slot->name, slot->confirmed_flush.str());
    return exit_ok;
  }
  auto replication = open_source(config, pg::Mode::replication);
  auto slot = source::create_slot_telling(replication, config.slot.name, {false, config.slot.failover, false},
                                          {config.source, config.name, [](const std::string&) {}});
  fmt::print("slot {} created at {}; it holds back WAL on the source from now on\n", slot.name,
             slot.consistent_point.str());
  return exit_ok;
}

}  // namespace tailrace::cli
