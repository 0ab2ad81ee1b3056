#include "model/conflict.h"

#include <algorithm>

namespace tailrace {
namespace {

bool remote_wins(ConflictPolicy policy, const WriteStamp& remote, const std::optional<WriteStamp>& local) {
  if (!local) return true;
  return policy == ConflictPolicy::last_update_wins ? remote >= *local : remote <= *local;
}

}  // namespace

ConflictRules ConflictSettings::rules_for(std::string_view schema, std::string_view table) const {
  ConflictRules out = rules;
  for (const auto& each : tables) {
    if (!each.pattern.matches(schema, table)) continue;
    out.policy = each.policy.value_or(rules.policy);
    out.inserts = each.inserts.value_or(rules.inserts);
  }
  return out;
}

bool ConflictSettings::by_time() const {
  return rules.by_time() || std::ranges::any_of(tables, [](const auto& each) {
           return each.policy && ConflictRules{*each.policy, InsertPolicy::by_policy}.by_time();
         });
}

bool ConflictSettings::is_default() const {
  ConflictSettings fresh;
  return rules == fresh.rules && log == fresh.log && record == fresh.record &&
         keep_deletions == fresh.keep_deletions && tables.empty();
}

Resolution resolve(ConflictKind kind, const ConflictRules& rules, bool inserting, const WriteStamp& remote,
                   std::span<const std::optional<WriteStamp>> local) {
  if (inserting) {
    switch (rules.inserts) {
      case InsertPolicy::by_policy: break;
      case InsertPolicy::update: return Resolution::apply;
      case InsertPolicy::nothing: return Resolution::keep;
      case InsertPolicy::error: return Resolution::stop;
    }
  }
  if (rules.policy == ConflictPolicy::error) return Resolution::stop;
  // There is nothing to delete.
  if (kind == ConflictKind::delete_missing) return Resolution::keep;
  if (rules.policy == ConflictPolicy::apply_remote) return Resolution::apply;
  if (rules.policy == ConflictPolicy::keep_local) return Resolution::keep;
  // Against several rows it must win against each.
  bool wins =
      std::ranges::all_of(local, [&](const auto& row) { return remote_wins(rules.policy, remote, row); });
  return wins ? Resolution::apply : Resolution::keep;
}

MissingRow resolve_missing(const ConflictRules& rules, const WriteStamp& remote,
                           const std::optional<WriteStamp>& deletion) {
  auto kind = deletion ? ConflictKind::update_deleted : ConflictKind::update_missing;
  if (rules.policy == ConflictPolicy::error) return {kind, Resolution::stop};
  if (!rules.by_time()) return {kind, Resolution::keep};
  // Without a word of a deletion, the last update is the last, and nobody knows which was the first.
  if (!deletion)
    return {kind, rules.policy == ConflictPolicy::last_update_wins ? Resolution::apply : Resolution::keep};
  return {kind, remote_wins(rules.policy, remote, deletion) ? Resolution::apply : Resolution::keep};
}

/// Only the last write wins over what came before it: that a row is inserted after it was deleted is ordinary.
bool deletion_wins(const ConflictRules& rules, const WriteStamp& remote,
                   const std::optional<WriteStamp>& deletion) {
  return rules.policy == ConflictPolicy::last_update_wins && deletion && *deletion > remote;
}

std::string_view to_string(ConflictKind kind) {
  switch (kind) {
    case ConflictKind::insert_exists: return "insert_exists";
    case ConflictKind::insert_deleted: return "insert_deleted";
    case ConflictKind::update_origin_differs: return "update_origin_differs";
    case ConflictKind::update_exists: return "update_exists";
    case ConflictKind::update_missing: return "update_missing";
    case ConflictKind::update_deleted: return "update_deleted";
    case ConflictKind::delete_origin_differs: return "delete_origin_differs";
    case ConflictKind::delete_missing: return "delete_missing";
    case ConflictKind::multiple_unique_conflicts: return "multiple_unique_conflicts";
  }
  return "?";
}

std::string_view to_string(ConflictPolicy policy) {
  switch (policy) {
    case ConflictPolicy::error: return "error";
    case ConflictPolicy::apply_remote: return "apply_remote";
    case ConflictPolicy::keep_local: return "keep_local";
    case ConflictPolicy::last_update_wins: return "last_update_wins";
    case ConflictPolicy::first_update_wins: return "first_update_wins";
  }
  return "?";
}

std::string_view to_string(InsertPolicy policy) {
  switch (policy) {
    case InsertPolicy::by_policy: return "by_policy";
    case InsertPolicy::update: return "update";
    case InsertPolicy::nothing: return "nothing";
    case InsertPolicy::error: return "error";
  }
  return "?";
}

}  // namespace tailrace
