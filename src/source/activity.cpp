#include "source/activity.h"

#include <fmt/format.h>

namespace tailrace::source {

const char* const activity_columns =
    "a.pid, coalesce(a.usename, ''), coalesce(a.application_name, ''), coalesce(a.datname, ''), "
    "pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - a.xact_start)::pg_catalog.text, "
    "coalesce(a.state, ''), pg_catalog.upper(pg_catalog.\"substring\"(a.query, '^\\s*([A-Za-z]{1,20})'))";

std::string describe_activity(const pg::Result& rows, int row) {
  auto out = fmt::format("pid {} (user {}", rows.str(row, 0), rows.str(row, 1));
  if (!rows.get(row, 2).empty()) out += ", " + rows.str(row, 2);
  if (!rows.get(row, 3).empty()) out += ", database " + rows.str(row, 3);
  if (rows.is_null(row, 4)) return out + "; only pg_read_all_stats sees more)";
  out += ", open for " + rows.str(row, 4);
  if (rows.get(row, 5) != "active") out += ", " + rows.str(row, 5);
  if (!rows.get(row, 6).empty()) out += ": " + rows.str(row, 6);
  return out + ")";
}

}  // namespace tailrace::source
