#include "serve/status_view.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/printable.h"
#include "serve/human.h"
#include "serve/in_step.h"

namespace tailrace::serve {
namespace {

using pipeline::RunState;
using pipeline::Status;
using pipeline::TableState;
using pipeline::TableStatus;

constexpr std::string_view bold = "\x1b[1m", green = "\x1b[32m", yellow = "\x1b[33m", red = "\x1b[31m",
                           off = "\x1b[0m";

std::string_view colour_of(RunState state) {
  switch (state) {
    case RunState::streaming: return green;
    case RunState::failed: return red;
    default: return yellow;
  }
}

bool finished(TableState state) {
  return state == TableState::copied || state == TableState::streaming;
}

double copied_fraction(const TableStatus& table) {
  if (finished(table.state)) return 1;
  if (table.estimated_rows <= 0) return 0;
  // The estimate may be short of the truth: an unfinished table is never shown as finished.
  return std::min(0.99, static_cast<double>(table.rows_copied) / static_cast<double>(table.estimated_rows));
}

std::int64_t activity(const TableStatus& table) {
  return table.inserts + table.updates + table.deletes + table.truncates;
}

std::string note_of(const TableStatus& table) {
  if (table.last_error.empty()) return table.note;
  if (table.state == TableState::held) return "! held: " + table.last_error;
  return fmt::format("! {} in quarantine: {}", human_count(table.quarantined), table.last_error);
}

constexpr std::int64_t worth_telling = 16 << 20;  // of retained WAL: a segment is always there
constexpr std::size_t wide_terminal = 110;
constexpr std::size_t indent = 11;
constexpr std::size_t most_wrapped = 4;

std::string or_dash(Lsn lsn) {
  return lsn.valid() ? lsn.str() : "-";
}

std::string rate_text(double per_second, std::string_view of) {
  return per_second < 1 ? ""
                        : fmt::format(" · {} {}/s", human_count(static_cast<std::int64_t>(per_second)), of);
}

class View {
 public:
  View(const Status& status, const ViewOptions& options) : status_(status), options_(options) {}

  std::string render() {
    head();
    if (options_.max_lines != 0 && lines_.size() > options_.max_lines) lines_.resize(options_.max_lines);
    tables();
    std::string out;
    for (const auto& line : lines_) out += line + "\n";
    return out;
  }

 private:
  void line(const std::string& text) { lines_.push_back(clip(printable(text), options_.width)); }

  void field(std::string_view name, const std::string& text) { line(fmt::format("  {:<8} {}", name, text)); }

  /// What somebody must read to its end.
  void long_field(std::string_view name, const std::string& text) {
    auto width = options_.width > 2 * indent ? options_.width - indent : options_.width;
    for (const auto& part : wrap(printable(text), width, most_wrapped)) {
      field(name, part);
      name = "";
    }
  }

  void head() {
    title();
    int version = status_.server_version;
    std::string server =
        version == 0 ? "" : fmt::format("  (PostgreSQL {}.{})", version / 10000, version % 10000);
    field("source", status_.source + server);
    field("target", status_.target);
    std::string retained =
        status_.retained_wal_bytes < worth_telling
            ? ""
            : fmt::format(" · holds back {} of WAL", human_bytes(status_.retained_wal_bytes));
    std::string untold = status_.acknowledges ? "" : " · never acknowledged (slot.acknowledge: off)";
    field("slot", fmt::format("{} · publication {}{}{}", status_.slot, status_.publication, retained, untold));
    bool copying = status_.state == RunState::copying;
    if (copying) field("copy", copy_text());
    if (!copying || status_.lag_seconds >= 0) field("lag", lag_text(status_));
    if (!status_.waiting_for.empty()) long_field("waits", "for " + status_.waiting_for);
    if (status_.source_lsn.valid() || status_.applied.valid()) {
      field("position",
            fmt::format("applied {} · received {} · acknowledged {} · source {}", or_dash(status_.applied),
                        or_dash(status_.received), or_dash(status_.acknowledged), or_dash(status_.source_lsn)));
    }
    if (auto work = work_text(); !work.empty()) field("work", work);
    if (status_.verify) field("verify", verify_text(*status_.verify));
    for (const auto& skip : status_.skips) {
      field("skip", fmt::format("{} · {}{}{}", skip.commit_lsn.str(), skip.state,
                                skip.left_out.empty() ? "" : " · left out: ", skip.left_out));
    }
    std::string conflicts;
    for (std::size_t i = 0; i < status_.conflicts.size(); ++i) {
      if (status_.conflicts[i] == 0) continue;
      conflicts += fmt::format("{}{} {}", conflicts.empty() ? "" : " · ", human_count(status_.conflicts[i]),
                               to_string(static_cast<ConflictKind>(i)));
    }
    if (!conflicts.empty()) field("conflict", conflicts);
    for (const auto& warning : status_.warnings) long_field("warning", warning);
    if (!status_.message.empty()) long_field("note", status_.message);
  }

