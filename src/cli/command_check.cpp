#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>

#include "base/json.h"
#include "base/printable.h"
#include "cli/check_duckdb.h"
#include "cli/check_plan.h"
#include "cli/check_server.h"
#include "cli/check_start.h"
#include "cli/check_target.h"
#include "cli/command.h"
#include "cli/progress_line.h"
#include "cli/source_access.h"
#include "pg/one_database.h"
#include "pipeline/open_options.h"
#include "pipeline/published_tables.h"
#include "serve/human.h"
#include "source/preflight.h"
#include "target/open_target.h"

namespace tailrace::cli {
namespace {

using source::CheckResult;
using source::Verdict;

/// With a server that has fallen silent.
constexpr auto patience = std::chrono::seconds(30);

/// What would be done, largest first.
void print_plan(const std::vector<PlannedTable>& plan) {
  constexpr std::size_t most = 30;
  std::int64_t rows = 0;
  std::size_t unknown = 0;
  std::size_t width = 0;
  for (std::size_t i = 0; i < plan.size(); ++i) {
    rows += std::max<std::int64_t>(plan[i].rows, 0);
    if (plan[i].rows < 0) ++unknown;
    if (i < most) width = std::max(width, serve::display_width(printable(plan[i].table)));
  }
  // Until a table is analyzed, nobody has counted it.
  std::string count = unknown == plan.size() ? "an unknown number of rows"
                      : unknown > 0 ? fmt::format("about {} rows besides those of {}, which are unknown",
                                                  serve::human_count(rows), unknown)
                                    : fmt::format("about {} rows", serve::human_count(rows));
  fmt::print("\nA start would follow {} tables, {}, {}:\n", plan.size(), count,
             serve::human_bytes(bytes_of(plan)));
  for (std::size_t i = 0; i < plan.size() && i < most; ++i) {
    fmt::print("  {}  {:<16}  {:>14} rows  {:>10}\n", serve::pad_right(printable(plan[i].table), width),
               plan[i].action, plan[i].rows < 0 ? "unknown" : serve::human_count(plan[i].rows),
               serve::human_bytes(plan[i].bytes));
  }
  if (plan.size() > most) fmt::print("  and {} smaller ones (--json lists them)\n", plan.size() - most);
}

void print_text(const std::vector<CheckResult>& results, const std::vector<PlannedTable>& plan) {
  bool colour = colour_wanted(stdout);
  auto mark = [&](Verdict verdict) {
    switch (verdict) {
      case Verdict::pass: return colour ? "\x1b[32mpass\x1b[0m" : "pass";
      case Verdict::warn: return colour ? "\x1b[33mwarn\x1b[0m" : "warn";
      case Verdict::fail: return colour ? "\x1b[31mfail\x1b[0m" : "fail";
    }
    return "";
  };
  for (const CheckResult& result : results) {
    fmt::print("{}  {}: {}\n", mark(result.verdict), printable(result.title), printable(result.detail));
    std::string_view remedy = result.remedy;
    while (!remedy.empty()) {
      auto line = remedy.substr(0, remedy.find('\n'));
      fmt::print("        {}\n", printable(line));
      remedy.remove_prefix(std::min(remedy.size(), line.size() + 1));
    }
  }
  if (!plan.empty()) print_plan(plan);
  auto count = [&](Verdict verdict) { return std::ranges::count(results, verdict, &CheckResult::verdict); };
  fmt::print("\n{} passed, {} warnings, {} failed\n", count(Verdict::pass), count(Verdict::warn),
             count(Verdict::fail));
}

void print_json(const std::vector<CheckResult>& results, const std::vector<PlannedTable>& plan) {
  std::string out;
  for (const CheckResult& result : results)
    out += fmt::format(R"({}  {{"verdict":"{}","title":{},"detail":{},"remedy":{}}})", out.empty() ? "" : ",\n",
                       to_string(result.verdict), json_quote(result.title), json_quote(result.detail),
                       json_quote(result.remedy));
  std::string tables;
  for (const auto& table : plan)
    tables += fmt::format(R"({}{{"table":{},"action":{},"rows":{},"bytes":{}}})", tables.empty() ? "" : ",",
                          json_quote(table.table), json_quote(table.action),
                          table.rows < 0 ? "null" : std::to_string(table.rows), table.bytes);
  if (!plan.empty())
    out += fmt::format(R"(,
  {{"verdict":"pass","title":"plan","detail":"what a start would do","remedy":"","tables":[{}]}})",
                       tables);
  fmt::print("[\n{}\n]\n", out);
}

bool is_failed(const CheckResult& result) {
  return result.verdict == Verdict::fail;
}

/// `before`: what is known of the source, in better words than a connection's.
std::vector<CheckResult> check_start(const config::Config& config, pg::Connection& source,
                                     const std::optional<Checkpoint>& checkpoint,
                                     const std::vector<CheckResult>& before) {
  auto out = check_replication(config, source, checkpoint);
  if (std::ranges::any_of(before, is_failed))
    std::erase_if(out, [](const auto& result) { return result.title == "replication connection"; });
  std::ranges::move(check_rows_as_of(config, source, checkpoint), std::back_inserter(out));
  return out;
}

void look_at_server(const config::Config& config, pg::Connection& source, std::vector<CheckResult>& results,
                    std::vector<PlannedTable>& plan) {
  CheckResult result{Verdict::pass, "target", config.target.url() + " is another database than the source", ""};
  std::vector<CheckResult> user;
  try {
    auto target = pg::Connection::open(config.target.path, {pg::Mode::sql, config.name});
    target.set_patience(patience);
    pg::refuse_one_database(source, target);
    auto add = [&](std::vector<CheckResult> more) { std::ranges::move(more, std::back_inserter(user)); };
    add(check_target_user(config, source, target));
    add(check_server(config, source, target, plan));
    std::optional<Checkpoint> checkpoint;
    if (auto books = target::read_books(pipeline::open_options(config))) checkpoint = books->checkpoint;
    add(check_start(config, source, checkpoint, results));
    // In words of their own the others find much of what this does.
    if (!checkpoint && std::ranges::none_of(user, is_failed) && std::ranges::none_of(results, is_failed))
      add(check_first_start(config, source, target));
  } catch (const Error& error) {
    result = {Verdict::fail, "target", error.message(), error.remedy()};
  }
  results.push_back(std::move(result));
  std::ranges::move(user, std::back_inserter(results));
}

/// None where the tables cannot be chosen: the results say why.
std::vector<PlannedTable> plan_if_possible(const config::Config& config, pg::Connection& source) {
  try {
    return plan_of(config, source);
  } catch (const Error& error) {
    if (error.retry() != Retry::needs_operator) throw;
    return {};
  }
}

}  // namespace

