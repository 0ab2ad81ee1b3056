#include "target/postgres/row_writer.h"

namespace tailrace::target::postgres {

std::vector<Value> values_of(const TupleData& tuple) {
  std::vector<Value> out(tuple.column_count);
  TupleWalker walker(tuple);
  for (auto& value : out) value = walker.next();
  return out;
}

UpdateParts update_parts(const TablePlan& plan, const Change& change) {
  auto row = values_of(change.new_tuple);
  if (!change.old_tuple.present()) return {row, row, false};
  auto before = values_of(change.old_tuple);
  for (std::size_t i = 0; i < row.size(); ++i) {
    // A large value that did not change is in the old row, where that is whole.
    bool in_old = change.old_kind == OldTuple::full || plan.is_key(i);
    if (row[i].kind == ValueKind::unchanged && in_old) row[i] = before[i];
  }
  return {std::move(before), std::move(row), true};
}

void RowWriter::add_finder(std::span<const Value> before) {
  if (plan_.key.empty()) {
    for (const auto& value : before) parameters_.add(value);
  } else {
    for (std::size_t column : plan_.key) parameters_.add(before[column]);
  }
}

/// After the row is there: whoever deleted its key before has committed by now, and is seen.
void RowWriter::check_deletions(std::span<const Value> row, Lsn commit_lsn) {
  if (plan_.deletions == nullptr || !plan_.deletions->later_wins || whoever_) return;
  parameters_.clear();
  for (std::size_t column : plan_.key) parameters_.add(row[column]);
  auto time = std::to_string(commit_time_.micros);
  parameters_.add({ValueKind::text, time});
  session_.change(plan_.oid, "the INSERT", commit_lsn, plan_.deletion_check_sql(), parameters_.list());
}

void RowWriter::insert(std::span<const Value> row, Lsn commit_lsn) {
  parameters_.clear();
  for (const auto& value : row) parameters_.add(value);
  session_.change(plan_.oid, "the INSERT", commit_lsn, plan_.insert_sql(), parameters_.list());
  check_deletions(row, commit_lsn);
}

void RowWriter::update(std::span<const Value> before, std::span<const Value> row, bool key_too,
                       Lsn commit_lsn) {
  parameters_.clear();
  ColumnSet set(row.size());
  bool any = false;
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (row[i].kind == ValueKind::unchanged || !plan_.assignable(i) || (!key_too && plan_.is_key(i))) continue;
    set[i] = any = true;
    parameters_.add(row[i]);
  }
  bool new_identity = false;
  for (std::size_t i : plan_.key)
    new_identity |= key_too && !plan_.assignable(i) && row[i].bytes != before[i].bytes;
  if (new_identity) {
    remove(before, commit_lsn);
    return insert(row, commit_lsn);
  }
  // Nothing but the key is there, and that stays: a trigger must see the row nevertheless.
  if (!any) {
    auto column = plan_.key.empty() ? 0 : plan_.key.front();
    if (!plan_.assignable(column)) return;
    set[column] = true;
    parameters_.add(before[column]);
  }
  for (std::size_t i : plan_.fixed) parameters_.add(row[i]);
  add_finder(before);
  session_.change(plan_.oid, "the UPDATE", commit_lsn, plan_.update_sql(set, whoever_), parameters_.list());
  if (key_too) check_deletions(row, commit_lsn);
}

void RowWriter::remove(std::span<const Value> before, Lsn commit_lsn) {
  parameters_.clear();
  add_finder(before);
  session_.change(plan_.oid, "the DELETE", commit_lsn, plan_.delete_sql(whoever_), parameters_.list());
}

void RowWriter::change(const Change& change, Lsn commit_lsn) {
  switch (change.kind) {
    case ChangeKind::insert: return insert(values_of(change.new_tuple), commit_lsn);
    case ChangeKind::remove: return remove(values_of(change.old_tuple), commit_lsn);
    case ChangeKind::update: {
      auto parts = update_parts(plan_, change);
      return update(parts.before, parts.row, parts.key_too, commit_lsn);
    }
    case ChangeKind::truncate:
    case ChangeKind::message: TAILRACE_CHECK(false);
  }
}

}  // namespace tailrace::target::postgres
