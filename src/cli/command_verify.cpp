#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/log.h"
#include "base/printable.h"
#include "cli/find_mirror.h"
#include "cli/verify_progress.h"
#include "serve/human.h"
#include "serve/status_json.h"

namespace tailrace::cli {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// A comparison needs a slot and a snapshot, however small the table is.
constexpr auto shortest_pause = 1s;

/// Whoever does the work: a tailrace that runs on the target, or this process.
struct Verifier {
  pipeline::Compare compare;
  std::function<std::optional<pipeline::Status>()> status;  ///< nothing while it is away
};

void print_table(const pipeline::VerifyTable& table) {
  if (!table.held.empty())
    return fmt::print("HELD     {}  {}\n", serve::pad_right(printable(table.table), 40), printable(table.held));
  auto total = table.mended.total();
  fmt::print("{}  {}  source {} rows, target {} rows",
             !table.equal ? "DIFFERS"
             : total > 0  ? "mended "
                          : "equal  ",
             serve::pad_right(printable(table.table), 40), serve::human_count(table.source_rows),
             serve::human_count(table.target_rows));
  if (total > 0) {
    fmt::print("; at the target {} inserted, {} updated, {} deleted", serve::human_count(table.mended.inserted),
               serve::human_count(table.mended.updated), serve::human_count(table.mended.deleted));
  }
  fmt::print("\n");
  for (const auto& difference : table.differences)
    fmt::print("           {}\n             source: {}\n             target: {}\n", printable(difference.key),
               difference.source_row.empty() ? "(no such row)" : printable(difference.source_row),
               difference.target_row.empty() ? "(no such row)" : printable(difference.target_row));
}

void print_text(const pipeline::VerifyReport& report, bool repaired) {
  for (const auto& table : report.tables) print_table(table);
  fmt::print("\n{} at {}: {} tables compared\n", report.equal ? "equal" : "NOT EQUAL", report.lsn.str(),
             report.tables.size());
  if (repaired && !report.equal)
    fmt::print("Not all could be mended; 'tailrace run --recopy SCHEMA.TABLE' copies a table anew\n");
}

/// -t chooses among the tables that are followed; which those are, it does not change.
TableSelection selection(const Options& options) {
  TableSelection out;
  for (const std::string& pattern : options.tables) {
    auto parsed = TablePattern::parse(pattern);
    if (!parsed) throw Error(Retry::needs_operator, "--table: " + parsed.error());
    out.rules.push_back({std::move(*parsed), {}, {}});
  }
  return out;
}

bool selected(const pipeline::TableStatus& table, const TableSelection& selection) {
  bool left = table.state == pipeline::TableState::stopped && table.last_error.empty();
  return !left && selection.selects(table.schema, table.name);
}

/// None: all.
std::vector<std::string> chosen(const Verifier& verifier, const Options& options) {
  std::vector<std::string> out;
  if (options.tables.empty()) return out;
  auto tables = selection(options);
  while (!stop_signal().requested()) {
    auto status = verifier.status();
    if (status && status->state == pipeline::RunState::streaming) {
      for (const auto& table : status->tables) {
        if (selected(table, tables)) out.push_back(table.schema + "." + table.name);
      }
      break;
    }
    if (!status || status->state == pipeline::RunState::failed) break;
    stop_signal().sleep(shortest_pause / 10);
  }
  if (out.empty() && !stop_signal().requested())
    throw Error(Retry::needs_operator, "--table: no table that is followed matches",
                "'tailrace status' lists them");
  return out;
}

int once(const Verifier& verifier, const Options& options) {
  auto report = [&] {
    VerifyProgress progress([&]() -> std::optional<pipeline::VerifyStatus> {
      auto status = verifier.status();
      return status ? status->verify : std::nullopt;
    });
    return verifier.compare({chosen(verifier, options), options.repair});
  }();
  if (options.json)
    fmt::print("{}\n", serve::to_json(report));
  else if (report.error.empty())
    print_text(report, options.repair);
  if (!report.error.empty())
    throw Error(Retry::needs_operator, "source and target could not be compared: " + report.error);
  return report.equal ? exit_ok : exit_differs;
}

class Patrol {
 public:
  Patrol(const Verifier& verifier, const Options& options)
      : verifier_(verifier), options_(options), selection_(selection(options)) {}

