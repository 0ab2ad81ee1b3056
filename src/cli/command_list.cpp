#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/json.h"
#include "base/printable.h"
#include "cli/find_mirror.h"
#include "cli/stopped_mirror.h"
#include "serve/human.h"
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

/// One that is stuck must not keep the others from being shown.
constexpr auto patience = std::chrono::seconds(2);

Line look_at(const MirrorNote& note) {
  Line out{note, stopped_by_note(note), false, false};
  try {
    if (auto status = serve::ControlClient(note.places(), note.name, patience).status()) {
      out.status = std::move(*status);
      out.runs = true;
    }
  } catch (const Error&) {
    out.silent = note.answers();
  }
  return out;
}

std::string state_of(const Line& line) {
  if (line.silent) return "no answer";
  if (line.runs) return std::string(to_string(line.status.state));
  return line.status.end->known ? std::string(to_string(line.status.state)) : "killed";
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
    cells.push_back({printable(line.note.name), state_of(line), lag_of(line),
                     line.runs || line.silent ? std::to_string(line.note.pid) : "-", user_name(line.note.owner),
                     printable(line.note.source), printable(line.note.target),
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
}

void print_json(const std::vector<Line>& lines) {
  std::string out;
  for (const auto& line : lines)
    out += fmt::format(R"({}  {{"name":{},"state":{},"running":{},"user":{},"socket":{},"status":{}}})",
                       out.empty() ? "" : ",\n", json_quote(line.note.name), json_quote(state_of(line)),
                       line.runs, json_quote(user_name(line.note.owner)), json_quote(line.note.socket),
                       serve::to_json(line.status));
  fmt::print("[\n{}\n]\n", out);
}

}  // namespace

int command_list(const Options& options) {
  std::vector<Line> lines;
  for (const auto& note : serve::read_notes()) lines.push_back(look_at(note));
  if (options.json)
    print_json(lines);
  else if (lines.empty())
    fmt::print("no mirror of this user's is known on this host\n");
  else
    print_table(lines);
  return exit_ok;
}

}  // namespace tailrace::cli
