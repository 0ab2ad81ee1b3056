#include "target/postgres/conflict_log.h"

#include <utility>

namespace tailrace::target::postgres {
namespace {

// A million conflicts must not become a million lines.
constexpr std::size_t most_lines = 20;
constexpr auto window = std::chrono::seconds(10);
constexpr std::size_t longest_key = 200;

}  // namespace

std::string Conflict::str() const {
  auto shown = key;
  if (shown.size() > longest_key) {
    // Not in the middle of a character.
    auto end = longest_key;
    while (end > 0 && (static_cast<unsigned char>(shown[end]) & 0xC0) == 0x80) --end;
    shown = shown.substr(0, end) + "...";
  }
  return fmt::format("{} on {}, key {}{}{}; the source's transaction at {} of {}", to_string(kind), relation,
                     shown, indexes.empty() ? "" : ", unique index " + indexes,
                     local.empty() ? "" : fmt::format(", the row here is {}", local), commit_lsn.str(),
                     commit_time.str());
}

void ConflictLog::note(Oid table, Conflict conflict) {
  ++pending_counts_[table][static_cast<std::size_t>(conflict.kind)];
  ++pending_total_;
  if (pending_.size() < most_lines) pending_.push_back(std::move(conflict));
}

void ConflictLog::committed() {
  if (pending_total_ == 0 && untold_ == 0) return;
  auto now = std::chrono::steady_clock::now();
  if (now - window_ >= window) {
    if (untold_ > 0)
      log::write(level_, "conflict", fmt::format("{} more conflicts were not told of one by one", untold_));
    untold_ = 0;
    lines_ = 0;
    window_ = now;
  }
  std::int64_t told = 0;
  for (const auto& conflict : pending_) {
    if (lines_ == most_lines) break;
    log::write(
        level_, "conflict", fmt::format("{}: {}", conflict.str(), conflict.resolution),
        {{"table", conflict.relation}, {"lsn", conflict.commit_lsn.str()}, {"kind", to_string(conflict.kind)}});
    ++lines_;
    ++told;
  }
  untold_ += pending_total_ - told;
  for (const auto& [table, counts] : pending_counts_) {
    for (std::size_t i = 0; i < counts.size(); ++i) counts_[table][i] += counts[i];
  }
  rolled_back();
}

void ConflictLog::rolled_back() {
  pending_.clear();
  pending_counts_.clear();
  pending_total_ = 0;
}

std::map<Oid, ConflictCounts> ConflictLog::take_counts() {
  return std::exchange(counts_, {});
}

}  // namespace tailrace::target::postgres
