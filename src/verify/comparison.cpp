#include "verify/comparison.h"

#include <algorithm>
#include <thread>

#include "base/sql_text.h"
#include "verify/as_shown.h"
#include "verify/sql_table.h"

namespace tailrace::verify {
namespace {

constexpr std::uint64_t most_rows_read_again = 50'000;

class TableComparison {
 public:
  TableComparison(pg::Connection& source, const schema::Table& table, target::TargetView& view,
                  const StopSignal& stop, const Around& around,
                  const std::function<void(std::int64_t)>& counted)
      : here_(source, {table.oid, table.schema, table.name, table.partitioned}, table.row_filter, around),
        table_(table),
        view_(view),
        stop_(stop),
        counted_(counted) {
    if (auto there = view.queryable(table.oid)) there_.emplace(*there->connection, there->table, "");
  }

  Comparison run();

 private:
  template <typename Here, typename There>
  void on_both(const Here& here, const There& there);
  BucketChoice sum_there(const ChecksumPlan& plan);
  BucketChoice sum_here();
  void name_differences(const ShownRows& only_here, const ShownRows& only_there);
  void count_the_rest(const BucketChoice& choice);

  SqlTable here_;
  std::optional<SqlTable> there_;
  const schema::Table& table_;
  target::TargetView& view_;
  const StopSignal& stop_;
  const std::function<void(std::int64_t)>& counted_;
  AsShown as_shown_;
  Comparison out_;
};

/// Works on both sides at once, the source's on a thread of its own. Where one side fails, the other is not
/// waited for longer than it takes to be told.
template <typename Here, typename There>
void TableComparison::on_both(const Here& here, const There& there) {
  std::exception_ptr failed;
  {
    std::jthread reading([&] {
      try {
        here();
      } catch (...) {
        failed = std::current_exception();
      }
    });
    there();
  }
  if (failed) std::rethrow_exception(failed);
}

Comparison TableComparison::run() {
  out_.report.table = table_.qualified();
  auto shape = common_shape(table_, view_, out_.report);
  if (!shape) return std::move(out_);
  out_.shape = std::move(*shape);
  as_shown_ = AsShown(view_.shown(table_.oid));
  out_.report.differing.rows = 0;
  // A server that hashes otherwise would show a difference in every row.
  bool alike = there_ && here_.dialect() == there_->dialect();
  ShownRows only_here(out_.shape);
  ShownRows only_there(out_.shape);
  auto show_here = [&](const Row& row) { only_here.add(row); };
  auto show_there = [&](const Row& row) { only_there.add(row); };
  BucketChoice choice;
  if (alike) {
    ChecksumPlan plan(table_, out_.shape);
    choice = sum_there(plan);
    if (!choice.any) return std::move(out_);
    auto condition = in_buckets(plan, choice.buckets);
    on_both([&] { here_.read(out_.shape.columns, condition, stop_, show_here); },
            [&] { there_->read(out_.shape.columns, condition, stop_, show_there); });
  } else {
    choice = sum_here();
    if (!choice.any) return std::move(out_);
    std::string scratch;
    std::string other_scratch;
    auto if_chosen = [&](const Row& row, std::string& with, const auto& visit) {
      if (choice.buckets[bucket_of(row, out_.shape, with)]) visit(row);
    };
    on_both(
        [&] {
          here_.read(out_.shape.columns, "", stop_, [&](const Row& row) {
            as_shown_(row, [&](const Row& shown) { if_chosen(shown, scratch, show_here); });
          });
        },
        [&] {
          view_.scan(table_.oid, [&](const Row& row) {
            if (stop_.requested()) throw StopRequested();
            if_chosen(row, other_scratch, show_there);
          });
        });
  }
  out_.report.equal = false;
  name_differences(only_here, only_there);
  if (!choice.whole) count_the_rest(choice);
  return std::move(out_);
}

/// Each server sums up its own rows.
BucketChoice TableComparison::sum_there(const ChecksumPlan& plan) {
  TableDigest here(out_.shape, plan.buckets);
  TableDigest there(out_.shape, plan.buckets);
  on_both([&] { here_.sum(plan, here, stop_, counted_); },
          [&] { there_->sum(plan, there, stop_, [](std::int64_t) {}); });
  out_.report.source_rows = here.rows();
  out_.report.target_rows = there.rows();
  return here.differing(there, most_rows_read_again);
}

/// The rows of both sides are brought here.
BucketChoice TableComparison::sum_here() {
  constexpr std::int64_t told_every = 4096;
  TableDigest here(out_.shape);
  TableDigest there(out_.shape);
  auto add_here = [&](const Row& row) {
    as_shown_(row, [&](const Row& shown) { here.add(shown); });
    if (here.rows() % told_every == 0) counted_(told_every);
  };
  auto add_there = [&](const Row& row) {
    there.add(row);
    if (there.rows() % told_every == 0 && stop_.requested()) throw StopRequested();
  };
  on_both([&] { here_.read(out_.shape.columns, "", stop_, add_here); },
          [&] { view_.scan(table_.oid, add_there); });
  counted_(here.rows() % told_every);
  out_.report.source_rows = here.rows();
  out_.report.target_rows = there.rows();
  return here.differing(there, most_rows_read_again);
}

std::string without_mark(const std::string& text) {
  return text.substr(0, text.rfind(shown_mark));
}

std::vector<std::string> rows_of(const ShownRows& rows, const std::string& key) {
  std::vector<std::string> out;
  auto [from, to] = rows.rows().equal_range(key);
  for (auto at = from; at != to; ++at) out.push_back(at->second);
  std::ranges::sort(out);
  return out;
}

void TableComparison::name_differences(const ShownRows& only_here, const ShownRows& only_there) {
  std::vector<std::string> keys;
  for (const auto* side : {&only_here, &only_there}) {
    for (const auto& [key, row] : side->rows()) keys.push_back(key);
  }
  std::ranges::sort(keys);
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  for (auto& key : keys) {
    auto here = rows_of(only_here, key);
    auto there = rows_of(only_there, key);
    std::vector<std::string> more_here;
    std::vector<std::string> more_there;
    std::ranges::set_difference(here, there, std::back_inserter(more_here));
    std::ranges::set_difference(there, here, std::back_inserter(more_there));
    if (more_here.empty() && more_there.empty()) continue;
    auto& differing = out_.report.differing.rows;
    for (std::size_t i = 0; i < std::max(more_here.size(), more_there.size()); ++i) {
      if (++differing > static_cast<std::int64_t>(shown_differences)) continue;
      out_.report.differences.push_back({out_.report.table, shown_key(key, out_.shape),
                                         i < more_here.size() ? without_mark(more_here[i]) : "",
                                         i < more_there.size() ? without_mark(more_there[i]) : ""});
    }
    out_.keys.push_back(std::move(key));
  }
}

/// Only some of the rows that differ were looked at.
void TableComparison::count_the_rest(const BucketChoice& choice) {
  auto& differing = out_.report.differing;
  auto surplus = std::abs(out_.report.source_rows - out_.report.target_rows);
  auto about = keys_in_buckets(choice.differing, choice.buckets.size());
  differing.rows =
      std::max({differing.rows, surplus, static_cast<std::int64_t>(choice.differing), about.value_or(0)});
  differing.counted = about ? Counted::about : Counted::at_least;
}

}  // namespace

std::optional<RowShape> common_shape(const schema::Table& table, const target::TargetView& view,
                                     TableReport& report) {
  RowShape shape;
  auto records = view.tables();
  auto record = std::ranges::find(records, table.oid, &target::TableRecord::oid);
  if (record == records.end()) {
    report.equal = false;
    report.differences.push_back({report.table, "the table", "is there", ""});
    return std::nullopt;
  }
  for (const auto& column : record->columns) shape.columns.push_back(column.name);
  auto differs = [&](const std::string& column, const char* source, const char* target) {
    report.equal = false;
    report.differences.push_back({report.table, "column " + column, source, target});
  };
  for (const auto& column : table.columns) {
    auto at = std::ranges::find(shape.columns, column.name);
    if (at == shape.columns.end()) {
      differs(column.name, "is there", "");
    } else if (column.is_key) {
      shape.key.push_back(static_cast<std::size_t>(at - shape.columns.begin()));
    }
  }
  bool readable = true;
  for (const auto& name : shape.columns) {
    if (std::ranges::find(table.columns, name, &schema::Column::name) != table.columns.end()) continue;
    differs(name, "", "is there");
    readable = false;
  }
  if (!readable) return std::nullopt;
  return shape;
}

Comparison compare_table(pg::Connection& source, const schema::Table& table, target::TargetView& view,
                         const StopSignal& stop, const Around& around,
                         const std::function<void(std::int64_t)>& counted) {
  return TableComparison(source, table, view, stop, around, counted).run();
}

}  // namespace tailrace::verify
