#pragma once
// CopyOutcome: what a run or a snapshot that was stopped leaves to be copied.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/status.h"
#include "target/target.h"

namespace tailrace::pipeline {

struct CopyOutcome {
  bool known = false;                ///< false: the target was not reached, or not for long enough to know
  std::int64_t copied = 0;           ///< tables
  std::vector<std::string> missing;  ///< tables, qualified
  bool begun = true;                 ///< false: it was stopped before it was known which there are
  bool structure_missing = false;    ///< indexes, keys and the like of a PostgreSQL target

  bool whole() const { return known && begun && missing.empty() && !structure_missing; }
};

/// What a run copies anew first.
struct Recopy {
  std::vector<std::string> tables;  ///< as SCHEMA.TABLE
  bool all = false;                 ///< everything, also where the slot is lost or gone
};

/// A table of Recopy::tables.
struct AskedCopy {
  std::string name;
  bool known =
      false;  ///< the target has a record under it, which may be a former name, and has marked that one
};

/// Of a target between two sessions, whose connection may be lost. `board` as the last session left it;
/// `structure_complete`: null where nobody can say.
CopyOutcome copy_outcome(const target::Target& target, const Status& board, const Recopy& asked,
                         std::optional<bool> structure_complete);

/// One sentence: how many tables are copied and which are not.
std::string describe(const CopyOutcome& outcome);

}  // namespace tailrace::pipeline
