#include "pipeline/fold.h"

#include <xxhash.h>

#include <utility>

#include "target/target.h"

namespace tailrace::pipeline {
namespace {

constexpr std::size_t first_entries = 64;

std::string_view whole(const TupleData& tuple) {
  return {reinterpret_cast<const char*>(tuple.data), tuple.size};
}

}  // namespace

TableFold::TableFold(std::shared_ptr<const Relation> relation) {
  out_.relation = std::move(relation);
  full_ = out_.relation->identity == ReplicaIdentity::full;
  const auto& columns = out_.relation->columns;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].is_key) key_columns_.push_back(static_cast<std::uint16_t>(i));
  }
  contiguous_key_ =
      !key_columns_.empty() &&
      static_cast<std::size_t>(key_columns_.back() - key_columns_.front() + 1) == key_columns_.size();
}

void TableFold::add(const Change& change) {
  // A server flattens what it sends of the old row. Equal rows and keys could not be told without it.
  if (change.old_tuple.has_unchanged) [[unlikely]]
    contradiction("an old row came without its values");
  switch (change.kind) {
    case ChangeKind::insert:
      ++out_.inserts;
      insert(change.new_tuple);
      return;
    case ChangeKind::update:
      ++out_.updates;
      start_indexing();
      update(change);
      return;
    case ChangeKind::remove:
      ++out_.removes;
      start_indexing();
      remove(change.old_tuple);
      return;
    case ChangeKind::truncate:
    case ChangeKind::message: TAILRACE_CHECK(false);
  }
}

void TableFold::truncate() {
  ++out_.truncates;
  out_.truncate = true;
  out_.deletes.clear();
  out_.rows.clear();
  out_.live_rows = 0;
  entries_.clear();
  entry_count_ = 0;
  indexing_ = false;
}

TableBatch TableFold::finish() && {
  for (const auto& row : out_.rows) {
    if (row.live && row.lookup != no_index) ++out_.rows_to_look_up;
  }
  if (!full_) {
    for (const auto& entry : entries_) {
      if (entry.row != no_index) out_.rows[entry.row].replaces = entry.removed;
    }
  }
  return std::move(out_);
}

std::uint32_t TableFold::add_row(const TupleData& tuple) {
  out_.rows.push_back({.tuple = tuple});
  ++out_.live_rows;
  return static_cast<std::uint32_t>(out_.rows.size() - 1);
}

void TableFold::insert(const TupleData& tuple) {
  // A row filter that starts to match sends an insert whose unchanged TOAST values were never seen here;
  // PostgreSQL's own subscriber turns them into NULL.
  if (tuple.has_unchanged) {
    throw Error(
        Retry::needs_operator,
        fmt::format("a row of {} that began to match its row filter came without its large (TOASTed) values",
                    out_.relation->qualified()),
        fmt::format(
            "PostgreSQL sends them only with ALTER TABLE {} REPLICA IDENTITY FULL; set it. Then copy the "
            "table anew: tailrace run --recopy {}",
            out_.relation->qualified(), out_.relation->qualified()));
  }
  if (!indexing_) {
    add_row(tuple);
    return;
  }
  Entry& entry = find(key_of(tuple));
  if (full_) {
    std::uint32_t row = add_row(tuple);
    out_.rows[row].base = entry.row;
    entry.row = row;
    return;
  }
  if (entry.row != no_index) contradiction("a key is inserted twice");
  entry.row = add_row(tuple);
}

void TableFold::update(const Change& change) {
  if (full_) {
    update_full(change);
  } else {
    update_keyed(change);
  }
}