int command_check(const Options& options) {
  auto config = load(options, {true, false});
  auto connection = open_source(config);
  connection.set_patience(patience);
  source::PreflightRequest request{pipeline::publication_spec(config),
                                   config.slot.name,
                                   config.slot.create,
                                   config.slot.failover,
                                   config.snapshot.enabled,
                                   config.name};
  std::optional<ProgressLine> line("looking at the source");
  auto results = source::preflight(connection, request);
  std::vector<PlannedTable> plan;
  if (config.target.given()) plan = plan_if_possible(config, connection);
  if (config.target.kind == "postgres") look_at_server(config, connection, results, plan);
  if (config.target.kind == "duckdb") {
    std::optional<Checkpoint> checkpoint;
    auto file = check_duckdb(config, plan, checkpoint);
    auto start = check_start(config, connection, checkpoint, results);
    if (checkpoint) std::ranges::move(check_chosen_types(config, connection), std::back_inserter(start));
    std::ranges::move(file, std::back_inserter(results));
    std::ranges::move(start, std::back_inserter(results));
  }
  line.reset();
  if (stop_signal().requested()) throw Error(Retry::transient, "it was stopped before everything was checked");
  if (options.json)
    print_json(results, plan);
  else
    print_text(results, plan);
  return std::ranges::any_of(results, is_failed) ? exit_differs : exit_ok;
}

}  // namespace tailrace::cli
