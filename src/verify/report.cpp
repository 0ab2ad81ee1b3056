#include "verify/report.h"

#include <algorithm>

namespace tailrace::verify {

std::string_view to_string(Counted counted) {
  switch (counted) {
    case Counted::exactly: return "exactly";
    case Counted::about: return "about";
    case Counted::at_least: return "at least";
  }
  return "at least";
}

Counted counted_from(std::string_view text) {
  for (auto counted : {Counted::exactly, Counted::about}) {
    if (text == to_string(counted)) return counted;
  }
  return Counted::at_least;
}

DifferingInAll sum_up(const Report& report) {
  DifferingInAll out;
  for (const auto& table : report.tables) {
    out.compared_rows += table.source_rows;
    if (table.equal) continue;
    ++out.tables;
    if (!table.held.empty()) ++out.held;
    out.rows += std::max<std::int64_t>(table.differing.rows, 0);
    out.counted = std::max(out.counted, table.differing.counted);
  }
  return out;
}

}  // namespace tailrace::verify
