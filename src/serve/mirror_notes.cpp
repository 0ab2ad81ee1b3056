#include "serve/mirror_notes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/fnv.h"
#include "base/log.h"
#include "serve/control_client.h"
#include "serve/unix_socket.h"
#include "serve/user_folders.h"

namespace tailrace::serve {
namespace {

using nlohmann::json;

constexpr std::string_view suffix = ".mirror";
constexpr std::size_t longest_note = 64 * 1024;
/// Another user may fill a folder with them.
constexpr std::size_t most_of_others = 100;

std::string to_text(const MirrorNote& note) {
  json out = {{"host", note.host},
              {"name", note.name},
              {"source", note.source},
              {"source_place", note.source_place},
              {"target", note.target},
              {"target_place", note.target_place},
              {"source_conninfo", note.source_conninfo},
              {"target_conninfo", note.target_conninfo},
              {"slot", note.slot},
              {"publications", note.publications},
              {"pid", note.pid},
              {"socket", note.socket},
              {"started_at", note.started_at.micros},
              {"ended", note.ended},
              {"failed", note.failed},
              {"ended_at", note.ended_at.micros},
              {"reason", note.reason},
              {"position", note.position.value},
              {"position_at", note.position_at.micros},
              {"unfinished", note.unfinished},
              {"commit_time", note.commit_time.micros}};
  return out.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

MirrorNote from_text(const std::string& text) {
  auto value = json::parse(text);
  MirrorNote note;
  note.host = value.at("host");
  note.name = value.at("name");
  note.source = value.at("source");
  note.source_place = value.at("source_place");
  note.target = value.at("target");
  note.target_place = value.at("target_place");
  note.source_conninfo = value.value("source_conninfo", "");
  note.target_conninfo = value.value("target_conninfo", "");
  note.slot = value.at("slot");
  note.publications = value.at("publications").get<std::vector<std::string>>();
  note.pid = value.at("pid");
  note.socket = value.at("socket");
  note.started_at.micros = value.at("started_at");
  note.ended = value.at("ended");
  note.failed = value.at("failed");
  note.ended_at.micros = value.at("ended_at");
  note.reason = value.at("reason");
  note.position.value = value.at("position");
  note.position_at.micros = value.value("position_at", note.ended_at.micros);
  note.unfinished = value.value("unfinished", std::int64_t{0});
  note.commit_time.micros = value.at("commit_time");
  return note;
}

std::string this_host() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

/// Another user's folder may hold anything: a link to what only root may read, a pipe that never ends.
std::optional<MirrorNote> read_note(const std::string& path, uid_t owner) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat info{};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_uid != owner ||
      static_cast<std::size_t>(info.st_size) > longest_note)
    return std::nullopt;
  std::string text(static_cast<std::size_t>(info.st_size), '\0');
  if (::read(fd.get(), text.data(), text.size()) != info.st_size) return std::nullopt;
  try {
    auto note = from_text(text);
    note.path = path;
    note.owner = owner;
    return note;
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

constexpr std::string_view file_target = "duckdb:";

bool is_others(const MirrorNote& note) {
  return note.owner != ::geteuid() && note.owner != 0;
}

/// The process that wrote it is there: who answers may be another mirror's, which took over its socket.
bool runs_still(const MirrorNote& note) {
  try {
    auto status = ControlClient(note.places()).status();
    return status && status->pid == note.pid;
  } catch (const Error&) {
    // It is stuck, but there.
    return note.answers();
  }
}

}  // namespace

SocketPlaces MirrorNote::places() const {
  SocketPlaces out;
  if (is_others(*this))
    out.of_others.push_back({socket, owner});
  else
    out.paths.push_back(socket);
  return out;
}

bool MirrorNote::answers() const {
  try {
    return ControlClient(places()).running();
  } catch (const Error&) {
    // Somebody else sits there, or it may not be reached.
    return false;
  }
}

bool MirrorNote::file_gone() const {
  if (!target.starts_with(file_target)) return false;
  struct stat info{};
  return ::stat(target.substr(file_target.size()).c_str(), &info) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

bool MirrorNote::believable() const {
  if (!is_others(*this) || !target.starts_with(file_target)) return true;
  struct stat info{};
  return ::stat(target.substr(file_target.size()).c_str(), &info) == 0 && info.st_uid == owner;
}

std::vector<MirrorNote> read_notes() {
  std::vector<MirrorNote> out;
  for (const auto& folder : folders_to_look_into()) {
    std::error_code failed;
    std::size_t seen = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path, failed)) {
      auto path = entry.path().string();
      if (!path.ends_with(suffix)) continue;
      auto note = read_note(path, folder.owner);
      if (!note || note->host != this_host()) continue;
      if (is_others(*note) && ++seen > most_of_others) break;
      out.push_back(std::move(*note));
    }
  }
  std::ranges::sort(out, {},
                    [](const MirrorNote& note) { return std::tie(note.name, note.target, note.owner); });
  return out;
}

std::string state_folder_problem() {
  const char* value = std::getenv("TAILRACE_STATE");
  if (value == nullptr || *value == '\0') return "";
  if (*value != '/')
    return fmt::format(
        "TAILRACE_STATE is not used: '{}' is no absolute path; notes of mirrors are where they "
        "usually are",
        value);
  if (is_own_folder(value)) return "";
  return fmt::format(
      "TAILRACE_STATE: {} is no folder that this user and root alone may write to, so no mirror "
      "is noted there",
      value);
}

void remove_note(const MirrorNote& note) {
  if (!note.path.empty()) ::unlink(note.path.c_str());
}

NoteKeeper::NoteKeeper(MirrorNote note) : note_(std::move(note)) {
  auto key =
      fnv1a(note_.target.starts_with("duckdb:") ? note_.target_place : note_.target_place + " " + note_.name);
  note_.host = this_host();
  note_.owner = ::geteuid();
  for (const auto& folder : note_folders()) {
    if (!make_own_folder(folder)) continue;
    note_.path = fmt::format("{}/{:016x}{}", folder, key ^ fnv1a(note_.host), suffix);
    earlier_ = read_note(note_.path, note_.owner);
    // At this process's own socket nobody else can answer.
    if (earlier_ && !earlier_->ended && earlier_->socket != note_.socket && runs_still(*earlier_))
      throw Error(Retry::needs_operator,
                  fmt::format("another tailrace is running on this target (process {}, at {})", earlier_->pid,
                              earlier_->socket),
                  "Look at it with `tailrace list`, or stop it first");
    break;
  }
  if (auto problem = state_folder_problem(); !problem.empty()) log::warn("control", "{}", problem);
  if (note_.path.empty())
    log::warn("control", "no folder for a note of this mirror can be had: 'tailrace list' will not know of it");
  write();
}

void NoteKeeper::ended(bool failed, const std::string& reason, const Reached& reached) {
  note_.ended = true;
  note_.failed = failed;
  note_.ended_at = PgTimestamp::now();
  note_.reason = reason;
  bool from_earlier = !reached.position.valid() && earlier_;
  note_.position = from_earlier ? earlier_->position : reached.position;
  note_.position_at = from_earlier ? earlier_->position_at : note_.ended_at;
  note_.commit_time = from_earlier ? earlier_->commit_time : reached.commit_time;
  note_.unfinished = reached.unfinished.value_or(earlier_ ? earlier_->unfinished : 0);
  write();
  if (!reached.position.valid() || note_.path.empty()) return;
  for (const auto& other : read_notes()) {
    if (other.owner == note_.owner && other.path != note_.path && other.slot == note_.slot &&
        other.source_place == note_.source_place && other.file_gone())
      remove_note(other);
  }
}

void NoteKeeper::forget_position() {
  if (!earlier_) return;
  earlier_->position = {};
  earlier_->commit_time = {};
  earlier_->unfinished = 0;
}

void NoteKeeper::forget() {
  if (note_.path.empty()) return;
  if (earlier_) {
    note_ = *earlier_;
    return write();
  }
  remove_note(note_);
  note_.path.clear();
}

/// Whoever reads sees the old one or the new one. That it cannot be written is no reason not to run.
void NoteKeeper::write() {
  if (note_.path.empty()) return;
  auto text = to_text(note_);
  auto half_made = fmt::format("{}.{}", note_.path, ::getpid());
  ::unlink(half_made.c_str());
  Descriptor fd(::open(half_made.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  bool written = fd.valid() && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (written && ::rename(half_made.c_str(), note_.path.c_str()) == 0) return;
  log::warn("control", "the note of this mirror in {} cannot be written: 'tailrace list' may not know of it",
            std::filesystem::path(note_.path).parent_path().string());
  ::unlink(half_made.c_str());
}

}  // namespace tailrace::serve
