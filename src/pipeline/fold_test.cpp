#include "pipeline/fold.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "pgoutput/message_builder.h"
#include "pipeline/random_changes.h"

namespace tailrace::pipeline {
namespace {

using pgoutput::make_relation;
using testing::HasSubstr;

std::shared_ptr<const Relation> table(std::size_t columns, const std::vector<std::size_t>& key,
                                      ReplicaIdentity identity = ReplicaIdentity::by_default) {
  return std::make_shared<const Relation>(make_relation(42, "orders", columns, key, identity));
}

/// A target table, to which batches are applied by the letter of apply_batch.h.
class ModelTarget {
 public:
  explicit ModelTarget(std::shared_ptr<const Relation> relation) : relation_(std::move(relation)) {}

  const std::multiset<Cells>& rows() const { return rows_; }

  void apply(const TableBatch& batch) {
    if (batch.truncate) rows_.clear();
    std::size_t live = 0;
    std::size_t looked_up = 0;
    std::vector<Cells> fresh;
    for (const auto& row : batch.rows) {
      if (!row.live) continue;
      ++live;
      if (row.lookup != no_index) ++looked_up;
      fresh.push_back(complete(batch, row));
    }
    EXPECT_EQ(live, batch.live_rows);
    EXPECT_EQ(looked_up, batch.rows_to_look_up);
    EXPECT_EQ(batch.empty(), !batch.truncate && batch.deletes.empty() && live == 0);
    for (const auto& removed : batch.deletes) {
      EXPECT_GE(removed.count, 1u);
      for (std::uint32_t i = 0; i < removed.count; ++i) take_out(cells_of(removed.tuple));
    }
    rows_.insert(fresh.begin(), fresh.end());
  }

 private:
  bool full() const { return relation_->identity == ReplicaIdentity::full; }

  std::multiset<Cells>::iterator find(const Cells& wanted) {
    if (full()) return rows_.find(wanted);
    return std::find_if(rows_.begin(), rows_.end(), [&](const Cells& row) {
      for (std::size_t i = 0; i < row.size(); ++i) {
        if (relation_->columns[i].is_key && row[i] != wanted[i]) return false;
      }
      return true;
    });
  }

  void take_out(const Cells& wanted) {
    auto at = find(wanted);
    ASSERT_NE(at, rows_.end()) << "a row that is to go is not there";
    rows_.erase(at);
  }

  Cells complete(const TableBatch& batch, const FoldedRow& row) {
    std::vector<Value> values(relation_->columns.size());
    resolve_row(batch, row, values);
    Cells out;
    for (const auto& value : values) out.push_back({value.kind, std::string(value.bytes)});
    if (row.lookup == no_index) return out;
    auto old_row = find(cells_of(batch.deletes[row.lookup].tuple));
    if (old_row == rows_.end()) {
      ADD_FAILURE() << "a row that is to be looked up is not there";
      return out;
    }
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (out[i].kind == ValueKind::unchanged) out[i] = (*old_row)[i];
    }
    return out;
  }