  void title() {
    std::string state(to_string(status_.state));
    std::string rest = fmt::format("  pid {}", status_.pid);
    if (status_.started_at.micros != 0)
      rest +=
          ", up " + human_duration(static_cast<double>(options_.now.micros - status_.started_at.micros) / 1e6);
    std::string title = "tailrace " + printable(status_.name);
    line(fmt::format("{}  {}{}", title, state, rest));
    // Colour codes take no columns, so they are put around what was measured without them.
    if (options_.colour && display_width(title + "  " + state) < options_.width) {
      lines_.back().replace(
          0, title.size() + 2 + state.size(),
          fmt::format("{}{}{}  {}{}{}", bold, title, off, colour_of(status_.state), state, off));
    }
  }

  /// The most wanted comes first, for a narrow terminal cuts the end off.
  std::string copy_text() const {
    auto copy = copy_progress(status_);
    std::size_t cells = options_.width < wide_terminal ? 12 : 24;
    auto full = static_cast<std::size_t>(copy.fraction * static_cast<double>(cells));
    std::string bar;
    for (std::size_t i = 0; i < cells; ++i) bar += i < full ? "█" : "░";
    std::string left =
        status_.seconds_left < 0 ? "" : fmt::format(" · {} left", human_duration(status_.seconds_left));
    return fmt::format("{} {:.0f} %{}{} · {} of {} tables · {} rows · {}", bar, copy.fraction * 100, left,
                       rate_text(status_.per_second, "rows"), copy.tables_done, copy.tables,
                       human_count(copy.rows), human_bytes(copy.bytes));
  }

  std::string work_text() const {
    std::string rate = status_.state == RunState::streaming ? rate_text(status_.per_second, "changes") : "";
    std::string memory =
        status_.resident_bytes == 0 ? "" : fmt::format(" · {} memory", human_bytes(status_.resident_bytes));
    // While the first copies are made there is nothing to count yet.
    bool only_copies =
        status_.state == RunState::copying && status_.transactions == 0 && status_.reconnects == 0;
    if (only_copies) return memory.empty() ? "" : human_bytes(status_.resident_bytes) + " memory";
    return fmt::format("{} changes in {} transactions{} · {} commits · {} reconnects{}{}",
                       human_count(status_.changes), human_count(status_.transactions), rate,
                       human_count(status_.commits), human_count(status_.reconnects), memory,
                       status_.binary ? " · binary" : "");
  }

  /// How many of the tables can be shown: besides them there are an empty line, a title, and how many more
  /// there are.
  std::size_t room() const {
    if (options_.max_lines == 0) return status_.tables.size();
    auto left = options_.max_lines - std::min(options_.max_lines, lines_.size());
    if (left >= status_.tables.size() + 2) return status_.tables.size();
    return left > 3 ? left - 3 : 0;
  }

  void tables() {
    std::vector<const TableStatus*> shown;
    for (const TableStatus& table : status_.tables) shown.push_back(&table);
    std::ranges::sort(shown, {}, [](const TableStatus* t) { return std::tie(t->schema, t->name); });
    if (auto most = room(); shown.size() > most) {
      // Troubled ones first, then those that are moving.
      std::ranges::stable_sort(shown, std::ranges::greater(), [](const TableStatus* t) {
        return std::tuple(!t->last_error.empty(), t->state == TableState::copying, activity(*t));
      });
      shown.resize(most);
    }
    if (shown.empty()) return;
    std::size_t name_width = 5;
    auto name_of = [](const TableStatus* table) { return printable(table->schema + "." + table->name); };
    for (const TableStatus* table : shown) name_width = std::max(name_width, display_width(name_of(table)));
    name_width = std::min(name_width, std::max<std::size_t>(options_.width / 3, 12));
    lines_.emplace_back();
    row(name_width, "table", "state", "copied", "inserts", "updates", "deletes", "");
    for (const TableStatus* table : shown) {
      std::string copied = human_count(table->rows_copied);
      if (table->state == TableState::copying)
        copied += fmt::format(" {:2.0f} %", copied_fraction(*table) * 100);
      row(name_width, clip(name_of(table), name_width), std::string(to_string(table->state)), copied,
          human_count(table->inserts), human_count(table->updates), human_count(table->deletes),
          note_of(*table));
    }
    if (auto more = status_.tables.size() - shown.size(); more > 0)
      line(fmt::format("  ... and {} more tables", human_count(static_cast<std::int64_t>(more))));
  }

