#pragma once
// Sequence: what a sequence is and where it stands; how far another one must go to be ahead of it.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/lsn.h"
#include "pg/connection.h"

namespace tailrace::schema {

/// Where a sequence stands: nextval() gives the number after `last`, or, before the first call, `last` itself.
struct SequenceValue {
  std::int64_t last = 1;
  bool called = false;

  bool operator==(const SequenceValue&) const = default;
};

struct Sequence {
  Oid oid = 0;
  std::string schema;
  std::string name;
  std::int64_t increment = 1;
  std::int64_t least = 1;
  std::int64_t most = INT64_MAX;
  bool cycles = false;
  bool readable = true;  ///< we may read it (SELECT); else `value` means nothing
  bool writable = true;  ///< we may set it (UPDATE)
  SequenceValue value;

  std::string qualified() const { return schema + "." + name; }
};

/// The sequences that belong to these tables: those of their columns, those that their defaults use, and what
/// their schemas hold and no other table owns. By schema and name, with their values at this moment: sequences
/// know no snapshots. Leaves no transaction open; waits `patience` for a lock at most, then Error (55P03).
std::vector<Sequence> read_sequences_of(pg::Connection& source, const std::vector<Oid>& tables,
                                        std::chrono::milliseconds patience);
/// Those of these names that there are, in the order of the names.
std::vector<Sequence> read_sequences_named(pg::Connection& target,
                                           const std::vector<std::pair<std::string, std::string>>& names,
                                           std::chrono::milliseconds patience);

/// What `target` must be set to so that its next number is `margin` increments beyond what `source` gives next;
/// within the target's bounds. nullopt: it is there already, or further. Pure.
std::optional<SequenceValue> value_ahead(const Sequence& source, const Sequence& target, std::int64_t margin);

/// Sets a sequence; with `unless_beyond`, only if it is not beyond that value by now. Waits for a lock as
/// reading does.
void set_sequence(pg::Connection& connection, const Sequence& target, SequenceValue value, bool unless_beyond,
                  std::chrono::milliseconds patience);
/// The statement for it. Pure.
std::string set_sequence_sql(const Sequence& target, SequenceValue value, bool unless_beyond);

}  // namespace tailrace::schema
