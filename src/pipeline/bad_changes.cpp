#include "pipeline/bad_changes.h"

#include "pipeline/followed.h"
#include "pipeline/open_options.h"
#include "target/open_target.h"

namespace tailrace::pipeline {
namespace {

std::unique_ptr<target::Target> open_followed(const config::Config& config) {
  refuse_unfollowed(config);
  auto target = target::open(open_options(config));
  if (target->checkpoint()) return target;
  throw follows_nothing(config);
}

[[noreturn]] void postgres_only(const char* what) {
  throw Error(Retry::needs_operator, fmt::format("{} is for PostgreSQL targets", what));
}

}  // namespace

void note_skip(target::Target& target, Lsn commit_lsn) {
  auto* book = target.skips();
  if (book == nullptr) postgres_only("skip");
  book->note(commit_lsn);
}

void take_skip_back(target::Target& target, Lsn commit_lsn) {
  auto* book = target.skips();
  if (book == nullptr) postgres_only("skip");
  if (book->take_back(commit_lsn)) return;
  throw Error(Retry::needs_operator, fmt::format("no note to leave out {} waits", commit_lsn.str()),
              "'tailrace status' lists the notes; what was left out already stays so");
}

void refuse_skip_ahead(Lsn commit_lsn, Lsn written) {
  if (commit_lsn <= written) return;
  throw Error(Retry::needs_operator,
              fmt::format("nothing has committed at {} yet: the source has written no further than {}",
                          commit_lsn.str(), written.str()),
              "Give the position that the error names: 'the source's transaction at ...'");
}

ReplayReport replay(target::Target& target, const ReplayRequest& request) {
  auto* quarantine = target.quarantine();
  if (quarantine == nullptr) postgres_only("replay");
  ReplayReport out;
  bool found = false;
  auto kept = quarantine->kept_back();
  for (const auto& record : target.tables()) {
    auto name = record.schema + "." + record.name;
    if (!request.table.empty() && name != request.table) continue;
    found = true;
    if (!kept.contains(record.oid)) continue;
    try {
      out.tables.push_back({name, quarantine->replay(record.oid, request.discard)});
    } catch (const Error& error) {
      // What a lost connection left undone is not a refusal.
      if (error.retry() != Retry::needs_operator) throw;
      out.error = error.what();
      return out;
    }
  }
  if (!found && !request.table.empty()) {
    throw Error(Retry::needs_operator, fmt::format("the target has no table {}", request.table),
                "Write it as SCHEMA.TABLE, as 'tailrace status' lists it");
  }
  return out;
}

void note_skip(const config::Config& config, Lsn commit_lsn) {
  note_skip(*open_followed(config), commit_lsn);
}

void take_skip_back(const config::Config& config, Lsn commit_lsn) {
  take_skip_back(*open_followed(config), commit_lsn);
}

ReplayReport replay(const config::Config& config, const ReplayRequest& request) {
  return replay(*open_followed(config), request);
}

}  // namespace tailrace::pipeline
