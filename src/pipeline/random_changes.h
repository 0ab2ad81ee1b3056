#pragma once
// RandomTable: a source table that lives a random life, for tests: it tells each change as the replication
// stream would, and holds the rows as they are afterwards, changed one by one without any cleverness.

#include <algorithm>
#include <random>
#include <set>
#include <vector>

#include "model/change_batch.h"
#include "model/tuple_builder.h"

namespace tailrace::pipeline {

class RandomTable {
 public:
  /// `values`: what may stand in each column, as text; few, so that keys come back and rows without a key are
  /// equal.
  RandomTable(std::shared_ptr<const Relation> relation, std::uint64_t seed,
              std::vector<std::vector<std::string>> values = {})
      : relation_(std::move(relation)), random_(seed), values_(std::move(values)) {
    values_.resize(relation_->columns.size(), {"", "1", "11", "12", "2", "3", "4"});
    full_ = relation_->identity == ReplicaIdentity::full;
    for (std::size_t i = 0; i < relation_->columns.size(); ++i) {
      if (!full_ && relation_->columns[i].is_key) key_.push_back(i);
    }
    full_or_keyed_ = full_ || !key_.empty();
  }

  const std::vector<Cells>& rows() const { return rows_; }
  std::multiset<Cells> row_set() const { return {rows_.begin(), rows_.end()}; }
  std::size_t below(std::size_t bound) {
    return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random_);
  }

  /// The next change; its tuples live as long as `store`.
  Change next(TupleStore& store) {
    std::size_t choice = below(100);
    if (choice < 2) return truncate();
    if (rows_.empty() || choice < 35 || !full_or_keyed_) return insert(store);
    return choice < 75 ? update(store) : remove(store);
  }

 private:
  Cell random_cell(std::size_t column, bool may_be_null) {
    if (may_be_null && below(5) == 0) return null_cell();
    return text_cell(values_[column][below(values_[column].size())]);
  }

  Cells random_row() {
    Cells out;
    for (std::size_t i = 0; i < relation_->columns.size(); ++i) {
      out.push_back(random_cell(i, /*may_be_null=*/full_ || !relation_->columns[i].is_key));
    }
    return out;
  }

  bool key_is_taken(const Cells& row, const Cells* except) const {
    if (full_ || key_.empty()) return false;
    return std::any_of(rows_.begin(), rows_.end(), [&](const Cells& other) {
      return &other != except &&
             std::all_of(key_.begin(), key_.end(), [&](std::size_t i) { return other[i] == row[i]; });
    });
  }

  Change truncate() {
    rows_.clear();
    Change out;
    out.kind = ChangeKind::truncate;
    return out;
  }

  Change insert(TupleStore& store) {
    Cells row = random_row();
    if (key_is_taken(row, nullptr)) {
      // The domain of the keys is small; a truncate is as good a change as any.
      return rows_.empty() || !full_or_keyed_ ? truncate() : remove(store);
    }
    Change out;
    out.new_tuple = store.make(row);
    rows_.push_back(std::move(row));
    return out;
  }

  /// A key tuple has all columns, but those outside of the key are absent.
  Cells key_of(const Cells& row) const {
    Cells out(row.size());
    for (std::size_t i : key_) out[i] = row[i];
    return out;
  }

  Change update(TupleStore& store) {
    Cells& row = rows_[below(rows_.size())];
    Cells after = row;
    bool moves = full_ || below(3) == 0;
    for (std::size_t i = 0; i < after.size(); ++i) {
      bool key = !full_ && relation_->columns[i].is_key;
      if (below(2) == 0 && (!key || moves)) after[i] = random_cell(i, !key);
    }
    if (key_is_taken(after, &row)) after = row;
    bool key_changes = std::any_of(key_.begin(), key_.end(), [&](std::size_t i) { return row[i] != after[i]; });
    // A key that is TOASTed comes along even when it did not change.
    bool tells_key = !full_ && (key_changes || below(6) == 0);
    Cells sent = after;
    for (std::size_t i = 0; i < sent.size(); ++i) {
      bool key = !full_ && relation_->columns[i].is_key;
      bool same = row[i] == after[i] && after[i].kind != ValueKind::null;
      if (same && (!key || tells_key) && below(3) == 0) sent[i] = unchanged_cell();
    }
    Change out;
    out.kind = ChangeKind::update;
    if (full_ || tells_key) {
      out.old_kind = full_ ? OldTuple::full : OldTuple::key;
      out.old_tuple = store.make(full_ ? row : key_of(row));
    }
    out.new_tuple = store.make(sent);
    row = std::move(after);
    return out;
  }

  Change remove(TupleStore& store) {
    auto at = rows_.begin() + static_cast<std::ptrdiff_t>(below(rows_.size()));
    Change out;
    out.kind = ChangeKind::remove;
    out.old_kind = full_ ? OldTuple::full : OldTuple::key;
    out.old_tuple = store.make(full_ ? *at : key_of(*at));
    rows_.erase(at);
    return out;
  }

  std::shared_ptr<const Relation> relation_;
  std::mt19937_64 random_;
  std::vector<std::vector<std::string>> values_;
  bool full_ = false;
  bool full_or_keyed_ = true;
  std::vector<std::size_t> key_;
  std::vector<Cells> rows_;
};

}  // namespace tailrace::pipeline
