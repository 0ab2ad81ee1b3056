#pragma once
// StatusView: a Status as text for a terminal. Pure.

#include <string>

#include "pipeline/status.h"

namespace tailrace::serve {

struct ViewOptions {
  bool colour = false;
  std::size_t width = 100;    ///< columns of the terminal
  std::size_t max_lines = 0;  ///< of all; then of the tables the troubled and the busy ones first; 0: no limit
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

/// "comparing public.orders, 1,234,567 of about 10,000,000 rows, table 2 of 5, 210,000 rows/s, 41 s left"
std::string verify_text(const pipeline::VerifyStatus& verify);

/// "copying: 3 of 12 tables, 1,234,567 rows, 120 MB, 34 %" or "streaming: lag 0.2 s, ...", with rate and time
/// left where they are known.
std::string render_line(const pipeline::Status& status);

/// "9 tables, 1,812,004 rows, 212 MB in 14 s"
std::string copied_text(const pipeline::CopyDone& done);

}  // namespace tailrace::serve
