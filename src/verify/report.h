#pragma once
// Report: what a comparison found.

#include <cstdint>
#include <string>
#include <string_view>
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

/// How a number of rows was come by. Where more differ than are looked at one by one, it is worked out from how
/// many buckets of the key do.
enum class Counted { exactly, about, at_least };

std::string_view to_string(Counted counted);
/// What is not known is `at_least`.
Counted counted_from(std::string_view text);

/// Rows that differ, of a table: by key, or where there is none, as many as one side has and the other has not.
struct Differing {
  std::int64_t rows = -1;  ///< -1: rows were not compared
  Counted counted = Counted::exactly;
};

struct TableReport {
  std::string table;
  Lsn lsn;  ///< where it was compared
  std::int64_t source_rows = 0;
  std::int64_t target_rows = 0;
  bool equal = true;
  std::vector<Difference> differences;  ///< the first few; of a table that was mended, those that were found
  Mended mended;
  std::string held;     ///< why the target does not follow it, and it was not compared; empty: it was
  Differing differing;  ///< of a table that was mended, and is equal by now: those that were found
};

/// The most rows of a table that Report names.
constexpr std::size_t shown_differences = 20;

struct Report {
  Lsn lsn;  ///< where the last table was compared
  bool equal = false;
  std::vector<TableReport> tables;
  std::string error;  ///< why it could not be done; empty if it was
};

/// What still differs, over all tables.
struct DifferingInAll {
  std::int64_t tables = 0;
  std::int64_t held = 0;  ///< of these, how many were not compared
  std::int64_t rows = 0;
  Counted counted = Counted::exactly;
  std::int64_t compared_rows = 0;
};

DifferingInAll sum_up(const Report& report);

}  // namespace tailrace::verify