void TableFold::update_keyed(const Change& change) {
  const TupleData& before = change.old_tuple.present() ? change.old_tuple : change.new_tuple;
  std::string_view old_key = key_of(before);
  Entry* entry = &find(old_key);
  std::uint32_t lookup = no_index;
  std::uint32_t older = std::exchange(entry->row, no_index);
  if (older == no_index) {
    if (entry->removed != no_index || out_.truncate)
      contradiction("a row is updated that is not there any more");
    add_delete(*entry, before);
    lookup = entry->removed;
  }
  TupleData after = change.new_tuple;
  if (after.has_unchanged && change.old_tuple.present()) after = fill_from_old(change);
  if (after.has_unchanged) require_key(after);
  std::string_view new_key = change.old_tuple.present() ? key_of(after) : old_key;
  if (change.old_tuple.present() && new_key != old_key) entry = &find(new_key);
  if (entry->row != no_index) contradiction("an update gives a row a key that another row has");

  if (older != no_index && !after.has_unchanged) {
    out_.rows[older].tuple = after;
    out_.rows[older].base = no_index;
    out_.rows[older].lookup = no_index;
    entry->row = older;
    return;
  }
  std::uint32_t row = add_row(after);
  if (older != no_index) {
    out_.rows[older].live = false;
    --out_.live_rows;
    out_.rows[row].base = older;
    out_.rows[row].lookup = out_.rows[older].lookup;
  } else if (after.has_unchanged) {
    out_.rows[row].lookup = lookup;
  }
  entry->row = row;
}

void TableFold::update_full(const Change& change) {
  if (!change.old_tuple.present())
    contradiction("an update of a table with REPLICA IDENTITY FULL lacks the old row");
  TupleData after = change.new_tuple.has_unchanged ? fill_from_old(change) : change.new_tuple;
  remove(change.old_tuple);
  Entry& entry = find(key_of(after));
  std::uint32_t row = add_row(after);
  out_.rows[row].base = entry.row;
  entry.row = row;
}

void TableFold::require_key(const TupleData& tuple) const {
  TupleWalker columns(tuple);
  for (const auto& column : out_.relation->columns) {
    if (columns.next().kind != ValueKind::unchanged || !column.is_key) continue;
    throw Error(
        Retry::needs_operator,
        fmt::format("a row of {} was updated whose key came without its large (TOASTed) value",
                    out_.relation->qualified()),
        fmt::format(
            "PostgreSQL before 13.6 and 14.2 leaves such keys out: update the server. Then copy the table "
            "anew: tailrace run --recopy {}",
            out_.relation->qualified()));
  }
}

/// Takes values that the new row leaves out from the old one: all of them with REPLICA IDENTITY FULL, else
/// those of the key (a key that is itself TOASTed comes as unchanged; the other columns of a key tuple are
/// absent).
TupleData TableFold::fill_from_old(const Change& change) {
  auto* bytes = out_.arena.allocate(change.old_tuple.size + change.new_tuple.size);
  TupleData filled{bytes, 0, change.new_tuple.column_count, false};
  std::byte* at = bytes;
  TupleWalker old_columns(change.old_tuple);
  TupleWalker new_columns(change.new_tuple);
  for (const auto& column : out_.relation->columns) {
    Value old_value = old_columns.next();
    Value value = new_columns.next();
    if (value.kind == ValueKind::unchanged && (full_ || column.is_key)) value = old_value;
    filled.has_unchanged |= value.kind == ValueKind::unchanged;
    *at++ = static_cast<std::byte>(value.kind);
    if (value.kind == ValueKind::null || value.kind == ValueKind::unchanged) continue;
    store_big_endian(at, static_cast<std::uint32_t>(value.bytes.size()));
    std::memcpy(at + 4, value.bytes.data(), value.bytes.size());
    at += 4 + value.bytes.size();
  }
  filled.size = static_cast<std::uint32_t>(at - bytes);
  return filled;
}

