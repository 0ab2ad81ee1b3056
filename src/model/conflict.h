#pragma once
// Conflicts: what is found when the target's rows are not what the source's changes expect, what may be done
// about it, and who wins. Kinds are named as PostgreSQL 18 does (documentation: "Conflicts" of logical
// replication). Pure.

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/lsn.h"
#include "model/table_selection.h"

namespace tailrace {

enum class ConflictKind : std::uint8_t {
  insert_exists,
  insert_deleted,  ///< tailrace's own: the row was deleted here later than it was inserted there
  update_origin_differs,
  update_exists,
  update_missing,
  update_deleted,
  delete_origin_differs,
  delete_missing,
  multiple_unique_conflicts,
};
constexpr std::size_t conflict_kinds = 9;

/// How often each kind was met.
using ConflictCounts = std::array<std::int64_t, conflict_kinds>;

enum class ConflictPolicy { error, apply_remote, keep_local, last_update_wins, first_update_wins };
/// For inserts that meet a row; `by_policy`: the other setting decides.
enum class InsertPolicy { by_policy, update, nothing, error };

struct ConflictRules {
  ConflictPolicy policy = ConflictPolicy::apply_remote;
  InsertPolicy inserts = InsertPolicy::by_policy;

  /// Who wins depends on when rows were written.
  bool by_time() const {
    return policy == ConflictPolicy::last_update_wins || policy == ConflictPolicy::first_update_wins;
  }
  bool operator==(const ConflictRules&) const = default;
};

struct ConflictSettings {
  struct Override {
    TablePattern pattern;
    std::optional<ConflictPolicy> policy;
    std::optional<InsertPolicy> inserts;
  };
  ConflictRules rules;
  log::Level log = log::Level::warn;
  bool record = false;  ///< into tailrace.conflicts too
  /// How long it is remembered at the target that a row was deleted; by time only.
  std::chrono::milliseconds keep_deletions = std::chrono::hours(24);
  std::vector<Override> tables;  ///< the last one that matches wins

  ConflictRules rules_for(std::string_view schema, std::string_view table) const;
  /// Any table's policy is.
  bool by_time() const;
  bool is_default() const;
};

/// When a row was written, and by whom: a name that both sides know a writer by, so that they agree on ties.
struct WriteStamp {
  PgTimestamp time;
  std::string writer;

  auto operator<=>(const WriteStamp&) const = default;
};

enum class Resolution {
  apply,  ///< the remote change wins
  keep,   ///< the target's state stays
  stop,
};

/// `local`: of the rows in the way, nothing for a row of which it is not known (older than what the server
/// remembers, or written by the very transaction): it never stands in the way. `inserting`: the change is an
/// INSERT.
Resolution resolve(ConflictKind kind, const ConflictRules& rules, bool inserting, const WriteStamp& remote,
                   std::span<const std::optional<WriteStamp>> local);

/// An UPDATE finds no row. `deletion`: when it was deleted, where that is known.
struct MissingRow {
  ConflictKind kind = ConflictKind::update_missing;
  Resolution resolution = Resolution::keep;  ///< apply: as an INSERT
};
MissingRow resolve_missing(const ConflictRules& rules, const WriteStamp& remote,
                           const std::optional<WriteStamp>& deletion);

/// An INSERT finds that the row was deleted later than it was inserted.
bool deletion_wins(const ConflictRules& rules, const WriteStamp& remote,
                   const std::optional<WriteStamp>& deletion);

std::string_view to_string(ConflictKind kind);
std::string_view to_string(ConflictPolicy policy);
std::string_view to_string(InsertPolicy policy);

}  // namespace tailrace
