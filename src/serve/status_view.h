#pragma once
// StatusView: a Status as text for a terminal. Pure.

#include <string>

#include "pipeline/status.h"

namespace tailrace::serve {

struct ViewOptions {
  bool colour = false;
  std::size_t width = 100;     ///< columns of the terminal
  std::size_t max_tables = 0;  ///< rows of the table list at most, the busiest first; 0: all, by name
  PgTimestamp now;
};

/// Several lines, each with its line break and none wider than the terminal.
std::string render_status(const pipeline::Status& status, const ViewOptions& options);

/// How far the copy is, over all tables.
struct CopyProgress {
  std::size_t tables_done = 0;
  std::size_t tables = 0;
  std::int64_t rows = 0;
  std::int64_t bytes = 0;
  double fraction = 0;  ///< 0 to 1, weighted by the tables' sizes; an estimate
};

CopyProgress copy_progress(const pipeline::Status& status);

/// "comparing public.orders, 1,234,567 of about 10,000,000 rows, table 2 of 5"
std::string verify_text(const pipeline::VerifyStatus& verify);

/// "copying: 3 of 12 tables, 1,234,567 rows, 120 MB, 34 %" or "streaming: lag 0.2 s, ...". Rates per second
/// and time left are left out when negative.
std::string render_line(const pipeline::Status& status, double rows_per_second, double seconds_left);

}  // namespace tailrace::serve
