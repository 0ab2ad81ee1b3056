#pragma once
// AsShown: rows of the source as the target shows them, where a column there keeps a value's number and not how
// its text is spelled.

#include <string>
#include <vector>

#include "target/target.h"
#include "verify/table_digest.h"

namespace tailrace::verify {

/// One thread.
class AsShown {
 public:
  AsShown() = default;
  explicit AsShown(std::vector<target::TargetView::Shown> columns)
      : columns_(std::move(columns)), texts_(columns_.size()) {}

  /// Hands `visit` the row, as it is shown.
  template <typename Visit>
  void operator()(const Row& row, const Visit& visit) {
    if (columns_.empty()) return visit(row);
    row_ = row;
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (!columns_[i] || !row[i]) continue;
      texts_[i].clear();
      columns_[i](*row[i], texts_[i]);
      row_[i] = texts_[i];
    }
    visit(row_);
  }
  bool changes(std::size_t column) const { return column < columns_.size() && columns_[column]; }

 private:
  std::vector<target::TargetView::Shown> columns_;
  std::vector<std::string> texts_;
  Row row_;
};

}  // namespace tailrace::verify
