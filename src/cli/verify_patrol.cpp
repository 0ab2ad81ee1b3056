#include "cli/verify_patrol.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <mutex>

#include "base/log.h"
#include "base/printable.h"
#include "base/terminal.h"
#include "cli/progress_line.h"
#include "cli/verify_text.h"
#include "serve/human.h"
#include "serve/status_json.h"
#include "serve/status_view.h"

namespace tailrace::cli {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// A comparison needs a slot and a snapshot, however small the table is.
constexpr auto shortest_pause = 1s;

/// Where the patrol is, for whoever watches it.
class Whereabouts {
 public:
  void at(int round, std::size_t table, std::size_t tables, const std::string& name) {
    std::lock_guard lock(mutex_);
    place_ = fmt::format("round {}, table {} of {}", round, table, tables);
    name_ = name;
    next_.reset();
  }
  void pause(Clock::time_point until) {
    std::lock_guard lock(mutex_);
    next_ = until;
  }
  void nowhere() {
    std::lock_guard lock(mutex_);
    place_.clear();
  }

  std::string text(const Verifier& verifier) const {
    auto [place, name, next] = copy();
    if (place.empty()) return "waiting until it follows its source";
    if (next) {
      double left = std::chrono::duration<double>(*next - Clock::now()).count();
      return fmt::format("{}: {} compared; the next in {}", place, printable(name),
                         serve::human_duration(std::max(left, 0.0)));
    }
    auto status = verifier.status();
    if (!status || !status->verify) return fmt::format("{}: {}", place, printable(name));
    auto now = *status->verify;
    if (now.table.empty()) now.table = name;
    // Of the one table that was asked for.
    auto words = serve::verify_text(now);
    return fmt::format("{}: {}", place, words);
  }

 private:
  std::tuple<std::string, std::string, std::optional<Clock::time_point>> copy() const {
    std::lock_guard lock(mutex_);
    return {place_, name_, next_};
  }

  mutable std::mutex mutex_;
  std::string place_;
  std::string name_;
  std::optional<Clock::time_point> next_;
};

class Patrol {
 public:
  Patrol(const Verifier& verifier, const Options& options)
      : verifier_(verifier), options_(options), selection_(chosen_tables(options)) {}

  int walk() {
    {
      ProgressLine progress([this] { return where_.text(verifier_); }, "verify", 60s);
      while (!stop_signal().requested() && !ended_) round();
    }
    if (!options_.json) {
      fmt::print("stopped after {}: {} compared, {} differed\n", serve::human_number(rounds_, "whole round"),
                 serve::human_number(compared_, "table"), differed_);
    }
    return differed_ > 0 ? exit_differs : exit_ok;
  }

 private:
  struct Round {
    std::int64_t rows = 0;
    int differing = 0;
    int failed = 0;
    std::int64_t rows_differing = 0;
    verify::Counted counted = verify::Counted::exactly;
  };

  void round() {
    auto tables = names();
    if (tables.empty()) where_.nowhere();
    round_ = {};
    for (std::size_t i = 0; i < tables.size() && !stop_signal().requested(); ++i) {
      where_.at(rounds_ + 1, i + 1, tables.size(), tables[i]);
      visit(tables[i]);
    }
    if (!tables.empty() && !stop_signal().requested()) conclude(tables.size());
    stop_signal().sleep(shortest_pause);
  }

  /// None while it is not streaming.
  std::vector<std::string> names() {
    std::vector<std::string> out;
    auto status = verifier_.status();
    ended_ = status && status->state == pipeline::RunState::failed;
    if (!status || status->state != pipeline::RunState::streaming) return out;
    for (const auto& table : status->tables) {
      if (is_chosen(table, selection_)) out.push_back(table.schema + "." + table.name);
    }
    return out;
  }

  pipeline::VerifyReport compare(const std::string& name) {
    try {
      return verifier_.compare({{name}, options_.repair});
    } catch (const Error& error) {
      if (error.retry() != Retry::transient) throw;
      pipeline::VerifyReport failed;
      failed.error = error.message();
      return failed;
    }
  }

  void visit(const std::string& name) {
    auto began = Clock::now();
    auto report = compare(name);
    if (stop_signal().requested() && !report.error.empty()) return;
    std::int64_t rows = 0;
    for (const auto& table : report.tables) {
      ++compared_;
      rows += table.source_rows;
      if (table.differences.empty() && table.equal) continue;
      ++differed_;
      ++round_.differing;
      round_.rows_differing += std::max<std::int64_t>(table.differing.rows, 0);
      round_.counted = std::max(round_.counted, table.differing.counted);
    }
    print([&] {
      if (options_.json) return fmt::print("{}\n", serve::to_json(report));
      for (const auto& table : report.tables) {
        if (!table.differences.empty() || !table.equal) print_table(table);
      }
    });
    if (!report.error.empty()) {
      ++round_.failed;
      log::warn("verify", "{} could not be compared: {}", name, report.error);
    }
    round_.rows += rows;
    // A table is read in one go, so that its snapshot is short; the rate is kept by the pause after it.
    auto due = began + std::chrono::milliseconds(rows * 1000 / options_.rate);
    auto until = std::max<Clock::time_point>(due, Clock::now() + shortest_pause);
    where_.pause(until);
    stop_signal().sleep(std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()));
  }

  void conclude(std::size_t tables) {
    ++rounds_;
    if (options_.json) return;
    print([&] {
      fmt::print("round {}: {}, {}, {} with differences{}{}\n", rounds_,
                 serve::human_number(static_cast<std::int64_t>(tables), "table"),
                 serve::human_number(round_.rows, "row"), round_.differing,
                 round_.rows_differing == 0
                     ? ""
                     : fmt::format(" in {}", differing_rows(round_.rows_differing, round_.counted)),
                 round_.failed > 0 ? fmt::format(", {} not compared", round_.failed) : "");
    });
  }

  /// Above the line that shows where it is, if both go to one terminal.
  static void print(const std::function<void()>& write) {
    terminal::aside([&] {
      write();
      std::fflush(stdout);
    });
  }

  const Verifier& verifier_;
  const Options& options_;
  TableSelection selection_;
  Whereabouts where_;
  Round round_;
  int rounds_ = 0;
  std::int64_t compared_ = 0;
  std::int64_t differed_ = 0;
  bool ended_ = false;  ///< what would follow has given up, and says why itself
};

}  // namespace

TableSelection chosen_tables(const Options& options) {
  TableSelection out;
  for (const std::string& pattern : options.tables) {
    auto parsed = TablePattern::parse(pattern);
    if (!parsed) throw Error(Retry::needs_operator, "--table: " + parsed.error());
    out.rules.push_back({std::move(*parsed), {}, {}});
  }
  return out;
}

bool is_chosen(const pipeline::TableStatus& table, const TableSelection& selection) {
  bool left = table.state == pipeline::TableState::stopped && table.last_error.empty();
  return !left && selection.selects(table.schema, table.name);
}

int patrol(const Verifier& verifier, const Options& options) {
  return Patrol(verifier, options).walk();
}

}  // namespace tailrace::cli
