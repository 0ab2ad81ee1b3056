#include "cli/running.h"

#include <unistd.h>

#include "pg/connection.h"

namespace tailrace::cli {

Running::Running(const config::Config& config, pipeline::StatusBoard& board, serve::Progress::Copies copies,
                 serve::ControlWork work)
    : server_(control_places(config), board, stop_signal(), std::move(work)) {
  board.update([&](pipeline::Status& status) {
    status.name = config.name;
    status.source = pg::redact(config.source);
    status.target = config.target.url();
    status.slot = config.slot.name;
    status.publication = config::publication_names(config);
    status.pid = ::getpid();
    status.started_at = PgTimestamp::now();
  });
  auto style = serve::Progress::style_for(stderr);
  // The display shows what log lines of level info say, and both share the terminal.
  if (style == serve::Progress::Style::live && config.log.level == log::Level::info)
    log::configure(log::Level::warn, config.log.format);
  progress_.emplace(board, stderr, style, copies);
}

}  // namespace tailrace::cli