  void row(std::size_t name_width, const std::string& name, const std::string& state, const std::string& copied,
           const std::string& inserts, const std::string& updates, const std::string& deletes,
           const std::string& note) {
    std::string text = "  " + pad_right(name, name_width) + "  " + pad_right(state, 9) + pad_left(copied, 16) +
                       pad_left(inserts, 12) + pad_left(updates, 12) + pad_left(deletes, 12);
    line(note.empty() ? text : text + "  " + note);
  }

  const Status& status_;
  const ViewOptions& options_;
  std::vector<std::string> lines_;
};

}  // namespace

std::string render_status(const Status& status, const ViewOptions& options) {
  return View(status, options).render();
}

CopyProgress copy_progress(const Status& status) {
  CopyProgress out;
  double weight = 0, done = 0;
  for (const TableStatus& table : status.tables) {
    ++out.tables;
    if (finished(table.state)) ++out.tables_done;
    out.rows += table.rows_copied;
    out.bytes += table.bytes_copied;
    double size = static_cast<double>(std::max<std::int64_t>(table.estimated_bytes, 8192));
    weight += size;
    done += size * copied_fraction(table);
  }
  out.fraction = weight > 0 ? done / weight : 0;
  return out;
}

std::string verify_text(const pipeline::VerifyStatus& verify) {
  if (!verify.waiting_for.empty()) return "waiting for " + printable(verify.waiting_for);
  if (verify.table.empty()) return "beginning";
  std::string out = fmt::format("{} {}", verify.mending ? "mending" : "comparing", printable(verify.table));
  if (!verify.mending) {
    out += fmt::format(", {}", human_count(verify.rows));
    if (verify.estimated_rows > verify.rows)
      out += fmt::format(" of about {}", human_count(verify.estimated_rows));
    out += " rows";
  }
  out += fmt::format(", table {} of {}", verify.tables_done + 1, verify.tables);
  if (verify.rows_per_second >= 0)
    out += fmt::format(", {} rows/s", human_count(static_cast<std::int64_t>(verify.rows_per_second)));
  if (verify.seconds_left >= 0) out += fmt::format(", {} left", human_duration(verify.seconds_left));
  return out;
}

std::string copied_text(const pipeline::CopyDone& done) {
  return fmt::format("{}, {}, {} in {}", human_number(done.tables, "table"), human_number(done.rows, "row"),
                     human_bytes(done.bytes), human_duration(done.seconds));
}

std::string render_line(const Status& status) {
  auto rate = [&](std::string_view of) {
    return status.per_second < 0
               ? ""
               : fmt::format(", {} {}/s", human_count(static_cast<std::int64_t>(status.per_second)), of);
  };
  if (status.state == RunState::copying) {
    auto copy = copy_progress(status);
    std::string out =
        fmt::format("copying: {} of {} tables, {} rows, {}, {:.0f} %{}", copy.tables_done, copy.tables,
                    human_count(copy.rows), human_bytes(copy.bytes), copy.fraction * 100, rate("rows"));
    if (status.seconds_left >= 0) out += fmt::format(", {} left", human_duration(status.seconds_left));
    return out;
  }
  std::string out(to_string(status.state));
  if (status.state == RunState::streaming)
    out += fmt::format(": {}, {} changes{}", lag_text(status), human_count(status.changes), rate("changes"));
  if (!status.waiting_for.empty()) out += ", waits for " + printable(status.waiting_for);
  bool state_alone = out == to_string(status.state);
  if (!status.message.empty()) out += (state_alone ? ": " : ", ") + printable(status.message);
  return out;
}

}  // namespace tailrace::serve
