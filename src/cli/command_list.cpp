#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/json.h"
#include "base/printable.h"
#include "base/user_name.h"
#include "cli/stopped_mirror.h"
#include "serve/human.h"
#include "serve/look_around.h"
#include "serve/status_json.h"

namespace tailrace::cli {
namespace {

using serve::MirrorNote;

struct Line {
  MirrorNote note;
  pipeline::Status status;
  bool runs = false;
  bool silent = false;  ///< somebody is at its socket who does not answer
};

std::vector<Line> look() {
  auto notes = serve::read_notes();
  std::erase_if(notes, [](const MirrorNote& note) { return !note.believable() && !note.file_gone(); });
  auto looks = serve::look_around(notes);
  std::vector<Line> out;
  for (std::size_t i = 0; i < notes.size(); ++i) {
    Line line{notes[i], stopped_by_note(notes[i]), looks[i].seen == serve::Look::Seen::runs,
              looks[i].seen == serve::Look::Seen::silent};
    if (line.runs) line.status = std::move(*looks[i].status);
    out.push_back(std::move(line));
  }
  return out;
}

std::string state_of(const Line& line) {
  if (line.silent) return "no answer";
  if (line.runs) return std::string(to_string(line.status.state));
  if (line.note.file_gone()) return "file gone";
  if (line.status.end->how == pipeline::Ending::killed) return "killed";
  return std::string(to_string(line.status.state));
}

std::string process_of(const Line& line) {
  if (line.runs) return std::to_string(line.status.pid);
  return line.silent ? std::to_string(line.note.pid) : "-";
}

std::string lag_of(const Line& line) {
  if (!line.runs || line.silent) return "-";
  if (line.status.in_step) return "in step";
  return line.status.lag_seconds < 0 ? "unknown" : serve::human_duration(line.status.lag_seconds);
}

void print_table(const std::vector<Line>& lines) {
  using Cells = std::array<std::string, 8>;
  std::vector<Cells> cells{{"name", "state", "lag", "pid", "user", "source", "target", "control socket"}};
  for (const auto& line : lines)
    cells.push_back({printable(line.note.name), state_of(line), lag_of(line), process_of(line),
                     printable(user_name(line.note.owner)), printable(line.note.source),
                     printable(line.note.target),
                     line.runs || line.silent ? printable(line.note.socket) : "-"});
  std::array<std::size_t, std::tuple_size_v<Cells>> widths{};
  for (const auto& row : cells)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], serve::display_width(row[i]));
  for (const auto& row : cells) {
    std::string text;
    for (std::size_t i = 0; i < row.size(); ++i)
      text += i + 1 < row.size() ? serve::pad_right(row[i], widths[i]) + "  " : row[i];
    fmt::print("{}\n", text);
  }
  for (const auto& line : lines) {
    if (line.runs || line.silent) continue;
    if (line.note.file_gone() || line.status.state == pipeline::RunState::failed)
      fmt::print("{}: {}\n", printable(line.note.name), printable(line.status.message));
  }
}

void print_json(const std::vector<Line>& lines) {
  std::string out;
  for (const auto& line : lines)
    out +=
        fmt::format(R"({}  {{"name":{},"state":{},"running":{},"user":{},"socket":{},"note":{},"status":{}}})",
                    out.empty() ? "" : ",\n", json_quote(line.note.name), json_quote(state_of(line)), line.runs,
                    json_quote(user_name(line.note.owner)), json_quote(line.note.socket),
                    json_quote(line.note.path), serve::to_json(line.status));
  fmt::print("[\n{}\n]\n", out);
}

}  // namespace

int command_list(const Options& options) {
  if (auto problem = serve::state_folder_problem(); !problem.empty())
    fmt::print(stderr, "tailrace: {}\n", printable(problem));
  auto lines = look();
  if (options.json)
    print_json(lines);
  else if (lines.empty())
    fmt::print("no mirror of this user's is known on this host\n");
  else
    print_table(lines);
  return exit_ok;
}

}  // namespace tailrace::cli