void TableFold::remove(const TupleData& tuple) {
  Entry& entry = find(key_of(tuple));
  if (full_ && entry.row != no_index) {
    FoldedRow& row = out_.rows[entry.row];
    row.live = false;
    --out_.live_rows;
    entry.row = row.base;
    return;
  }
  if (entry.row != no_index) {
    out_.rows[entry.row].live = false;
    --out_.live_rows;
    entry.row = no_index;
    return;
  }
  if (out_.truncate) contradiction("a row is deleted that a TRUNCATE removed before");
  if (!full_ && entry.removed != no_index) contradiction("a row is deleted twice");
  add_delete(entry, tuple);
}

void TableFold::add_delete(Entry& entry, const TupleData& tuple) {
  if (entry.removed != no_index) {
    ++out_.deletes[entry.removed].count;
    return;
  }
  out_.deletes.push_back({tuple, 1});
  entry.removed = static_cast<std::uint32_t>(out_.deletes.size() - 1);
}

void TableFold::start_indexing() {
  if (indexing_) return;
  indexing_ = true;
  if (!full_ && key_columns_.empty()) contradiction("a row without a replica identity is changed");
  for (std::uint32_t i = 0; i < out_.rows.size(); ++i) {
    Entry& entry = find(key_of(out_.rows[i].tuple));
    if (!full_ && entry.row != no_index) contradiction("a key is inserted twice");
    out_.rows[i].base = entry.row;
    entry.row = i;
  }
}

std::string_view TableFold::key_of(const TupleData& tuple) {
  if (full_) return whole(tuple);
  if (!contiguous_key_) return compose_key(tuple);
  TupleWalker columns(tuple);
  for (std::uint16_t i = 0; i < key_columns_.front(); ++i) columns.next();
  const std::byte* begin = columns.position();
  for (std::size_t i = 0; i < key_columns_.size(); ++i) columns.next();
  return {reinterpret_cast<const char*>(begin), static_cast<std::size_t>(columns.position() - begin)};
}

std::string_view TableFold::compose_key(const TupleData& tuple) {
  auto* bytes = out_.arena.allocate(tuple.size);
  std::size_t size = 0;
  TupleWalker columns(tuple);
  std::size_t next_key = 0;
  for (std::uint16_t i = 0; next_key < key_columns_.size(); ++i) {
    const std::byte* begin = columns.position();
    columns.next();
    if (i != key_columns_[next_key]) continue;
    ++next_key;
    auto length = static_cast<std::size_t>(columns.position() - begin);
    std::memcpy(bytes + size, begin, length);
    size += length;
  }
  return {reinterpret_cast<const char*>(bytes), size};
}

TableFold::Entry& TableFold::find(std::string_view key) {
  if (entry_count_ * 2 >= entries_.size()) grow();
  std::uint64_t hash = XXH3_64bits(key.data(), key.size());
  std::size_t mask = entries_.size() - 1;
  for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
    Entry& entry = entries_[at];
    if (!entry.used) {
      entry = {hash, key, no_index, no_index, true};
      ++entry_count_;
      return entry;
    }
    if (entry.hash == hash && entry.key == key) return entry;
  }
}

void TableFold::grow() {
  // The rows seen so far are a good guess of the keys to come when indexing begins late.
  std::size_t size = entries_.empty() ? first_entries : entries_.size() * 4;
  while (size < out_.rows.size() * 2) size *= 2;
  std::vector<Entry> old = std::exchange(entries_, std::vector<Entry>(size));
  std::size_t mask = size - 1;
  for (Entry& entry : old) {
    if (!entry.used) continue;
    std::size_t at = entry.hash & mask;
    while (entries_[at].used) at = (at + 1) & mask;
    entries_[at] = entry;
  }
}

void TableFold::contradiction(const char* what) const {
  throw target::RowsMissing(
      out_.relation->oid, Retry::fatal,
      fmt::format("the changes of {} contradict each other: {}", out_.relation->qualified(), what),
      "This is a bug in tailrace or a damaged replica identity index at the source; nothing of this "
      "batch was applied. REINDEX the source's index, then run 'tailrace verify'");
}

}  // namespace tailrace::pipeline