  std::shared_ptr<const Relation> relation_;
  std::multiset<Cells> rows_;
};

struct Shape {
  const char* name;
  std::size_t columns;
  std::vector<std::size_t> key;
  ReplicaIdentity identity = ReplicaIdentity::by_default;
};

void PrintTo(const Shape& shape, std::ostream* out) {
  *out << shape.name;
}

class FoldProperty : public testing::TestWithParam<Shape> {};

/// Whatever happens to a table: folded, batch by batch, it comes out the same as change by change.
TEST_P(FoldProperty, IsWhatTheChangesDoOneByOne) {
  auto relation = table(GetParam().columns, GetParam().key, GetParam().identity);
  for (std::uint64_t seed = 1; seed <= 1000; ++seed) {
    RandomTable source(relation, seed);
    ModelTarget target(relation);
    for (int batch = 0; batch < 4; ++batch) {
      TupleStore store;
      TableFold fold(relation);
      std::size_t changes = source.below(60);
      std::int64_t truncates = 0;
      for (std::size_t i = 0; i < changes; ++i) {
        Change change = source.next(store);
        if (change.kind == ChangeKind::truncate) {
          fold.truncate();
          ++truncates;
        } else {
          fold.add(change);
        }
      }
      TableBatch folded = std::move(fold).finish();
      EXPECT_EQ(folded.truncates, truncates);
      EXPECT_EQ(folded.inserts + folded.updates + folded.removes + folded.truncates,
                static_cast<std::int64_t>(changes));
      target.apply(folded);
      ASSERT_EQ(target.rows(), source.row_set()) << GetParam().name << ", seed " << seed << ", batch " << batch;
    }
    if (HasFailure()) FAIL() << GetParam().name << ", seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, FoldProperty,
                         testing::Values(Shape{"OneKeyColumn", 4, {0}}, Shape{"KeyAtTheEnd", 3, {2}},
                                         Shape{"NothingButKey", 2, {0, 1}}, Shape{"CompositeKey", 5, {1, 2}},
                                         Shape{"ScatteredKey", 5, {0, 2, 4}},
                                         Shape{"KeyOfAnIndex", 3, {1}, ReplicaIdentity::index},
                                         Shape{"WholeRow", 3, {}, ReplicaIdentity::full},
                                         Shape{"WholeNarrowRow", 1, {}, ReplicaIdentity::full},
                                         Shape{"NoColumns", 0, {}, ReplicaIdentity::full},
                                         Shape{"NoKey", 2, {}}),
                         [](const auto& param_info) { return param_info.param.name; });

// The shape of what comes out: not only right, but little.

class TableFoldTest : public testing::Test {
 protected:
  TupleData tuple(const Cells& cells) { return store_.make(cells); }
  Change insert(const Cells& row) { return {ChangeKind::insert, OldTuple::none, 0, {}, tuple(row)}; }
  Change update(const Cells& row) { return {ChangeKind::update, OldTuple::none, 0, {}, tuple(row)}; }
  Change update(const Cells& key, const Cells& row) {
    return {ChangeKind::update, OldTuple::key, 0, tuple(key), tuple(row)};
  }
  Change remove(const Cells& key) { return {ChangeKind::remove, OldTuple::key, 0, tuple(key), {}}; }

  static TableBatch fold(std::shared_ptr<const Relation> relation, const std::vector<Change>& changes) {
    TableFold fold(std::move(relation));
    for (const auto& change : changes) fold.add(change);
    return std::move(fold).finish();
  }

  static void expect_contradiction(std::shared_ptr<const Relation> relation, const std::vector<Change>& changes,
                                   const std::string& why, bool truncate_first = false) {
    TableFold fold(std::move(relation));
    if (truncate_first) fold.truncate();
    try {
      for (const auto& change : changes) fold.add(change);
      ADD_FAILURE() << "was accepted; expected: " << why;
    } catch (const Error& error) {
      EXPECT_EQ(error.retry(), Retry::fatal);
      EXPECT_THAT(error.message(), HasSubstr(why));
    }
  }

  const Cell one_ = text_cell("1");
  const Cell two_ = text_cell("2");
  const Cell a_ = text_cell("a");
  const Cell b_ = text_cell("b");
  TupleStore store_;
};

TEST_F(TableFoldTest, LeavesNothingOfARowThatCameAndWent) {
  auto batch = fold(table(2, {0}), {insert({one_, a_}), update({one_, b_}), remove({one_, {}})});
  EXPECT_TRUE(batch.empty());
  EXPECT_EQ(batch.inserts, 1);
  EXPECT_EQ(batch.updates, 1);
  EXPECT_EQ(batch.removes, 1);
}

TEST_F(TableFoldTest, MakesManyUpdatesOne) {
  auto batch = fold(table(2, {0}), {update({one_, a_}), update({one_, b_}), update({one_, a_})});
  ASSERT_EQ(batch.deletes.size(), 1u);
  EXPECT_EQ(batch.live_rows, 1u);
  EXPECT_EQ(batch.rows_to_look_up, 0u);
}

TEST_F(TableFoldTest, LooksUpOnlyWhatTheBatchDoesNotKnow) {
  auto batch = fold(table(2, {0}),
                    {insert({one_, a_}), update({one_, unchanged_cell()}), update({two_, unchanged_cell()})});
  EXPECT_EQ(batch.live_rows, 2u);
  EXPECT_EQ(batch.rows_to_look_up, 1u);
  ASSERT_EQ(batch.deletes.size(), 1u);
  EXPECT_EQ(cells_of(batch.deletes[0].tuple)[0], two_);
}

TEST_F(TableFoldTest, CountsEqualRowsInsteadOfRepeatingThem) {
  auto relation = table(1, {}, ReplicaIdentity::full);
  auto batch = fold(relation, {remove({a_}), remove({b_}), remove({a_}), insert({b_}), insert({b_})});
  ASSERT_EQ(batch.deletes.size(), 2u);
  EXPECT_EQ(batch.deletes[0].count, 2u);
  EXPECT_EQ(batch.deletes[1].count, 1u);
  EXPECT_EQ(batch.live_rows, 2u);
}

TEST_F(TableFoldTest, ForgetsWhatATruncateRemoves) {
  TableFold fold(table(2, {0}));
  fold.add(update({one_, a_}));
  fold.add(insert({two_, a_}));
  fold.truncate();
  fold.add(insert({two_, b_}));
  auto batch = std::move(fold).finish();
  EXPECT_TRUE(batch.truncate);
  EXPECT_TRUE(batch.deletes.empty());
  EXPECT_EQ(batch.live_rows, 1u);
}

TEST_F(TableFoldTest, TellsKeysApartWhoseBytesRunTogether) {
  auto relation = table(3, {0, 2});
  auto cell = [](const char* text) { return text_cell(text); };
  auto batch = fold(relation, {insert({cell("a"), {}, cell("bc")}), insert({cell("ab"), {}, cell("c")}),
                               remove({cell("a"), {}, cell("bc")}), remove({cell("abc"), {}, cell("")})});
  EXPECT_EQ(batch.live_rows, 1u);
  EXPECT_EQ(batch.deletes.size(), 1u);
}

TEST_F(TableFoldTest, HoldsManyKeys) {
  TableFold fold(table(2, {0}));
  for (int i = 0; i < 20'000; ++i) fold.add(insert({text_cell(std::to_string(i)), a_}));
  for (int i = 0; i < 40'000; ++i) fold.add(update({text_cell(std::to_string(i)), b_}));
  for (int i = 0; i < 30'000; ++i) fold.add(remove({text_cell(std::to_string(i)), {}}));
  auto batch = std::move(fold).finish();
  EXPECT_EQ(batch.deletes.size(), 20'000u);
  EXPECT_EQ(batch.live_rows, 10'000u);
}

TEST_F(TableFoldTest, RefusesChangesThatContradictEachOther) {
  auto keyed = table(2, {0});
  expect_contradiction(keyed, {update({one_, a_}), insert({one_, b_})}, "inserted twice");
  expect_contradiction(keyed, {insert({one_, a_}), insert({one_, b_}), update({two_, a_})}, "inserted twice");
  expect_contradiction(keyed, {remove({one_, {}}), remove({one_, {}})}, "deleted twice");
  expect_contradiction(keyed, {remove({one_, {}}), update({one_, a_})}, "not there any more");
  expect_contradiction(keyed, {insert({one_, a_}), insert({two_, a_}), update({one_, {}}, {two_, b_})},
                       "another row has");
  expect_contradiction(keyed, {update({one_, a_})}, "not there any more", /*truncate_first=*/true);
  expect_contradiction(keyed, {remove({one_, {}})}, "TRUNCATE removed", /*truncate_first=*/true);
  expect_contradiction(table(2, {}), {remove({one_, a_})}, "without a replica identity");
  auto whole = table(2, {}, ReplicaIdentity::full);
  expect_contradiction(whole, {update({one_, a_})}, "lacks the old row");
  expect_contradiction(whole, {remove({one_, a_})}, "TRUNCATE removed", /*truncate_first=*/true);
}

TEST_F(TableFoldTest, RefusesAnOldRowWithoutItsValues) {
  auto whole = table(2, {}, ReplicaIdentity::full);
  expect_contradiction(whole, {remove({one_, unchanged_cell()})}, "without its values");
  expect_contradiction(whole, {update({one_, unchanged_cell()}, {one_, unchanged_cell()})},
                       "without its values");
}

TEST_F(TableFoldTest, RefusesAKeyThatWasNotSent) {
  TableFold fold(table(2, {0}));
  try {
    fold.add(update({unchanged_cell(), a_}));
    FAIL() << "was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.retry(), Retry::needs_operator);
    EXPECT_THAT(error.remedy(), HasSubstr("update the server"));
  }
}

TEST_F(TableFoldTest, RefusesToMakeNullOfAnInsertedValueThatWasNotSent) {
  TableFold fold(table(2, {0}));
  try {
    fold.add(insert({one_, unchanged_cell()}));
    FAIL() << "was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.retry(), Retry::needs_operator);
    EXPECT_THAT(error.remedy(), HasSubstr("REPLICA IDENTITY FULL"));
  }
}

}  // namespace
}  // namespace tailrace::pipeline
