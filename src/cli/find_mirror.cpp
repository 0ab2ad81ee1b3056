#include "cli/find_mirror.h"

#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "base/printable.h"
#include "base/real_path.h"
#include "pg/connection.h"
#include "pg/server_place.h"

namespace tailrace::cli {
namespace {

using serve::MirrorNote;

std::string place_of(const config::Target& target) {
  return target.kind == "duckdb" ? "duckdb:" + real_path(target.path) : pg::server_place(target.path);
}

/// Whether the name was said, rather than left at its default.
bool is_named(const Options& options, const config::Config& config) {
  return !options.name.empty() || config.name != config::Config().name;
}

/// A note of another user says what it likes; the file that it speaks of must be that user's.
bool believable(const MirrorNote& note) {
  if (note.owner == ::geteuid() || note.owner == 0 || !note.target.starts_with("duckdb:")) return true;
  struct stat info{};
  return ::stat(note.target.substr(7).c_str(), &info) == 0 && info.st_uid == note.owner;
}

bool lies_here(const MirrorNote& note) {
  if (!note.target.starts_with("duckdb:")) return false;
  std::error_code failed;
  auto here = std::filesystem::canonical(".", failed);
  return !failed && std::filesystem::path(note.target.substr(7)).parent_path() == here;
}

class Search {
 public:
  Search(const Options& options, const config::Config& config, const std::vector<MirrorNote>& notes)
      : config_(config),
        named_(is_named(options, config)),
        said_source_(!options.source.empty() || !options.config_file.empty()),
        notes_(notes) {}

  std::optional<MirrorNote> find() {
    bool file = config_.target.kind == "duckdb";
    auto target = config_.target.given() ? place_of(config_.target) : "";
    // That of the environment is for whoever says none, and may be another mirror's.
    auto source = said_source_ && !config_.source.empty() ? pg::server_place(config_.source) : "";
    std::vector<MirrorNote> fits;
    std::ranges::copy_if(notes_, std::back_inserter(fits), [&](const MirrorNote& note) {
      return believable(note) && (target.empty() || note.target_place == target) &&
             (source.empty() || note.source_place == source) &&
             // One file is one mirror: whose name is wrong there is told by the mirror itself.
             (!named_ || file || note.name == config_.name);
    });
    if (target.empty() && !named_) narrow(fits, lies_here);
    narrow(fits, [](const MirrorNote& note) { return note.answers(); });
    narrow(fits, [](const MirrorNote& note) { return note.owner == ::geteuid(); });
    if (!named_) narrow(fits, [](const MirrorNote& note) { return note.name == config::Config().name; });
    if (fits.empty()) return std::nullopt;
    bool one = std::ranges::all_of(fits, [&](const MirrorNote& note) {
      return note.name == fits[0].name && note.target_place == fits[0].target_place;
    });
    if (!one) throw UsageProblems{{{"mirror", "several may be meant: " + list(fits), "", 0, 0}}};
    return *std::ranges::max_element(fits, {}, [](const MirrorNote& note) { return note.started_at; });
  }

  static std::string list(const std::vector<MirrorNote>& notes) {
    constexpr std::size_t most = 8;
    std::string out;
    for (std::size_t i = 0; i < notes.size() && i < most; ++i)
      out += fmt::format("{}{} (--name {})", out.empty() ? "" : ", ", printable(notes[i].target),
                         printable(notes[i].name));
    if (notes.size() > most) out += fmt::format(", and {} more", notes.size() - most);
    return out;
  }

 private:
  /// Those that fit better, if any do.
  template <typename Better>
  static void narrow(std::vector<MirrorNote>& fits, const Better& better) {
    std::vector<MirrorNote> out;
    if (fits.size() > 1) std::ranges::copy_if(fits, std::back_inserter(out), better);
    if (!out.empty()) fits = std::move(out);
  }

  const config::Config& config_;
  bool named_;
  bool said_source_;
  const std::vector<MirrorNote>& notes_;
};

/// What the command line left open is as the mirror's note has it.
void complete(config::Config& config, const MirrorNote& note) {
  config::Config derived;
  derived.name = config.name;
  config::complete(derived);
  if (config.slot.name == derived.slot.name) config.slot.name = note.slot;
  if (config.publication.names == derived.publication.names) config.publication.names = note.publications;
  config.name = note.name;
  if (config.target.given()) return;
  if (auto target = config::parse_target(note.target)) config.target = std::move(*target);
}

}  // namespace

Found find_mirror(const Options& options, config::Needs needs) {
  Found out{load(options, {}), {}, {}, {}, {}};
  bool named = is_named(options, out.config);
  if (named) out.name = out.config.name;
  out.others = serve::read_notes();
  out.note = Search(options, out.config, out.others).find();
  if (out.note) {
    if (!named) complete(out.config, *out.note);
    if (named && !out.config.target.given()) complete(out.config, *out.note);
    if (!named) out.name = out.note->name;
    if (out.note->owner != ::geteuid() && out.note->owner != 0)
      fmt::print(stderr, "tailrace: this is the mirror of user {}\n", printable(user_name(out.note->owner)));
    std::erase_if(out.others, [&](const MirrorNote& other) { return other.path == out.note->path; });
  }
  if ((needs.target && !out.config.target.given() && out.config.control_socket.empty()) ||
      (needs.source && out.config.source.empty()))
    load(options, needs);
  if (!out.config.control_socket.empty()) {
    out.places = serve::named_place(out.config.control_socket);
    return out;
  }
  if (out.config.target.given()) out.places = control_places(out.config);
  if (out.note) {
    auto noted = out.note->places();
    out.places.paths.insert(out.places.paths.begin(), noted.paths.begin(), noted.paths.end());
    out.places.of_others = noted.of_others;
  }
  return out;
}

std::string not_running(const Found& found) {
  std::string looked;
  auto add = [&](const std::string& path) { looked += (looked.empty() ? "" : ", ") + path; };
  for (const auto& path : found.places.paths) add(path);
  for (const auto& place : found.places.of_others) add(place.path);
  std::vector<MirrorNote> running;
  std::ranges::copy_if(found.others, std::back_inserter(running),
                       [](const MirrorNote& note) { return note.answers(); });
  auto out = looked.empty() ? std::string("not running") : "not running: nothing answers at " + looked;
  out += running.empty() ? "\nno other mirror of this user's runs on this host"
                         : "\nrunning here: " + Search::list(running);
  if (::geteuid() != 0) out += "; those of other users only root sees";
  return out;
}

std::string user_name(uid_t user) {
  const passwd* entry = ::getpwuid(user);
  return entry != nullptr ? entry->pw_name : std::to_string(user);
}

MirrorNote note_of(const config::Config& config, const std::string& socket) {
  MirrorNote out;
  out.name = config.name;
  out.source = pg::redact(config.source);
  out.source_place = pg::server_place(config.source);
  out.target = config.target.kind == "duckdb" ? place_of(config.target) : config.target.url();
  out.target_place = place_of(config.target);
  out.slot = config.slot.name;
  out.publications = config.publication.names;
  out.pid = ::getpid();
  out.socket = real_path(socket);
  out.started_at = PgTimestamp::now();
  return out;
}

}  // namespace tailrace::cli
