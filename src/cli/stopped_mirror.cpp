#include "cli/stopped_mirror.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include "base/printable.h"
#include "pg/connection.h"
#include "pipeline/open_options.h"
#include "serve/human.h"
#include "target/open_target.h"

namespace tailrace::cli {
namespace {

/// True if somebody wrote the file after that, or put another in its place, which may be older: what the note
/// says of it may be another state.
bool changed_since(const std::string& file, PgTimestamp time) {
  struct stat info{};
  if (::stat(file.c_str(), &info) != 0) return true;
  return info.st_ctime > time.micros / 1'000'000 + pg_epoch_unix_seconds + 2;
}

std::string age(PgTimestamp time) {
  return serve::human_duration(static_cast<double>(PgTimestamp::now().micros - time.micros) / 1e6);
}

}  // namespace

pipeline::Status stopped_by_note(const serve::MirrorNote& note) {
  pipeline::Status out;
  out.name = note.name;
  out.source = note.source;
  out.target = note.target;
  out.slot = note.slot;
  out.publication = fmt::format("{}", fmt::join(note.publications, ", "));
  out.state = note.ended && note.failed ? pipeline::RunState::failed : pipeline::RunState::stopped;
  out.started_at = note.started_at;
  out.applied = note.position;
  out.last_commit_time = note.commit_time;
  using pipeline::Ending;
  out.message = note.ended ? note.reason : "it was killed, or the host went down";
  if (note.file_gone()) out.message += "; its file is not there: not mounted, moved or deleted";
  out.end = {!note.ended   ? Ending::killed
             : note.failed ? Ending::failed
                           : Ending::in_order,
             note.ended_at, note.unfinished};
  return out;
}

namespace {

/// Of a file that no note speaks of; but of one that was moved there is one of where it was.
std::string nothing_noted(const Found& found, const std::string& slot) {
  std::string out = "nothing on this host says how it ended";
  for (const auto& other : found.others) {
    if (other.slot == slot && !slot.empty() && other.file_gone())
      out += fmt::format("; the mirror '{}', of a slot of this name, was in {}, which is not there any more",
                         other.name, other.target.substr(std::string_view("duckdb:").size()));
  }
  return out;
}

}  // namespace

RunsElsewhere::RunsElsewhere(const std::string& name, const std::string& holder)
    : Error(Retry::needs_operator,
            fmt::format("the mirror '{}' runs, as another user or on another host ({} of the target)", name,
                        holder),
            "Ask there: 'tailrace status' as that user, or with sudo") {}

std::optional<pipeline::Status> stopped_mirror(const Found& found) {
  const auto& config = found.config;
  std::optional<pipeline::Status> out;
  if (found.note) out = stopped_by_note(*found.note);
  if (!config.target.given() || (found.note && found.note->file_gone())) return out;
  // A file that is open for a look keeps a start away, so it is opened only for what the note cannot say.
  if (out && out->end->how != pipeline::Ending::killed && out->applied.valid() &&
      config.target.kind == "duckdb" && !changed_since(config.target.path, found.note->position_at))
    return out;
  try {
    auto books = target::read_books(pipeline::open_options(config));
    if (!books) return out;
    if (!books->held_by.empty()) throw RunsElsewhere(found.config.name, books->held_by);
    if (!out) {
      out.emplace();
      // The default is a guess, and may be another mirror's name.
      out->name = found.name;
      out->source = config.source.empty() ? "" : pg::redact(config.source);
      out->target = config.target.url();
      out->state = pipeline::RunState::stopped;
      out->message = nothing_noted(found, books->checkpoint.slot);
      out->end.emplace();
    }
    out->slot = books->checkpoint.slot;
    out->applied = books->checkpoint.lsn;
    out->last_commit_time = books->checkpoint.commit_time;
    out->end->unfinished = books->unfinished;
  } catch (const RunsElsewhere&) {
    throw;
  } catch (const Error& error) {
    if (!out) throw;
    out->message += fmt::format("; the target cannot be asked: {}", error.message());
  }
  return out;
}

namespace {

std::string what_it_has(const pipeline::Status& status) {
  auto unfinished = status.end->unfinished;
  if (!status.applied.valid()) return "nothing yet";
  std::string out = "all up to " + status.applied.str();
  if (unfinished > 0)
    out += fmt::format(", but for {} of which not all rows are there",
                       unfinished == 1 ? "1 table" : fmt::format("{} tables", unfinished));
  if (status.last_commit_time.micros != 0)
    out += fmt::format("; its last change was committed {} ago ({})", age(status.last_commit_time),
                       status.last_commit_time.str());
  return out;
}

}  // namespace

std::string describe_stopped(const pipeline::Status& status) {
  const auto& end = *status.end;
  std::string out = fmt::format("tailrace {}  not running\n",
                                status.name.empty() ? "(its name is not known here)" : printable(status.name));
  auto field = [&](std::string_view name, const std::string& text) {
    if (!text.empty()) out += fmt::format("  {:<8} {}\n", name, printable(text));
  };
  field("source", status.source);
  field("target", status.target);
  field("slot", status.slot.empty() ? "none: the rows are a snapshot's" : status.slot);
  using pipeline::Ending;
  auto how = end.how == Ending::unknown  ? "not known"
             : end.how == Ending::failed ? "by a failure"
                                         : to_string(end.how);
  field("ended", end.at.micros == 0
                     ? fmt::format("{}: {}", how, status.message)
                     : fmt::format("{} ago ({}), {}: {}", age(end.at), end.at.str(), how, status.message));
  field("has", what_it_has(status));
  return out;
}

}  // namespace tailrace::cli
