#include "pipeline/left_out.h"

#include <fmt/format.h>

namespace tailrace::pipeline {
namespace {

const char* noun(ChangeKind kind) {
  switch (kind) {
    case ChangeKind::insert: return "INSERT";
    case ChangeKind::update: return "UPDATE";
    case ChangeKind::remove: return "DELETE";
    case ChangeKind::truncate: return "TRUNCATE";
    case ChangeKind::message: break;
  }
  return "message";
}

}  // namespace

LeftOut::LeftOut(const std::vector<target::SkipNote>& notes) {
  for (const auto& note : notes)
    if (note.state == "waiting") waiting_.insert(note.commit_lsn);
}

void LeftOut::add(const ChangeBatch& batch, const TransactionSpan& transaction) {
  if (transaction.begins) counts_.clear();
  for (std::size_t i = 0; i < transaction.change_count; ++i) {
    const Change& change = batch.changes[transaction.first_change + i];
    if (change.kind == ChangeKind::message) continue;
    if (change.kind != ChangeKind::truncate) {
      ++counts_[batch.relations[change.index]->qualified()][change.kind];
      continue;
    }
    for (auto relation : batch.truncates[change.index].relations)
      ++counts_[batch.relations[relation]->qualified()][change.kind];
  }
}

std::string LeftOut::finish(Lsn commit_lsn) {
  std::string out;
  for (const auto& [table, kinds] : counts_) {
    out += fmt::format("{}{}:", out.empty() ? "" : "; ", table);
    for (const auto& [kind, count] : kinds) out += fmt::format(" {} {}", count, noun(kind));
  }
  counts_.clear();
  waiting_.erase(commit_lsn);
  return out.empty() ? "no changes" : out;
}

std::vector<Lsn> LeftOut::take_missed(Lsn progress) {
  std::vector<Lsn> out(waiting_.begin(), waiting_.lower_bound(progress));
  waiting_.erase(waiting_.begin(), waiting_.lower_bound(progress));
  return out;
}

}  // namespace tailrace::pipeline
