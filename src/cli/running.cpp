#include "cli/running.h"

#include <unistd.h>

#include "cli/find_mirror.h"
#include "pg/connection.h"

namespace tailrace::cli {

namespace {

/// Before anybody can ask.
pipeline::StatusBoard& introduced(const config::Config& config, pipeline::StatusBoard& board) {
  board.update([&](pipeline::Status& status) {
    status.name = config.name;
    status.source = pg::redact(config.source);
    status.target = config.target.url();
    status.slot = config.slot.name;
    status.acknowledges = config.slot.acknowledge;
    status.publication = config::publication_names(config);
    status.pid = ::getpid();
    status.started_at = PgTimestamp::now();
  });
  return board;
}

}  // namespace

Running::Running(const config::Config& config, pipeline::StatusBoard& board, serve::Progress::Copies copies,
                 serve::ControlWork work)
    : board_(introduced(config, board)),
      server_(control_places(config), board, stop_signal(), std::move(work)),
      note_(note_of(config, server_.path())) {
  auto style = serve::Progress::style_for(stderr);
  // Whoever reads lines by machine wants no picture between them.
  if (log::writes_json()) style = serve::Progress::Style::lines;
  // The display shows what log lines of level info say, and both share the terminal.
  if (style == serve::Progress::Style::live && config.log.level == log::Level::info)
    log::configure(log::Level::warn, config.log.format);
  progress_.emplace(board, stderr, style, copies);
}

void Running::ended(bool leaves, const pipeline::CopyOutcome& outcome, const Error* failure, const char* why) {
  if (!leaves && (failure == nullptr || !note_.was_there())) return note_.forget();
  auto status = board_.read();
  std::optional<std::int64_t> unfinished;
  if (outcome.known) unfinished = static_cast<std::int64_t>(outcome.missing.size());
  note_.ended(failure != nullptr, failure != nullptr ? failure->what() : why,
              {status.applied, status.last_commit_time, unfinished});
}

}  // namespace tailrace::cli
