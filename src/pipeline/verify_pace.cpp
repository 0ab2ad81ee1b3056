#include "pipeline/verify_pace.h"

#include <algorithm>

namespace tailrace::pipeline {

constexpr double shortest_time = 1;  // of anything shorter a rate says nothing

VerifyPace::VerifyPace(const std::vector<schema::Table>& tables,
                       const std::vector<std::pair<Oid, std::string>>& wanted) {
  for (const auto& [oid, name] : wanted) {
    auto table = std::ranges::find(tables, oid, &schema::Table::oid);
    awaited_[oid] = table == tables.end() ? -1 : table->estimated_rows;
  }
}

void VerifyPace::begin(Oid table) {
  pause();
  now_ = table;
  rows_of_it_ = 0;
  since_ = Clock::now();
}

void VerifyPace::count(std::int64_t rows) {
  rows_ += rows;
  rows_of_it_ += rows;
}

void VerifyPace::pause() {
  seconds_before_ = comparing();
  now_ = 0;
}

void VerifyPace::done(Oid table) {
  awaited_.erase(table);
}

double VerifyPace::comparing() const {
  double now = now_ == 0 ? 0 : std::chrono::duration<double>(Clock::now() - since_).count();
  return seconds_before_ + now;
}

double VerifyPace::per_second() const {
  double seconds = comparing();
  return seconds < shortest_time ? -1 : static_cast<double>(rows_) / seconds;
}

double VerifyPace::seconds_left() const {
  double rate = per_second();
  if (rate <= 0) return -1;
  std::int64_t left = 0;
  for (const auto& [table, rows] : awaited_) {
    if (rows < 0) return -1;
    left += std::max<std::int64_t>(table == now_ ? rows - rows_of_it_ : rows, 0);
  }
  return static_cast<double>(left) / rate;
}

}  // namespace tailrace::pipeline
