#include "cli/verify_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/printable.h"
#include "serve/human.h"

namespace tailrace::cli {

std::string differing_rows(std::int64_t rows, verify::Counted counted) {
  std::string how = counted == verify::Counted::exactly ? "" : fmt::format("{} ", verify::to_string(counted));
  return how + serve::human_number(rows, "row");
}

void print_table(const pipeline::VerifyTable& table) {
  if (!table.held.empty())
    return fmt::print("HELD     {}  {}\n", serve::pad_right(printable(table.table), 40), printable(table.held));
  auto total = table.mended.total();
  fmt::print("{}  {}  source {} rows, target {} rows",
             !table.equal ? "DIFFERS"
             : total > 0  ? "mended "
                          : "equal  ",
             serve::pad_right(printable(table.table), 40), serve::human_count(table.source_rows),
             serve::human_count(table.target_rows));
  if (table.differing.rows > 0)
    fmt::print("; {} {}", differing_rows(table.differing.rows, table.differing.counted),
               table.equal ? "differed" : "differ");
  if (total > 0) {
    fmt::print("; at the target {} inserted, {} updated, {} deleted", serve::human_count(table.mended.inserted),
               serve::human_count(table.mended.updated), serve::human_count(table.mended.deleted));
  }
  fmt::print("\n");
  for (const auto& difference : table.differences)
    fmt::print("           {}\n             source: {}\n             target: {}\n", printable(difference.key),
               difference.source_row.empty() ? "(no such row)" : printable(difference.source_row),
               difference.target_row.empty() ? "(no such row)" : printable(difference.target_row));
  auto more = table.differing.rows - static_cast<std::int64_t>(verify::shown_differences);
  if (more > 0 && !table.differences.empty())
    fmt::print("           ... and {} more\n", differing_rows(more, table.differing.counted));
}

void print_report(const pipeline::VerifyReport& report, double seconds, bool repaired) {
  for (const auto& table : report.tables) print_table(table);
  auto found = verify::sum_up(report);
  auto tables = static_cast<std::int64_t>(report.tables.size());
  fmt::print("\n{} at {}: {} compared", report.equal ? "equal" : "NOT EQUAL", report.lsn.str(),
             serve::human_number(tables - found.held, "table"));
  if (found.tables > found.held)
    fmt::print(", {} of them differ{}", found.tables - found.held,
               found.rows == 0 ? "" : fmt::format(", in {}", differing_rows(found.rows, found.counted)));
  if (found.held > 0) fmt::print(", {} held and not compared", found.held);
  fmt::print("; {} in {}\n", serve::human_number(found.compared_rows, "row"), serve::human_duration(seconds));
  if (repaired && !report.equal)
    fmt::print("Not all could be mended; 'tailrace run --recopy SCHEMA.TABLE' copies a table anew\n");
}

}  // namespace tailrace::cli
