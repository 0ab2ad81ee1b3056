#include "pipeline/commit_times.h"

#include <utility>

namespace tailrace::pipeline {

void CommitTimes::add(PgTimestamp commit_time) {
  if (oldest_.micros == 0 || commit_time < oldest_) oldest_ = commit_time;
}

void CommitTimes::commit(Lsn lsn, bool changed) {
  auto oldest = std::exchange(oldest_, {});
  if (changed) commits_.push_back({lsn, oldest, Clock::now()});
}

void CommitTimes::arrived(Lsn lsn) {
  for (auto& commit : commits_) {
    if (lsn < commit.lsn) return;
    if (std::exchange(commit.arrived, true)) continue;
    measures_.commit_duration.observe(std::chrono::duration<double>(Clock::now() - commit.began).count());
  }
}

void CommitTimes::durable(Lsn lsn) {
  if (commits_.empty()) return;
  auto now = PgTimestamp::now();
  for (; !commits_.empty() && commits_.front().arrived && commits_.front().lsn <= lsn; commits_.pop_front()) {
    // A commit of tailrace's own, such as an altered table, has no transaction of the source's in it.
    auto oldest = commits_.front().oldest;
    if (oldest.micros != 0)
      measures_.end_to_end_latency.observe(static_cast<double>(now.micros - oldest.micros) / 1e6);
  }
}

void CommitTimes::roll_back() {
  oldest_ = {};
  std::erase_if(commits_, [](const Commit& commit) { return !commit.arrived; });
}

}  // namespace tailrace::pipeline