  /// Table after table until a stop is requested.
  int walk() {
    while (!stop_signal().requested() && !ended_) {
      auto tables = names();
      round_ = {};
      for (const auto& table : tables) {
        if (!stop_signal().requested()) visit(table);
      }
      if (!tables.empty() && !stop_signal().requested()) conclude(tables.size());
      stop_signal().sleep(shortest_pause);
    }
    return found_ ? exit_differs : exit_ok;
  }

 private:
  struct Round {
    std::int64_t rows = 0;
    int differing = 0;
    int failed = 0;
  };

  /// None while it is not streaming.
  std::vector<std::string> names() {
    std::vector<std::string> out;
    auto status = verifier_.status();
    ended_ = status && status->state == pipeline::RunState::failed;
    if (!status || status->state != pipeline::RunState::streaming) return out;
    for (const auto& table : status->tables) {
      if (selected(table, selection_)) out.push_back(table.schema + "." + table.name);
    }
    return out;
  }

  void visit(const std::string& name) {
    auto began = Clock::now();
    auto report = [&] {
      try {
        return verifier_.compare({{name}, options_.repair});
      } catch (const Error& error) {
        if (error.retry() != Retry::transient) throw;
        pipeline::VerifyReport failed;
        failed.error = error.message();
        return failed;
      }
    }();
    if (stop_signal().requested() && !report.error.empty()) return;
    if (options_.json) fmt::print("{}\n", serve::to_json(report));
    std::int64_t rows = 0;
    for (const auto& table : report.tables) {
      rows += table.source_rows;
      if (table.differences.empty() && table.equal) continue;
      found_ = true;
      ++round_.differing;
      if (!options_.json) print_table(table);
    }
    if (!report.error.empty()) {
      ++round_.failed;
      log::warn("verify", "{} could not be compared: {}", name, report.error);
    }
    std::fflush(stdout);
    round_.rows += rows;
    // A table is read in one go, so that its snapshot is short; the rate is kept by the pause after it.
    auto due = began + std::chrono::milliseconds(rows * 1000 / options_.rate);
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(due - Clock::now());
    stop_signal().sleep(std::max<std::chrono::milliseconds>(left, shortest_pause));
  }

  void conclude(std::size_t tables) {
    if (options_.json) return;
    fmt::print("round {}: {} tables, {} rows, {} with differences{}\n", ++rounds_, tables,
               serve::human_count(round_.rows), round_.differing,
               round_.failed > 0 ? fmt::format(", {} not compared", round_.failed) : "");
    std::fflush(stdout);
  }

  const Verifier& verifier_;
  const Options& options_;
  TableSelection selection_;
  Round round_;
  int rounds_ = 0;
  bool found_ = false;
  bool ended_ = false;  ///< what would follow has given up, and says why itself
};

int work(const Verifier& verifier, const Options& options) {
  return options.continuous ? Patrol(verifier, options).walk() : once(verifier, options);
}

/// Nothing if no tailrace runs on the target. A running one holds the target and knows its source, so the
/// source need not be said again.
std::optional<int> by_running_one(const Found& found, const Options& options) {
  auto client = found.client();
  if (!client.status()) return std::nullopt;
  Verifier verifier;
  verifier.compare = [&](const pipeline::VerifyRequest& request) {
    auto report = client.verify(request, stop_signal());
    if (!report) throw Error(Retry::transient, "the tailrace that ran on the target has ended", "Ask again");
    return std::move(*report);
  };
  verifier.status = [&] { return client.status(); };
  return work(verifier, options);
}

}  // namespace

int command_verify(const Options& options) {
  auto following = options;
  following.tables.clear();
  auto found = find_mirror(following, {false, true});
  if (auto code = by_running_one(found, options)) return *code;
  auto config = found.config;
  if (config.source.empty()) {
    fmt::print(stderr, "tailrace: {}\n", not_running(found));
    throw UsageProblems{
        {{"source", "is missing: to compare without a running tailrace, say it too", "", 0, 0}}};
  }
  // What is followed stays as it is while it is compared.
  config.publication.create = false;
  pipeline::StatusBoard board;
  int code = exit_ok;
  pipeline::follow_meanwhile(config, board, stop_signal(), [&](const pipeline::Compare& compare) {
    code = work({compare, [&] { return board.read(); }}, options);
  });
  return code;
}

}  // namespace tailrace::cli
