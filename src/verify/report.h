#pragma once
// Report: what a comparison found.

#include <cstdint>
#include <string>
#include <vector>

#include "base/lsn.h"

namespace tailrace::verify {

struct Difference {
  std::string table;
  std::string key;         ///< "id=42", or the whole row where there is no key
  std::string source_row;  ///< empty: missing there
  std::string target_row;
};

/// Rows that were changed in the target so that it equals the source.
struct Mended {
  std::int64_t inserted = 0;
  std::int64_t updated = 0;
  std::int64_t deleted = 0;

  std::int64_t total() const { return inserted + updated + deleted; }
};

struct TableReport {
  std::string table;
  Lsn lsn;  ///< where it was compared
  std::int64_t source_rows = 0;
  std::int64_t target_rows = 0;
  bool equal = true;
  std::vector<Difference> differences;  ///< the first few; of a table that was mended, those that were found
  Mended mended;
  std::string held;  ///< why the target does not follow it, and it was not compared; empty: it was
};

struct Report {
  Lsn lsn;  ///< where the last table was compared
  bool equal = false;
  std::vector<TableReport> tables;
  std::string error;  ///< why it could not be done; empty if it was
};

}  // namespace tailrace::verify
