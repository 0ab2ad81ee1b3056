#include <fmt/format.h>

#include <chrono>

#include "base/printable.h"
#include "cli/find_mirror.h"
#include "cli/source_access.h"
#include "pipeline/bad_changes.h"

namespace tailrace::cli {
namespace {

/// Where the source can be asked.
void check_written(const config::Config& config, Lsn commit_lsn) {
  if (config.source.empty()) {
    fmt::print(stderr,
               "warning: whether the source has come to {} is not known: say SOURCE too, to have it asked\n",
               commit_lsn.str());
    return;
  }
  Lsn written;
  try {
    auto source = open_source(config);
    source.set_patience(std::chrono::seconds(10));
    written =
        source
            .query(
                "select case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn() "
                "else pg_catalog.pg_current_wal_insert_lsn() end",
                "reading the source's position")
            .lsn(0, 0);
  } catch (const Error& error) {
    fmt::print(stderr, "warning: whether the source has come to {} is not known: {}\n", commit_lsn.str(),
               printable(error.message()));
    return;
  }
  pipeline::refuse_skip_ahead(commit_lsn, written);
}

}  // namespace

int command_skip(const Options& options) {
  auto found = find_mirror(options, {false, true});
  auto lsn = Lsn::parse(options.lsn);
  if (!lsn || !lsn->valid()) {
    throw UsageProblems{
        {{"--lsn",
          options.lsn.empty() ? "is missing: give the position that the error names, such as 0/15D6A28"
                              : fmt::format("'{}' is no position such as 0/15D6A28", options.lsn),
          "", 0, 0}}};
  }
  auto client = found.client();
  if (options.forget) {
    if (!client.skip(*lsn, true, stop_signal())) pipeline::take_skip_back(found.config, *lsn);
    fmt::print("forgotten: the source's transaction at {} will be applied\n", lsn->str());
    return exit_ok;
  }
  bool running = client.skip(*lsn, false, stop_signal());
  if (!running) {
    check_written(found.config, *lsn);
    pipeline::note_skip(found.config, *lsn);
  }
  fmt::print("noted: the source's transaction at {} will be left out whole{}\n", lsn->str(),
             running ? "" : " by the next 'tailrace run'");
  fmt::print("'tailrace skip --forget' with the same position takes the note back\n");
  return exit_ok;
}

}  // namespace tailrace::cli
