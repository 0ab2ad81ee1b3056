#include "target/postgres/row_writer.h"

namespace tailrace::target::postgres {

std::vector<Value> values_of(const TupleData& tuple) {
  std::vector<Value> out(tuple.column_count);
  TupleWalker walker(tuple);
  for (auto& value : out) value = walker.next();
  return out;
}

void RowWriter::start() {
  slots_.clear();
  texts_.clear();
}

void RowWriter::add(const Value& value) {
  TAILRACE_CHECK(value.kind != ValueKind::unchanged);
  slots_.push_back({value, texts_.size()});
  if (value.kind == ValueKind::text) texts_.append(value.bytes).push_back('\0');
}

void RowWriter::add_finder(std::span<const Value> before) {
  if (plan_.key.empty()) {
    for (const auto& value : before) add(value);
  } else {
    for (std::size_t column : plan_.key) add(before[column]);
  }
}

const std::vector<pg::Parameter>& RowWriter::parameters() {
  parameters_.clear();
  for (const auto& slot : slots_) {
    bool binary = slot.value.kind == ValueKind::binary;
    const char* data = binary ? slot.value.bytes.data() : texts_.data() + slot.text_at;
    // An empty binary value may have no bytes to point at, and null means NULL.
    if (data == nullptr) data = "";
    if (slot.value.kind == ValueKind::null) data = nullptr;
    parameters_.push_back({data, static_cast<int>(slot.value.bytes.size()), binary});
  }
  return parameters_;
}

void RowWriter::insert(std::span<const Value> row, Lsn commit_lsn) {
  start();
  for (const auto& value : row) add(value);
  session_.change(plan_.oid, "the INSERT", commit_lsn, plan_.insert_sql(), parameters());
}

void RowWriter::update(std::span<const Value> before, std::span<const Value> row, bool key_too,
                       Lsn commit_lsn) {
  start();
  ColumnSet set(row.size());
  bool any = false;
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (row[i].kind == ValueKind::unchanged || !plan_.assignable(i) || (!key_too && plan_.is_key(i))) continue;
    set[i] = any = true;
    add(row[i]);
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
    add(before[column]);
  }
  for (std::size_t i : plan_.fixed) add(row[i]);
  add_finder(before);
  session_.change(plan_.oid, "the UPDATE", commit_lsn, plan_.update_sql(set), parameters());
}

void RowWriter::remove(std::span<const Value> before, Lsn commit_lsn) {
  start();
  add_finder(before);
  session_.change(plan_.oid, "the DELETE", commit_lsn, plan_.delete_sql(), parameters());
}

void RowWriter::change(const Change& change, Lsn commit_lsn) {
  switch (change.kind) {
    case ChangeKind::insert: return insert(values_of(change.new_tuple), commit_lsn);
    case ChangeKind::remove: return remove(values_of(change.old_tuple), commit_lsn);
    case ChangeKind::update: {
      auto row = values_of(change.new_tuple);
      if (!change.old_tuple.present()) return update(row, row, false, commit_lsn);
      auto before = values_of(change.old_tuple);
      for (std::size_t i = 0; i < row.size(); ++i) {
        // A large value that did not change is in the old row, where that is whole.
        bool in_old = change.old_kind == OldTuple::full || plan_.is_key(i);
        if (row[i].kind == ValueKind::unchanged && in_old) row[i] = before[i];
      }
      return update(before, row, true, commit_lsn);
    }
    case ChangeKind::truncate:
    case ChangeKind::message: TAILRACE_CHECK(false);
  }
}

}  // namespace tailrace::target::postgres
