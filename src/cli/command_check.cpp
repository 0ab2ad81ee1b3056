#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>

#include "base/json.h"
#include "base/printable.h"
#include "cli/check_target.h"
#include "cli/command.h"
#include "cli/progress_line.h"
#include "cli/source_access.h"
#include "pg/one_database.h"
#include "pipeline/published_tables.h"
#include "source/preflight.h"

namespace tailrace::cli {
namespace {

using source::CheckResult;
using source::Verdict;

/// With a server that has fallen silent.
constexpr auto patience = std::chrono::seconds(30);

void print_text(const std::vector<CheckResult>& results) {
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
  auto count = [&](Verdict verdict) { return std::ranges::count(results, verdict, &CheckResult::verdict); };
  fmt::print("\n{} passed, {} warnings, {} failed\n", count(Verdict::pass), count(Verdict::warn),
             count(Verdict::fail));
}

void print_json(const std::vector<CheckResult>& results) {
  std::string out;
  for (const CheckResult& result : results)
    out += fmt::format(R"({}  {{"verdict":"{}","title":{},"detail":{},"remedy":{}}})", out.empty() ? "" : ",\n",
                       to_string(result.verdict), json_quote(result.title), json_quote(result.detail),
                       json_quote(result.remedy));
  fmt::print("[\n{}\n]\n", out);
}

void look_at_target(const config::Config& config, pg::Connection& source, std::vector<CheckResult>& results) {
  CheckResult result{Verdict::pass, "target", config.target.url() + " is another database than the source", ""};
  std::vector<CheckResult> user;
  try {
    auto target = pg::Connection::open(config.target.path, {pg::Mode::sql, config.name});
    target.set_patience(patience);
    pg::refuse_one_database(source, target);
    user = check_target_user(config, source, target);
  } catch (const Error& error) {
    result = {Verdict::fail, "target", error.message(), error.remedy()};
  }
  results.push_back(std::move(result));
  std::ranges::move(user, std::back_inserter(results));
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
  if (config.target.kind == "postgres") look_at_target(config, connection, results);
  line.reset();
  if (stop_signal().requested()) throw Error(Retry::transient, "it was stopped before everything was checked");
  if (options.json)
    print_json(results);
  else
    print_text(results);
  return std::ranges::any_of(results, [](const CheckResult& r) { return r.verdict == Verdict::fail; })
             ? exit_differs
             : exit_ok;
}

}  // namespace tailrace::cli
