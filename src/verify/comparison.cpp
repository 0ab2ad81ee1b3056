#include "verify/comparison.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <thread>

#include "base/sql_text.h"
#include "pg/copy_stream.h"
#include "pg/copy_text.h"
#include "verify/table_digest.h"

namespace tailrace::verify {
namespace {

constexpr std::size_t shown_differences = 20;

void check_stop(const StopSignal& stop) {
  if (stop.requested()) throw Error(Retry::needs_operator, "the comparison was stopped");
}

/// One row of COPY's text format into fields; those with escapes are kept in `unescaped`.
void split_row(std::string_view line, Row& row, std::vector<std::string>& unescaped) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < row.size(); ++i) {
    auto tab = line.find('\t', at);
    auto field = line.substr(at, tab == std::string_view::npos ? tab : tab - at);
    at = tab == std::string_view::npos ? line.size() : tab + 1;
    if (field == "\\N") {
      row[i].reset();
      continue;
    }
    row[i] = pg::unescape_copy_text(field, unescaped[i]);
  }
}

void read_source(pg::Connection& source, const schema::Table& table, const std::vector<std::string>& columns,
                 const StopSignal& stop, const std::function<void(const Row&)>& visit) {
  std::string list;
  for (const auto& column : columns) list += (list.empty() ? "" : ", ") + quote_identifier(column);
  std::string purpose = "reading " + table.qualified();
  source.query(fmt::format("copy (select {} from {} {}{}) to stdout", list, table.partitioned ? "" : "only",
                           quote_qualified(table.schema, table.name),
                           table.row_filter.empty() ? "" : " where " + table.row_filter),
               purpose);
  pg::CopyStream stream(source, purpose);
  Row row(columns.size());
  std::vector<std::string> unescaped(columns.size());
  std::string_view line;
  std::size_t count = 0;
  while (stream.next_blocking(line)) {
    line.remove_suffix(1);
    split_row(line, row, unescaped);
    visit(row);
    if (++count % 4096 == 0) check_stop(stop);
  }
}

/// Reads both sides at once, the source on a thread of its own.
void read_both(pg::Connection& source, const schema::Table& table, const std::vector<std::string>& columns,
               target::TargetView& view, const StopSignal& stop,
               const std::function<void(const Row&)>& from_source,
               const std::function<void(const Row&)>& from_target) {
  std::exception_ptr failed;
  {
    std::jthread reading([&] {
      try {
        read_source(source, table, columns, stop, from_source);
      } catch (...) {
        failed = std::current_exception();
      }
    });
    std::size_t count = 0;
    view.scan(table.oid, [&](const Row& row) {
      from_target(row);
      if (++count % 4096 == 0) check_stop(stop);
    });
  }
  if (failed) std::rethrow_exception(failed);
}

std::string without_mark(const std::string& text) {
  return text.substr(0, text.find('\x1f'));
}

void name_differences(const DifferingRows& source, const DifferingRows& target, TableReport& report) {
  auto add = [&](const std::string& key, std::string source_row, std::string target_row) {
    if (report.differences.size() < shown_differences) {
      report.differences.push_back({report.table, key, std::move(source_row), std::move(target_row)});
    }
  };
  auto rows_of = [](const DifferingRows& rows, const std::string& key) {
    std::vector<std::string> out;
    auto [from, to] = rows.rows().equal_range(key);
    for (auto at = from; at != to; ++at) out.push_back(at->second);
    std::sort(out.begin(), out.end());
    return out;
  };
  std::vector<std::string> keys;
  for (const auto& [key, row] : source.rows()) keys.push_back(key);
  for (const auto& [key, row] : target.rows()) keys.push_back(key);
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  for (const auto& key : keys) {
    auto here = rows_of(source, key);
    auto there = rows_of(target, key);
    std::vector<std::string> only_here;
    std::vector<std::string> only_there;
    std::set_difference(here.begin(), here.end(), there.begin(), there.end(), std::back_inserter(only_here));
    std::set_difference(there.begin(), there.end(), here.begin(), here.end(), std::back_inserter(only_there));
    for (std::size_t i = 0; i < std::max(only_here.size(), only_there.size()); ++i) {
      add(key, i < only_here.size() ? without_mark(only_here[i]) : "",
          i < only_there.size() ? without_mark(only_there[i]) : "");
    }
  }
}

}  // namespace

TableReport compare_table(pg::Connection& source, const schema::Table& table, target::TargetView& view,
                          const StopSignal& stop) {
  TableReport report;
  report.table = table.qualified();
  RowShape shape;
  for (const auto& record : view.tables()) {
    if (record.oid != table.oid) continue;
    for (const auto& column : record.columns) shape.columns.push_back(column.name);
  }
  for (const auto& column : table.columns) {
    auto at = std::find(shape.columns.begin(), shape.columns.end(), column.name);
    if (at == shape.columns.end()) {
      report.equal = false;
      report.differences.push_back({report.table, "column " + column.name, "is there", ""});
    } else if (column.is_key) {
      shape.key.push_back(static_cast<std::size_t>(at - shape.columns.begin()));
    }
  }
  for (const auto& name : shape.columns) {
    bool known =
        std::any_of(table.columns.begin(), table.columns.end(), [&](const auto& c) { return c.name == name; });
    if (known) continue;
    report.equal = false;
    report.differences.push_back({report.table, "column " + name, "", "is there"});
    return report;
  }
  TableDigest here(shape);
  TableDigest there(shape);
  read_both(
      source, table, shape.columns, view, stop, [&](const Row& row) { here.add(row); },
      [&](const Row& row) { there.add(row); });
  report.source_rows = here.rows();
  report.target_rows = there.rows();
  bool any = false;
  auto buckets = here.differing(there, any);
  if (!any) return report;
  report.equal = false;
  DifferingRows only_here(shape, buckets);
  DifferingRows only_there(shape, buckets);
  read_both(
      source, table, shape.columns, view, stop, [&](const Row& row) { only_here.add(row); },
      [&](const Row& row) { only_there.add(row); });
  name_differences(only_here, only_there, report);
  return report;
}

}  // namespace tailrace::verify
