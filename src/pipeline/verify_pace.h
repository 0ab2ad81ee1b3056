#pragma once
// VerifyPace: how fast rows are compared, and how long it will take for all tables.

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "schema/table.h"

namespace tailrace::pipeline {

/// One thread at a time.
class VerifyPace {
 public:
  VerifyPace() = default;
  VerifyPace(const std::vector<schema::Table>& tables, const std::vector<std::pair<Oid, std::string>>& wanted);

  void begin(Oid table);  ///< also for one that is compared again
  void count(std::int64_t rows);
  void pause();  ///< until the next begin()
  void done(Oid table);

  double per_second() const;    ///< -1 unknown
  double seconds_left() const;  ///< of all that are not done; -1 unknown

 private:
  using Clock = std::chrono::steady_clock;

  double comparing() const;

  std::map<Oid, std::int64_t> awaited_;  ///< rows by estimate; -1 unknown
  Oid now_ = 0;
  std::int64_t rows_of_it_ = 0;
  Clock::time_point since_;
  double seconds_before_ = 0;  ///< that were spent with comparing, without what was waited for
  std::int64_t rows_ = 0;      ///< compared in that time
};

}  // namespace tailrace::pipeline
