#include <fmt/format.h>

#include <chrono>

#include "cli/find_mirror.h"
#include "cli/progress_line.h"
#include "cli/verify_patrol.h"
#include "cli/verify_text.h"
#include "serve/status_json.h"
#include "serve/status_view.h"

namespace tailrace::cli {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// None: all.
std::vector<std::string> chosen(const Verifier& verifier, const Options& options) {
  std::vector<std::string> out;
  if (options.tables.empty()) return out;
  auto tables = chosen_tables(options);
  while (!stop_signal().requested()) {
    auto status = verifier.status();
    if (status && status->state == pipeline::RunState::streaming) {
      for (const auto& table : status->tables) {
        if (is_chosen(table, tables)) out.push_back(table.schema + "." + table.name);
      }
      break;
    }
    if (!status || status->state == pipeline::RunState::failed) break;
    stop_signal().sleep(100ms);
  }
  if (out.empty() && !stop_signal().requested())
    throw Error(Retry::needs_operator, "--table: no table that is followed matches",
                "'tailrace status' lists them");
  return out;
}

int once(const Verifier& verifier, const Options& options) {
  auto began = Clock::now();
  auto report = [&] {
    auto ask = [&]() -> std::optional<std::string> {
      auto status = verifier.status();
      if (!status || !status->verify) return std::nullopt;
      return serve::verify_text(*status->verify);
    };
    ProgressLine progress(ask, "verify", 10s);
    return verifier.compare({chosen(verifier, options), options.repair});
  }();
  if (options.json)
    fmt::print("{}\n", serve::to_json(report));
  else if (report.error.empty())
    print_report(report, std::chrono::duration<double>(Clock::now() - began).count(), options.repair);
  if (!report.error.empty())
    throw Error(Retry::needs_operator, "source and target could not be compared: " + report.error);
  return report.equal ? exit_ok : exit_differs;
}

int work(const Verifier& verifier, const Options& options) {
  return options.continuous ? patrol(verifier, options) : once(verifier, options);
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
