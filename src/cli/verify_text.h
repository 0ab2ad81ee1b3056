#pragma once
// VerifyText: what a comparison found, for people, on standard output.

#include "pipeline/engine.h"

namespace tailrace::cli {

/// One table, with the rows that differ.
void print_table(const pipeline::VerifyTable& table);

/// All tables, and one line that sums it up. `repaired`: it was to be mended.
void print_report(const pipeline::VerifyReport& report, double seconds, bool repaired);

/// "1,998 rows", "about 21,000 rows", "at least 50,000 rows".
std::string differing_rows(std::int64_t rows, verify::Counted counted);

}  // namespace tailrace::cli
