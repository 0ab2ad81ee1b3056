#include "pipeline/unsaid_changes.h"

#include <algorithm>

#include "base/lsn.h"

namespace tailrace::pipeline {
namespace {

/// PostgreSQL makes no table UNLOGGED that a publication names itself. By a schema, by FOR ALL TABLES, or by
/// its root, it may have been for a while.
bool may_have_been_unlogged(const target::TableRecord& record, const schema::Table& now) {
  return now.partition || (" " + record.membership).find(" r") == std::string::npos;
}

/// The file changed; where the TOAST table did not, only VACUUM FULL, CLUSTER or TRUNCATE can have done it.
std::optional<std::string> judge(const target::TableRecord& record, const schema::Table& now,
                                 const schema::Heap& before, const schema::Heap& after) {
  if (before.toast != 0 && after.toast != 0) {
    if (before.toast == after.toast) return std::nullopt;
    return "its rows were rewritten at the source";
  }
  // Without TOAST tables there is nothing to tell by.
  bool computed = std::ranges::any_of(now.columns, [](const auto& column) { return column.generated; });
  if (!computed && !may_have_been_unlogged(record, now)) return std::nullopt;
  return "its rows may have been rewritten at the source";
}

}  // namespace

Unsaid unsaid_changes(const target::TableRecord& record, const schema::Table& now,
                      std::optional<Xid> truncated_by) {
  Unsaid out;
  auto before = schema::Storage::parse(record.storage);
  // Books of before 05169be's next: what is there now is taken as known.
  if (!before) return out;
  auto give = [&](std::string reason, bool may_be_said) {
    // What no TRUNCATE explains weighs more.
    if (out.reason && (may_be_said || !out.may_be_said)) return;
    out.reason = std::move(reason);
    out.may_be_said = may_be_said;
  };
  for (const auto& heap : before->heaps) {
    const auto* after = now.storage.find(heap.table);
    if (after == nullptr) {
      give("a partition left it, with its rows", false);
    } else if (heap.only_described()) {
      out.newcomers.push_back(heap.table);
    } else if (after->attached != heap.attached) {
      give("a partition left it and came back", false);
    } else if (after->filenode != heap.filenode) {
      // Whatever was before is gone with that TRUNCATE, and nothing has touched the heap since.
      if (truncated_by == after->version) continue;
      if (now.partitioned) {
        give("a partition was truncated or rewritten at the source", true);
      } else if (auto reason = judge(record, now, heap, *after)) {
        give(*reason, after->toast == 0 || heap.toast == 0);
      }
    }
  }
  for (const auto& heap : now.storage.heaps) {
    if (before->find(heap.table) == nullptr) out.newcomers.push_back(heap.table);
  }
  return out;
}

std::string storage_to_record(const target::TableRecord& record, const schema::Storage& now) {
  schema::Storage out{0, now.heaps};
  if (auto before = schema::Storage::parse(record.storage)) {
    out.highest_attnum = before->highest_attnum;
  } else {
    for (const auto& column : record.columns) out.highest_attnum = std::max(out.highest_attnum, column.attnum);
  }
  return out.str();
}

std::optional<std::string> storage_with_leaf(const target::TableRecord& record, Oid leaf) {
  auto storage = schema::Storage::parse(record.storage);
  if (!storage || storage->find(record.oid) != nullptr || storage->find(leaf) != nullptr) return std::nullopt;
  schema::Heap described;
  described.table = leaf;
  auto place = std::ranges::upper_bound(storage->heaps, leaf, {}, &schema::Heap::table);
  storage->heaps.insert(place, std::move(described));
  return storage->str();
}

bool may_be_rewritten(const target::TableRecord& record, Oid filenode, Oid toast) {
  // A partitioned table has no file of its own.
  if (filenode == 0) return true;
  auto before = schema::Storage::parse(record.storage);
  if (!before || before->heaps.empty()) return filenode != record.filenode;
  const auto& heap = before->heaps.front();
  if (heap.toast != 0 && toast != 0) return heap.toast != toast;
  return heap.filenode != filenode;
}

bool has_other_file(const target::TableRecord& record, Oid filenode) {
  if (filenode == 0) return true;
  auto before = schema::Storage::parse(record.storage);
  return filenode != (before && !before->heaps.empty() ? before->heaps.front().filenode : record.filenode);
}

}  // namespace tailrace::pipeline
