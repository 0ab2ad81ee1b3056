#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "base/printable.h"
#include "base/sql_text.h"
#include "base/user_name.h"
#include "cli/find_mirror.h"
#include "cli/progress_line.h"
#include "cli/source_access.h"
#include "pg/server_place.h"
#include "source/publication.h"
#include "source/slot.h"
#include "target/open_target.h"

namespace tailrace::cli {
namespace {

/// What was said, completed by the mirror's note. By its source alone no mirror is meant but the one of that
/// name: the default, if none is said.
Found meant(const Options& given) {
  auto options = given;
  auto said = load(options, {});
  bool named = is_named(options, said);
  if (!said.target.given() && !named) {
    if (said.source.empty()) load(options, {true, false});
    options.source = said.source;
    options.name = said.name;
  }
  auto found = find_mirror(options, {});
  auto& source = found.config.source;
  if (found.note) {
    const auto& note = *found.note;
    bool whole = !said.source.empty() && said.target.given() && named;
    if (note.owner != ::geteuid() && note.owner != 0 && !whole)
      throw UsageProblems{
          {{"mirror",
            fmt::format("is user {}'s, whose word is not enough to remove something: say source, "
                        "target and --name {}, or ask as that user",
                        printable(user_name(note.owner)), printable(note.name)),
            "", 0, 0}}};
    // What the environment says may be another mirror's.
    if (source.empty() || pg::server_place(source) != note.source_place)
      source = note.source_conninfo.empty() ? note.source : note.source_conninfo;
  }
  if (source.empty())
    throw UsageProblems{
        {{"source",
          fmt::format("is missing: nothing on this host says which it was; say SOURCE and TARGET, "
                      "and --name if it had one; {}",
                      not_running(found)),
          "", 0, 0}}};
  return found;
}

/// Also where the source is away, whose slot would tell: without its books a mirror that goes on later is lost.
void refuse_running(const Found& found) {
  auto client = found.client();
  if (!client.running()) return;
  std::string process;
  try {
    auto status = client.status();
    if (!status) return;
    process = fmt::format(" (process {})", status->pid);
  } catch (const Error& error) {
    // It is stuck. One that refuses is another mirror, and says so.
    if (error.retry() != Retry::transient) throw;
  }
  throw Error(Retry::needs_operator, fmt::format("the mirror {} runs{}", found.config.name, process),
              "Stop it first, or let this do it: the same command with --stop");
}

/// Asks the running tailrace to stop and waits until it is gone.
void stop_running(const Found& found) {
  auto client = found.client();
  if (!client.stop()) return;
  ProgressLine line("waiting for the running tailrace to stop");
  for (int i = 0; i < 300; ++i) {
    if (!stop_signal().sleep(std::chrono::milliseconds(100))) return;
    if (!client.running()) return;
  }
  throw Error(Retry::needs_operator, "the running tailrace did not stop within 30 seconds", "Look at its log");
}

/// What could not be removed, and the SQL that does it.
class Left {
 public:
  /// False, and noted, if it failed.
  template <typename Work>
  bool unless_done(const std::string& what, const std::string& sql, const Work& work) {
    try {
      work();
      return true;
    } catch (const Error& error) {
      add(what, sql, error);
      return false;
    }
  }
  void add(const std::string& what, const std::string& sql, const Error& error) {
    fmt::print(stderr, "left: {}: {}\n", printable(what), printable(error.message()));
    if (!sql.empty()) fmt::print(stderr, "  {}\n", printable(sql, /*lines=*/true));
    // A standby, or a server that is read-only, does not change by waiting.
    bool waits = error.retry() == Retry::transient && error.sqlstate() != "25006";
    code_ = waits && code_ != exit_operator ? exit_retry : exit_operator;
  }
  int code() const { return code_; }

 private:
  int code_ = exit_ok;
};

std::string slot_sql(const config::Config& config) {
  return fmt::format("SELECT pg_drop_replication_slot({});", quote_literal(config.slot.name));
}
std::string publication_sql(const std::string& name) {
  return fmt::format("DROP PUBLICATION {};", quote_identifier(name));
}

void remove_publication(pg::Connection& source, const std::string& name, Left& left) {
  left.unless_done(fmt::format("publication {}", name),
                   fmt::format("At the source; of a standby, at its primary: {}", publication_sql(name)), [&] {
                     auto existing = source::read_publication(source, name);
                     bool dropped = source::drop_publication(source, name);
                     fmt::print("publication {}: {}\n", name,
                                dropped    ? "dropped"
                                : existing ? "left alone, tailrace did not make it"
                                           : "there was none");
                   });
}

void remove_from_source(const config::Config& config, Left& left) {
  std::optional<pg::Connection> source;
  std::string all = "At the source: " + slot_sql(config);
  for (const auto& name : config.publication.names) all += " " + publication_sql(name);
  if (!left.unless_done("the source's slot and publication", all, [&] { source.emplace(open_source(config)); }))
    return;
  // As it is where a source was frozen for a switchover: what is removed is tailrace's own.
  source->query("set default_transaction_read_only = off", "preparing to remove");
  // The slot first: while it is there, a missing publication would break its stream. So would missing books,
  // and one that is in use ends all of this.
  bool slot = [&] {
    ProgressLine line("dropping the slot, which its reader must have left");
    return source::drop_slot(*source, config.slot.name);
  }();
  fmt::print("slot {}: {}\n", config.slot.name, slot ? "dropped" : "there was none");
  for (const auto& name : config.publication.names) remove_publication(*source, name, left);
}

std::string told(const target::Forgotten& gone) {
  if (!gone.books && gone.origins.empty()) return "there was nothing";
  std::string out = gone.books ? "its bookkeeping dropped" : "its bookkeeping had nothing";
  if (!gone.origins.empty()) out += fmt::format(", and its origins {}", fmt::join(gone.origins, ", "));
  return out + "; the tables stay";
}

void remove_from_target(const config::Config& config, Left& left) {
  if (config.target.kind == "duckdb") {
    std::error_code unknown;
    bool there = std::filesystem::exists(config.target.path, unknown) || unknown;
    fmt::print("{}: {}\n", config.target.url(), there ? "the file stays" : "the file is not there");
    return;
  }
  if (config.target.kind != "postgres") return;
  target::OpenOptions mirror;
  mirror.kind = config.target.kind;
  mirror.path = config.target.path;
  mirror.name = config.name;
  left.unless_done(
      "the target's bookkeeping and origin",
      "Run 'tailrace teardown' again once it can be reached; or, if no other mirror is there, at the "
      "target: DROP SCHEMA tailrace CASCADE;",
      [&] { fmt::print("{}: {}\n", config.target.url(), told(target::forget(mirror))); });
}

}  // namespace

int command_teardown(const Options& options) {
  auto found = meant(options);
  options.stop_running ? stop_running(found) : refuse_running(found);
  Left left;
  remove_from_source(found.config, left);
  remove_from_target(found.config, left);
  if (left.code() == exit_ok && found.note && !found.note->answers()) serve::remove_note(*found.note);
  if (left.code() != exit_ok)
    fmt::print(stderr,
               "Not all could be removed; what is left is said above. Once it is gone, the same command "
               "again takes the mirror off this host's list\n");
  return left.code();
}

}  // namespace tailrace::cli
