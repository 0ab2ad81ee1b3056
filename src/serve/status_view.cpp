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

class View {
 public:
  View(const Status& status, const ViewOptions& options) : status_(status), options_(options) {}

  std::string render() {
    head();
    tables();
    return std::move(out_);
  }

 private:
  void line(const std::string& text) { out_ += clip(printable(text), options_.width) + "\n"; }

  void field(std::string_view name, const std::string& text) { line(fmt::format("  {:<8} {}", name, text)); }

  void head() {
    std::string state(to_string(status_.state));
    std::string rest = fmt::format("  pid {}", status_.pid);
    if (status_.started_at.micros != 0)
      rest +=
          ", up " + human_duration(static_cast<double>(options_.now.micros - status_.started_at.micros) / 1e6);
    // Colour codes take no columns, so they are put around what was measured without them.
    std::string title = "tailrace " + printable(status_.name);
    if (options_.colour)
      out_ += fmt::format("{}{}{}  {}{}{}{}\n", bold, title, off, colour_of(status_.state), state, off, rest);
    else
      line(fmt::format("{}  {}{}", title, state, rest));
    int version = status_.server_version;
    std::string server =
        version == 0 ? "" : fmt::format("  (PostgreSQL {}.{})", version / 10000, version % 10000);
    field("source", status_.source + server);
    field("target", status_.target);
    std::string retained =
        status_.retained_wal_bytes < 0
            ? ""
            : fmt::format(" · holds back {} of WAL", human_bytes(status_.retained_wal_bytes));
    field("slot", fmt::format("{} · publication {}{}", status_.slot, status_.publication, retained));
    if (status_.state == RunState::copying) field("copy", copy_text());
    field("lag", lag_text(status_));
    field("position",
          fmt::format("applied {} · received {} · acknowledged {} · source {}", status_.applied.str(),
                      status_.received.str(), status_.acknowledged.str(), status_.source_lsn.str()));
    field("work", fmt::format("{} changes in {} transactions · {} commits · {} reconnects · {} memory{}",
                              human_count(status_.changes), human_count(status_.transactions),
                              human_count(status_.commits), human_count(status_.reconnects),
                              human_bytes(status_.resident_bytes), status_.binary ? " · binary" : ""));
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
    for (const auto& warning : status_.warnings) field("warning", warning);
    if (!status_.message.empty()) field("note", status_.message);
  }

  std::string copy_text() const {
    auto copy = copy_progress(status_);
    constexpr std::size_t cells = 24;
    auto full = static_cast<std::size_t>(copy.fraction * cells);
    std::string bar;
    for (std::size_t i = 0; i < cells; ++i) bar += i < full ? "█" : "░";
    return fmt::format("{} {:.0f} % · {} of {} tables · {} rows · {}", bar, copy.fraction * 100,
                       copy.tables_done, copy.tables, human_count(copy.rows), human_bytes(copy.bytes));
  }

  void tables() {
    std::vector<const TableStatus*> shown;
    for (const TableStatus& table : status_.tables) shown.push_back(&table);
    std::ranges::sort(shown, {}, [](const TableStatus* t) { return std::tie(t->schema, t->name); });
    if (options_.max_tables != 0 && shown.size() > options_.max_tables) {
      // Troubled ones first, then those that are moving.
      std::ranges::stable_sort(shown, std::ranges::greater(), [](const TableStatus* t) {
        return std::tuple(!t->last_error.empty(), t->state == TableState::copying, activity(*t));
      });
      shown.resize(options_.max_tables);
    }
    if (shown.empty()) return;
    std::size_t name_width = 5;
    auto name_of = [](const TableStatus* table) { return printable(table->schema + "." + table->name); };
    for (const TableStatus* table : shown) name_width = std::max(name_width, display_width(name_of(table)));
    name_width = std::min(name_width, std::max<std::size_t>(options_.width / 3, 12));
    out_ += "\n";
    row(name_width, "table", "state", "copied", "inserts", "updates", "deletes", "");
    for (const TableStatus* table : shown) {
      std::string copied = human_count(table->rows_copied);
      if (table->state == TableState::copying)
        copied += fmt::format(" {:2.0f} %", copied_fraction(*table) * 100);
      row(name_width, clip(name_of(table), name_width), std::string(to_string(table->state)), copied,
          human_count(table->inserts), human_count(table->updates), human_count(table->deletes),
          note_of(*table));
    }
    if (shown.size() < status_.tables.size())
      line(fmt::format("  ... and {} more tables", status_.tables.size() - shown.size()));
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
  std::string out_;
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
  std::string out = fmt::format("{} {}", verify.mending ? "mending" : "comparing", printable(verify.table));
  if (!verify.mending) {
    out += fmt::format(", {}", human_count(verify.rows));
    if (verify.estimated_rows > verify.rows)
      out += fmt::format(" of about {}", human_count(verify.estimated_rows));
    out += " rows";
  }
  return out + fmt::format(", table {} of {}", verify.tables_done + 1, verify.tables);
}

std::string render_line(const Status& status, double rows_per_second, double seconds_left) {
  if (status.state == RunState::copying) {
    auto copy = copy_progress(status);
    std::string out =
        fmt::format("copying: {} of {} tables, {} rows, {}, {:.0f} %", copy.tables_done, copy.tables,
                    human_count(copy.rows), human_bytes(copy.bytes), copy.fraction * 100);
    if (rows_per_second >= 0)
      out += fmt::format(", {} rows/s", human_count(static_cast<std::int64_t>(rows_per_second)));
    if (seconds_left >= 0) out += fmt::format(", {} left", human_duration(seconds_left));
    return out;
  }
  std::string out =
      fmt::format("{}: {}, {} changes", to_string(status.state), lag_text(status), human_count(status.changes));
  if (rows_per_second >= 0)
    out += fmt::format(", {} changes/s", human_count(static_cast<std::int64_t>(rows_per_second)));
  if (!status.message.empty()) out += ", " + printable(status.message);
  return out;
}

}  // namespace tailrace::serve
