#pragma once
// CopyOutcome: what a run or a snapshot that was stopped leaves to be copied.

#include <cstdint>
#include <string>
#include <vector>

#include "pipeline/status.h"
#include "target/target.h"

namespace tailrace::pipeline {

struct CopyOutcome {
  std::int64_t copied = 0;           ///< tables
  std::vector<std::string> missing;  ///< tables, qualified
  bool begun = true;                 ///< false: it was stopped before it was known which there are
  bool structure_missing = false;    ///< indexes, keys and the like of a PostgreSQL target

  bool whole() const { return begun && missing.empty() && !structure_missing; }
};

/// Of a target between two sessions. `board` as the last session left it; `asked`: tables that were to be
/// copied anew, qualified.
CopyOutcome copy_outcome(target::Target& target, const Status& board, const std::vector<std::string>& asked);

/// One sentence: how many tables are copied and which are not.
std::string describe(const CopyOutcome& outcome);

}  // namespace tailrace::pipeline
