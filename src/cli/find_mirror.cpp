#include "cli/find_mirror.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "base/printable.h"
#include "base/real_path.h"
#include "base/user_name.h"
#include "pg/connection.h"
#include "pg/server_place.h"
#include "pg/shown_conninfo.h"
#include "serve/look_around.h"

namespace tailrace::cli {
namespace {

using serve::MirrorNote;

std::string place_of(const config::Target& target) {
  return target.kind == "duckdb" ? "duckdb:" + real_path(target.path) : pg::server_place(target.path);
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
        // What was said in its place may have been the target.
        said_source_(!options.config_file.empty() ||
                     (!options.source.empty() && config.source == options.source)),
        notes_(notes) {}

  std::optional<MirrorNote> find() {
    bool file = config_.target.kind == "duckdb";
    auto target = config_.target.given() ? place_of(config_.target) : "";
    // That of the environment is for whoever says none, and may be another mirror's.
    auto source = said_source_ && !config_.source.empty() ? pg::server_place(config_.source) : "";
    std::vector<MirrorNote> fits;
    std::ranges::copy_if(notes_, std::back_inserter(fits), [&](const MirrorNote& note) {
      // Where nobody named the file, there is none of ours that it could speak for.
      return (note.believable() || (target.empty() && note.file_gone())) &&
             (target.empty() || note.target_place == target) &&
             (source.empty() || note.source_place == source) &&
             // One file is one mirror: whose name is wrong there is told by the mirror itself.
             (!named_ || file || note.name == config_.name);
    });
    if (target.empty() && !named_) narrow(fits, lies_here);
    narrow(fits, [](const MirrorNote& note) { return note.answers(); });
    narrow(fits, [](const MirrorNote& note) { return note.owner == ::geteuid(); });
    narrow(fits, [](const MirrorNote& note) { return !note.file_gone(); });
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
  const auto& whole = note.target_conninfo.empty() ? note.target : note.target_conninfo;
  if (auto target = config::parse_target(whole)) config.target = std::move(*target);
}

/// `tailrace verify postgres://app@new/shop`: the one thing said is the source of no mirror, and the target of
/// one.
bool is_target_alone(const Options& options, const std::vector<MirrorNote>& notes) {
  if (options.source.empty() || !options.target.empty() || !options.config_file.empty()) return false;
  auto config = load(options, {});
  if (config.target.given()) return false;
  auto place = pg::server_place(config.source);
  return std::ranges::find(notes, place, &MirrorNote::source_place) == notes.end() &&
         std::ranges::find(notes, place, &MirrorNote::target_place) != notes.end();
}

}  // namespace

bool is_named(const Options& options, const config::Config& config) {
  return !options.name.empty() || config.name != config::Config().name;
}

Found find_mirror(const Options& given, config::Needs needs) {
  auto options = given;
  auto notes = serve::read_notes();
  if (needs.target && is_target_alone(options, notes)) std::swap(options.source, options.target);
  Found out{load(options, {}), {}, {}, {}, {}};
  bool named = is_named(options, out.config);
  if (named) out.name = out.config.name;
  out.others = std::move(notes);
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
  std::vector<std::string> looked;
  auto add = [&](const std::string& path) {
    if (std::ranges::find(looked, path) == looked.end()) looked.push_back(path);
  };
  for (const auto& path : found.places.paths) add(path);
  for (const auto& place : found.places.of_others) add(place.path);
  std::vector<MirrorNote> running;
  auto looks = serve::look_around(found.others);
  for (std::size_t i = 0; i < looks.size(); ++i) {
    if (looks[i].seen == serve::Look::Seen::runs && found.others[i].believable())
      running.push_back(found.others[i]);
  }
  std::string out = "not running";
  if (!looked.empty()) out += ": nothing answers at " + looked.front();
  if (looked.size() > 1) out += fmt::format(", nor at {} other places", looked.size() - 1);
  out += running.empty() ? "\nno other mirror of this user's runs on this host"
                         : "\nrunning here: " + Search::list(running);
  if (::geteuid() != 0) out += "; those of other users only root sees";
  return out;
}

MirrorNote note_of(const config::Config& config, const std::string& socket) {
  MirrorNote out;
  out.name = config.name;
  out.source = pg::redact(config.source);
  out.source_place = pg::server_place(config.source);
  out.target = config.target.kind == "duckdb" ? place_of(config.target) : config.target.url();
  out.target_place = place_of(config.target);
  out.source_conninfo = pg::shown_conninfo(config.source);
  if (config.target.kind == "postgres") out.target_conninfo = pg::shown_conninfo(config.target.path);
  out.slot = config.slot.name;
  out.publications = config.publication.names;
  out.pid = ::getpid();
  out.socket = real_path(socket);
  out.started_at = PgTimestamp::now();
  return out;
}

}  // namespace tailrace::cli
