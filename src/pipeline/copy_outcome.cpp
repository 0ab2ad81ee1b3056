#include "pipeline/copy_outcome.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

namespace tailrace::pipeline {
namespace {

constexpr std::size_t most_names = 10;

/// One that the source lists no more is not missing. Until its lists are known, one that was never whole is,
/// and where `all` are copied anew, each.
bool is_wanted(const target::TableRecord& record, const TableStatus* shown, bool listed, bool all) {
  if (shown != nullptr) return shown->state != TableState::stopped;
  return !listed && (all || !record.copied_at.valid());
}

}  // namespace

CopyOutcome copy_outcome(const target::Target& target, const Status& board, const Recopy& asked,
                         std::optional<bool> structure_complete) {
  auto checkpoint = target.checkpoint();
  bool all = asked.all || (checkpoint && !checkpoint->lsn.valid());
  std::map<std::string, const TableStatus*> shown;
  std::set<std::string> missing;
  std::set<std::string> copied;
  for (const auto& table : board.tables) {
    std::string name = table.schema + "." + table.name;
    shown.emplace(name, &table);
    if (table.state == TableState::pending || table.state == TableState::copying) missing.insert(name);
  }
  for (const auto& record : target.tables()) {
    std::string name = record.qualified();
    auto found = shown.find(name);
    const auto* table = found == shown.end() ? nullptr : found->second;
    bool was_asked = std::ranges::find(asked.tables, name) != asked.tables.end();
    if (record.is_held()) {
      missing.erase(name);
    } else if (record.copied) {
      copied.insert(name);
      missing.erase(name);
    } else if (was_asked || is_wanted(record, table, !shown.empty(), all)) {
      missing.insert(name);
    }
  }
  CopyOutcome out;
  out.copied = static_cast<std::int64_t>(copied.size());
  out.missing.assign(missing.begin(), missing.end());
  out.begun = checkpoint.has_value() || !board.tables.empty() || !missing.empty();
  out.structure_missing = !structure_complete.value_or(true);
  out.known = structure_complete || !out.begun || !out.missing.empty();
  return out;
}

std::string describe(const CopyOutcome& outcome) {
  if (!outcome.known) return "stopped while it is not known what the target has; it could not be asked";
  if (!outcome.begun) return "stopped before the copy began";
  auto all = outcome.copied + static_cast<std::int64_t>(outcome.missing.size());
  if (outcome.missing.empty()) {
    return fmt::format(
        "stopped: all {} tables are copied; not yet: keys, indexes and what else belongs to them", all);
  }
  std::string names;
  for (std::size_t i = 0; i < std::min(outcome.missing.size(), most_names); ++i)
    names += (i == 0 ? "" : ", ") + outcome.missing[i];
  if (outcome.missing.size() > most_names)
    names += fmt::format(" and {} more", outcome.missing.size() - most_names);
  return fmt::format("stopped: {} of {} tables {} copied; not yet: {}", outcome.copied, all,
                     outcome.copied == 1 ? "is" : "are", names);
}

}  // namespace tailrace::pipeline
