#include "target/duckdb/duckdb_target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "model/tuple_builder.h"

namespace tailrace::target {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr Oid orders = 42;

std::shared_ptr<const schema::Type> builtin(const std::string& name) {
  auto out = std::make_shared<schema::Type>();
  out->name = name;
  out->builtin = true;
  return out;
}

schema::Column column(std::int16_t attnum, const std::string& name, const std::string& type,
                      std::int32_t typmod = -1) {
  schema::Column out;
  out.attnum = attnum;
  out.name = name;
  out.type = builtin(type);
  out.typmod = typmod;
  return out;
}

constexpr std::int32_t numeric(int precision, int scale) {
  return (precision << 16 | scale) + 4;
}

RecordedColumn recorded(const schema::Column& column) {
  return {column.attnum, column.name, column.type->oid, column.typmod, column.is_key, column.version};
}

schema::Table table(Oid oid, const std::string& schema, const std::string& name,
                    std::vector<schema::Column> columns) {
  schema::Table out;
  out.oid = oid;
  out.schema = schema;
  out.name = name;
  out.columns = std::move(columns);
  return out;
}

/// The first column is the key, unless the whole row is the identity.
std::shared_ptr<const Relation> relation_of(const schema::Table& table,
                                            ReplicaIdentity identity = ReplicaIdentity::by_default) {
  auto out = std::make_shared<Relation>(Relation{table.oid, table.schema, table.name, identity, {}});
  for (const auto& each : table.columns) {
    out->columns.push_back(
        {each.name, each.type->oid, each.typmod, out->columns.empty() || identity == ReplicaIdentity::full});
  }
  return out;
}

Cell cell(const char* text) {
  return text == nullptr ? null_cell() : text_cell(text);
}

Cells row(std::initializer_list<const char*> values) {
  Cells out;
  for (const char* value : values) out.push_back(cell(value));
  return out;
}

/// A TableBatch by hand.
class Batch {
 public:
  explicit Batch(std::shared_ptr<const Relation> relation) { batch_.relation = std::move(relation); }

  Batch& insert(const Cells& cells) { return add({store_.make(cells), no_index, no_index, true}); }
  Batch& remove(const Cells& cells, std::uint32_t count = 1) {
    batch_.deletes.push_back({store_.make(cells), count});
    return *this;
  }
  /// The row with the first column of `before` becomes `after`, whose unchanged columns are looked up.
  Batch& replace(const Cells& before, const Cells& after) {
    remove(before);
    ++batch_.rows_to_look_up;
    return add({store_.make(after), no_index, static_cast<std::uint32_t>(batch_.deletes.size() - 1), true});
  }
  Batch& truncate() {
    batch_.truncate = true;
    return *this;
  }
  const TableBatch& batch() const { return batch_; }

 private:
  Batch& add(const FoldedRow& folded) {
    batch_.rows.push_back(folded);
    ++batch_.live_rows;
    return *this;
  }

  TupleStore store_;
  TableBatch batch_;
};

class DuckDbTargetTest : public testing::Test {
 protected:
  DuckDbTargetTest()
      : directory_(testing::TempDir() + "tailrace_target_" + std::to_string(getpid())),
        file_(directory_ + "/mirror.duckdb") {
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directory(directory_);
    open();
  }
  ~DuckDbTargetTest() override {
    target_.reset();
    std::filesystem::remove_all(directory_);
  }

  void open() {
    target_.reset();
    target_ = open_duckdb({file_, 0});
  }

  void create(const schema::Table& table) {
    target_->create_table(table);
    target_->finish_copy(table.oid, {50}, 0);
  }
  void apply(const Batch& batch) { target_->apply(batch.batch().relation->oid, batch.batch()); }
  void commit(std::uint64_t lsn = 100) { target_->commit(checkpoint(lsn)); }
  void apply_and_commit(const Batch& batch, std::uint64_t lsn = 100) {
    target_->begin();
    apply(batch);
    commit(lsn);
  }
  static Checkpoint checkpoint(std::uint64_t lsn) {
    return {"slot", "7000000000000000001", 3, {lsn}, {123456}};
  }

  std::vector<Cells> rows(Oid oid = orders) {
    std::vector<Cells> out;
    target_->view()->scan(oid, [&](const std::vector<std::optional<std::string_view>>& values) {
      Cells cells;
      for (const auto& value : values) cells.push_back(value ? text_cell(std::string(*value)) : null_cell());
      out.push_back(std::move(cells));
    });
    return out;
  }

  TableRecord record(Oid oid = orders) {
    for (auto& each : target_->tables()) {
      if (each.oid == oid) return each;
    }
    ADD_FAILURE() << "no table " << oid;
    return {};
  }

  std::string directory_;
  std::string file_;
  std::unique_ptr<Target> target_;
};

TEST_F(DuckDbTargetTest, AppliesABatch) {
  auto source = table(orders, "public", "orders",
                      {column(1, "id", "int4"), column(2, "note", "text"), column(3, "big", "text")});
  create(source);
  auto relation = relation_of(source);
  apply_and_commit(Batch(relation)
                       .insert(row({"1", "a", "x"}))
                       .insert(row({"2", nullptr, "y"}))
                       .insert(row({"3", "", "z"})));
  EXPECT_THAT(rows(),
              UnorderedElementsAre(row({"1", "a", "x"}), row({"2", nullptr, "y"}), row({"3", "", "z"})));
  Cells moved = row({"4", "b", nullptr});
  moved[2] = unchanged_cell();
  apply_and_commit(
      Batch(relation).remove(row({"1", nullptr, nullptr})).replace(row({"2", nullptr, nullptr}), moved));
  EXPECT_THAT(rows(), UnorderedElementsAre(row({"4", "b", "y"}), row({"3", "", "z"})));
  apply_and_commit(Batch(relation).truncate().insert(row({"5", "e", "e"})));
  EXPECT_THAT(rows(), UnorderedElementsAre(row({"5", "e", "e"})));
}

TEST_F(DuckDbTargetTest, LooksUpDifferentSetsOfUnchangedColumns) {
  auto source = table(orders, "public", "orders",
                      {column(1, "id", "int4"), column(2, "a", "text"), column(3, "b", "text")});
  create(source);
  auto relation = relation_of(source);
  apply_and_commit(Batch(relation)
                       .insert(row({"1", "a1", "b1"}))
                       .insert(row({"2", "a2", nullptr}))
                       .insert(row({"3", "a3", "b3"})));
  // Keys that trade places: each looks at the rows as they were before.
  apply_and_commit(Batch(relation)
                       .replace(row({"1", nullptr, nullptr}), {cell("2"), unchanged_cell(), unchanged_cell()})
                       .replace(row({"2", nullptr, nullptr}), {cell("1"), cell("new"), unchanged_cell()})
                       .replace(row({"3", nullptr, nullptr}), {cell("3"), unchanged_cell(), cell(nullptr)}));
  EXPECT_THAT(rows(), UnorderedElementsAre(row({"2", "a1", "b1"}), row({"1", "new", nullptr}),
                                           row({"3", "a3", nullptr})));
}

TEST_F(DuckDbTargetTest, RefusesToChangeRowsThatAreNotThere) {
  auto source = table(orders, "public", "orders", {column(1, "id", "int4"), column(2, "note", "text")});
  create(source);
  auto relation = relation_of(source);
  auto whole = relation_of(source, ReplicaIdentity::full);
  apply_and_commit(Batch(relation).insert(row({"1", "a"})).insert(row({"2", "b"})));
  auto refuse = [&](const Batch& batch) {
    target_->begin();
    try {
      apply(batch);
      ADD_FAILURE() << "was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.retry(), Retry::needs_operator);
      EXPECT_THAT(error.message(), HasSubstr("are there"));
    }
    target_->rollback();
  };
  refuse(Batch(relation).remove(row({"3", nullptr})));
  refuse(Batch(relation).remove(row({"1", nullptr})).remove(row({"3", nullptr})));
  refuse(Batch(relation).replace(row({"3", nullptr}), {cell("3"), unchanged_cell()}));
  refuse(Batch(whole).remove(row({"1", "b"})));
  refuse(Batch(whole).remove(row({"1", "a"}), 2));
  EXPECT_THAT(rows(), UnorderedElementsAre(row({"1", "a"}), row({"2", "b"})));
}

TEST_F(DuckDbTargetTest, TellsRowsApartThatDuckDbTakesForEqual) {
  auto source = table(orders, "public", "orders", {column(1, "span", "interval"), column(2, "at", "timetz")});
  create(source);
  auto whole = relation_of(source, ReplicaIdentity::full);
  apply_and_commit(Batch(whole)
                       .insert(row({"1 mon", "12:00:00+00"}))
                       .insert(row({"30 days", "12:00:00+00"}))
                       .insert(row({"1 mon", "13:00:00+01"}))
                       .insert(row({"1 mon", "13:00:00+01"}))
                       .insert(row({nullptr, nullptr})));
  apply_and_commit(Batch(whole)
                       .remove(row({"30 days", "12:00:00+00"}))
                       .remove(row({"1 mon", "13:00:00+01"}))
                       .remove(row({nullptr, nullptr})));
  EXPECT_THAT(rows(), UnorderedElementsAre(row({"1 mon", "12:00:00+00"}), row({"1 mon", "13:00:00+01"})));
}

// Widening.

TEST_F(DuckDbTargetTest, WidensAColumnAndAsksToStartOver) {
  auto source = table(orders, "public", "orders",
                      {column(1, "id", "int4"), column(2, "amount", "numeric", numeric(6, 2))});
  create(source);
  auto relation = relation_of(source);
  apply_and_commit(Batch(relation).insert(row({"1", "12.50"})).insert(row({"2", nullptr})), 100);
  EXPECT_THAT(record().note, IsEmpty());
  target_->begin();
  apply(Batch(relation).insert(row({"3", "7.00"})));
  EXPECT_THROW(apply(Batch(relation).insert(row({"4", "NaN"}))), RestartFromCheckpoint);
  // What was applied before is gone with it, and the rows of before read as they did.
  EXPECT_EQ(target_->checkpoint()->lsn, Lsn{100});
  EXPECT_THAT(rows(), UnorderedElementsAre(row({"1", "12.50"}), row({"2", nullptr})));
  EXPECT_THAT(record().note, HasSubstr("amount"));
  apply_and_commit(Batch(relation).insert(row({"3", "7.00"})).insert(row({"4", "NaN"})), 200);
  // The text of before and after compare: a row from before is found by its value.
  apply_and_commit(Batch(relation_of(source, ReplicaIdentity::full)).remove(row({"1", "12.50"})), 300);
  open();
  EXPECT_THAT(rows(), UnorderedElementsAre(row({"2", nullptr}), row({"3", "7.00"}), row({"4", "NaN"})));
  // A new copy keeps it wide.
  create(source);
  apply_and_commit(Batch(relation).insert(row({"5", "Infinity"})));
  EXPECT_THAT(rows(), UnorderedElementsAre(row({"5", "Infinity"})));
}

TEST_F(DuckDbTargetTest, WidensAKeyOrALookedUpColumn) {
  auto source = table(orders, "public", "orders",
                      {column(1, "day", "date"), column(2, "until", "date"), column(3, "big", "text")});
  create(source);
  auto relation = relation_of(source);
  apply_and_commit(Batch(relation).insert(row({"2024-01-01", "2024-01-02", "big"})));
  Batch wide_value(relation);
  wide_value.replace(row({"2024-01-01", nullptr, nullptr}),
                     {cell("2024-01-01"), cell("4714-11-24 BC"), unchanged_cell()});
  Batch wide_key(relation);
  wide_key.replace(row({"2024-01-01", nullptr, nullptr}),
                   {cell("5874897-12-31"), cell("4714-11-24 BC"), unchanged_cell()});
  for (const auto* batch : {&wide_value, &wide_key}) {
    for (int tries = 0;; ++tries) {
      ASSERT_LT(tries, 3);
      try {
        apply_and_commit(*batch);
        break;
      } catch (const RestartFromCheckpoint&) {
      }
    }
    EXPECT_EQ(rows()[0][1], cell("4714-11-24 BC"));
    EXPECT_EQ(rows()[0][2], cell("big"));
  }
  EXPECT_EQ(rows()[0][0], cell("5874897-12-31"));
}

TEST_F(DuckDbTargetTest, CopiesAgainWithAWiderColumn) {
  auto source = table(orders, "public", "orders",
                      {column(1, "id", "int4"), column(2, "amount", "numeric", numeric(6, 2))});
  target_->create_table(source);
  {
    auto writer = target_->copy(orders, false, false);
    writer->row("1\t1.00");
    EXPECT_THROW(writer->row("2\tNaN"), CopyAgain);
  }
  target_->create_table(source);
  auto writer = target_->copy(orders, false, false);
  writer->row("1\t1.00");
  writer->row("2\tNaN");
  writer->row("3\t\\N");
  writer->finish();
  target_->finish_copy(orders, {70}, 3);
  EXPECT_THAT(rows(), UnorderedElementsAre(row({"1", "1.00"}), row({"2", "NaN"}), row({"3", nullptr})));
  EXPECT_TRUE(record().copied);
  EXPECT_EQ(record().copied_at, Lsn{70});
  EXPECT_EQ(record().rows_copied, 3);
}

TEST_F(DuckDbTargetTest, ReadsTheTextOfCopy) {
  auto source = table(orders, "public", "orders", {column(1, "a", "text"), column(2, "b", "text")});
  target_->create_table(source);
  auto writer = target_->copy(orders, false, false);
  writer->row("\\\\N\ta\\tb\\nc\\rd\\be\\ff\\vg\\\\");
  writer->row("\t\\N");
  EXPECT_THROW(writer->row("one"), Error);
  EXPECT_THROW(writer->row("one\ttwo\tthree"), Error);
  writer.reset();
  writer = target_->copy(orders, false, false);
  writer->row("\\\\N\ta\\tb\\nc\\rd\\be\\ff\\vg\\\\");
  writer->row("\t\\N");
  writer->finish();
  target_->finish_copy(orders, {70}, 2);
  EXPECT_THAT(rows(), UnorderedElementsAre(row({"\\N", "a\tb\nc\rd\be\ff\vg\\"}), row({"", nullptr})));
}

// Definitions that change.

TEST_F(DuckDbTargetTest, FollowsADefinition) {
  auto id = column(1, "id", "int4");
  auto note = column(2, "note", "text");
  auto amount = column(3, "amount", "numeric", numeric(6, 2));
  auto source = table(orders, "public", "orders", {id, note, amount});
  create(source);
  apply_and_commit(Batch(relation_of(source)).insert(row({"1", "a", "12.50"})));
  Evolution evolution;
  evolution.rename = "purchases";
  evolution.renamed_columns = {{"note", "remark"}};
  evolution.dropped_columns = {"id"};
  auto code = column(4, "code", "text");
  auto added = column(5, "added", "int4");
  evolution.added_columns = {{code, "it's"}, {added, std::nullopt}};
  auto remark = column(2, "remark", "text");
  amount.typmod = numeric(10, 2);
  evolution.retyped_columns = {amount};
  evolution.columns = {recorded(remark), recorded(amount), recorded(code), recorded(added)};
  evolution.storage = "5 1/2/3";
  target_->begin();
  target_->evolve(orders, evolution);
  auto now = table(orders, "public", "purchases", {remark, amount, code, added});
  // In the same transaction rows of the new shape follow.
  apply(Batch(relation_of(now)).insert(row({"b", "12345678.99", "c", "5"})));
  commit();
  open();
  EXPECT_THAT(rows(),
              UnorderedElementsAre(row({"a", "12.50", "it's", nullptr}), row({"b", "12345678.99", "c", "5"})));
  EXPECT_EQ(record().name, "purchases");
  EXPECT_EQ(record().target_name, R"("public"."purchases")");
  EXPECT_EQ(record().storage, "5 1/2/3");
  EXPECT_EQ(record().columns, evolution.columns);
}

TEST_F(DuckDbTargetTest, RetypesToTextWithTheExactValues) {
  auto id = column(1, "id", "int4");
  auto amount = column(2, "amount", "numeric", numeric(6, 2));
  auto source = table(orders, "public", "orders", {id, amount});
  create(source);
  apply_and_commit(Batch(relation_of(source))
                       .insert(row({"1", "0.50"}))
                       .insert(row({"2", "-3.00"}))
                       .insert(row({"3", nullptr})));
  Evolution evolution;
  amount.typmod = -1;
  evolution.retyped_columns = {amount};
  evolution.columns = {recorded(id), recorded(amount)};
  target_->begin();
  target_->evolve(orders, evolution);
  source.columns[1] = amount;
  apply(Batch(relation_of(source)).insert(row({"4", "1e300"})));
  commit();
  EXPECT_THAT(rows(), UnorderedElementsAre(row({"1", "0.50"}), row({"2", "-3.00"}), row({"3", nullptr}),
                                           row({"4", "1e300"})));
}

TEST_F(DuckDbTargetTest, ForgetsADefinitionThatIsRolledBack) {
  auto id = column(1, "id", "int4");
  auto source = table(orders, "public", "orders", {id, column(2, "note", "text")});
  create(source);
  Evolution evolution;
  evolution.rename = "purchases";
  evolution.dropped_columns = {"note"};
  evolution.columns = {recorded(id)};
  target_->begin();
  target_->evolve(orders, evolution);
  target_->rollback();
  EXPECT_EQ(record().name, "orders");
  apply_and_commit(Batch(relation_of(source)).insert(row({"1", "a"})));
  EXPECT_THAT(rows(), UnorderedElementsAre(row({"1", "a"})));
}

// Names.

TEST_F(DuckDbTargetTest, KeepsNamesApartThatDifferInCaseOnly) {
  auto lower = table(1, "public", "orders", {column(1, "a", "text"), column(2, "A", "text")});
  auto upper = table(2, "public", "Orders", {column(1, "a", "text")});
  auto other = table(3, "Public", "ORDERS", {column(1, "a", "text")});
  for (const auto& each : {lower, upper, other}) create(each);
  apply_and_commit(Batch(relation_of(lower)).insert(row({"1", "2"})));
  apply_and_commit(Batch(relation_of(upper)).insert(row({"3"})));
  apply_and_commit(Batch(relation_of(other)).insert(row({"4"})));
  open();
  EXPECT_THAT(rows(1), UnorderedElementsAre(row({"1", "2"})));
  EXPECT_THAT(rows(2), UnorderedElementsAre(row({"3"})));
  EXPECT_THAT(rows(3), UnorderedElementsAre(row({"4"})));
  EXPECT_EQ(record(1).target_name, R"("public"."orders")");
  EXPECT_EQ(record(2).target_name, R"("public"."Orders_2")");
  // The columns keep the names of the source, whatever they are called here.
  EXPECT_EQ(record(1).columns[1].name, "A");
}

TEST_F(DuckDbTargetTest, TakesAnyName) {
  auto odd = table(1, "odd \"schema'", "select",
                   {column(1, "it's", "text"), column(2, "\"", "text"), column(3, "\xC3\xA9", "text")});
  auto ours = table(2, "tailrace", "checkpoint", {column(1, "lsn", "text")});
  auto temporary = table(3, "temp", "t", {column(1, "a", "text")});
  auto in_main = table(4, "main", "t", {column(1, "s", "text")});
  Oid oid = 0;
  for (const auto& each : {odd, ours, temporary, in_main}) {
    create(each);
    auto relation = relation_of(each);
    Cells cells(each.columns.size(), cell("x"));
    Cells after = cells;
    if (after.size() > 1) after[1] = unchanged_cell();
    apply_and_commit(Batch(relation).insert(cells));
    apply_and_commit(Batch(relation).replace(cells, after));
    apply_and_commit(Batch(relation_of(each, ReplicaIdentity::full)).remove(cells).insert(cells));
    EXPECT_THAT(rows(++oid), UnorderedElementsAre(cells));
  }
  EXPECT_TRUE(target_->checkpoint().has_value());
}

TEST_F(DuckDbTargetTest, MirrorsATableWithoutColumns) {
  auto source = table(orders, "public", "nothing", {});
  target_->create_table(source);
  auto whole = relation_of(source, ReplicaIdentity::full);
  auto writer = target_->copy(orders, false, false);
  writer->row("");
  writer->finish();
  target_->finish_copy(orders, {70}, 1);
  apply_and_commit(Batch(whole).insert({}).insert({}));
  EXPECT_THAT(rows(), UnorderedElementsAre(Cells{}, Cells{}, Cells{}));
  EXPECT_THAT(record().columns, IsEmpty());
  apply_and_commit(Batch(whole).remove({}, 2));
  EXPECT_THAT(rows(), UnorderedElementsAre(Cells{}));
}

// Durability.

TEST_F(DuckDbTargetTest, RemembersItsCheckpoint) {
  EXPECT_FALSE(target_->checkpoint().has_value());
  target_->initialize(checkpoint(10));
  open();
  ASSERT_TRUE(target_->checkpoint().has_value());
  EXPECT_EQ(target_->checkpoint()->lsn, Lsn{10});
  target_->begin();
  commit(20);
  open();
  auto got = *target_->checkpoint();
  EXPECT_EQ(got.slot, "slot");
  EXPECT_EQ(got.system_identifier, "7000000000000000001");
  EXPECT_EQ(got.timeline, 3u);
  EXPECT_EQ(got.lsn, Lsn{20});
  EXPECT_EQ(got.commit_time, PgTimestamp{123456});
  // After a failover the timeline is another one.
  target_->begin();
  target_->commit({"slot", "7000000000000000001", 4, {30}, {}});
  open();
  EXPECT_EQ(target_->checkpoint()->timeline, 4u);
  EXPECT_EQ(target_->checkpoint()->lsn, Lsn{30});
}

TEST_F(DuckDbTargetTest, HasNothingOfWhatWasNotCommitted) {
  auto source = table(orders, "public", "orders", {column(1, "id", "int4")});
  create(source);
  apply_and_commit(Batch(relation_of(source)).insert(row({"1"})), 100);
  target_->begin();
  apply(Batch(relation_of(source)).remove(row({"1"})).insert(row({"2"})));
  open();
  EXPECT_THAT(rows(), UnorderedElementsAre(row({"1"})));
  EXPECT_EQ(target_->checkpoint()->lsn, Lsn{100});
  target_->begin();
  apply(Batch(relation_of(source)).insert(row({"3"})));
  target_->rollback();
  EXPECT_THAT(rows(), UnorderedElementsAre(row({"1"})));
}

TEST_F(DuckDbTargetTest, ShowsAViewThatStaysAsItWas) {
  auto source = table(orders, "public", "orders", {column(1, "id", "int4")});
  create(source);
  apply_and_commit(Batch(relation_of(source)).insert(row({"1"})), 100);
  auto view = target_->view();
  apply_and_commit(Batch(relation_of(source)).remove(row({"1"})).insert(row({"2"})), 200);
  int seen = 0;
  view->scan(orders, [&](const auto& values) {
    ++seen;
    EXPECT_EQ(*values[0], "1");
  });
  EXPECT_EQ(seen, 1);
  EXPECT_EQ(view->checkpoint()->lsn, Lsn{100});
  EXPECT_THAT(rows(), UnorderedElementsAre(row({"2"})));
}

TEST_F(DuckDbTargetTest, KeepsWhatIsCommittedWhileAnOlderViewIsOpen) {
  auto source = table(orders, "public", "orders", {column(1, "id", "int4")});
  create(source);
  auto view = target_->view();
  open();
  apply_and_commit(Batch(relation_of(source)).insert(row({"1"})), 100);
  view.reset();
  apply_and_commit(Batch(relation_of(source)).insert(row({"2"})), 200);
  // What a kill -9 would leave now.
  std::string copy = directory_ + "/copy.duckdb";
  std::filesystem::copy_file(file_, copy);
  if (std::filesystem::exists(file_ + ".wal")) std::filesystem::copy_file(file_ + ".wal", copy + ".wal");
  EXPECT_EQ(open_duckdb({copy, 0})->checkpoint()->lsn, Lsn{200});
}

TEST_F(DuckDbTargetTest, TakesAFileThatIsCalledAsASchema) {
  target_.reset();
  file_ = directory_ + "/public.duckdb";
  open();
  auto source = table(orders, "public", "orders", {column(1, "id", "int4")});
  create(source);
  apply_and_commit(Batch(relation_of(source)).insert(row({"1"})));
  EXPECT_THAT(rows(), UnorderedElementsAre(row({"1"})));
}

TEST_F(DuckDbTargetTest, RefusesAFileThatIsCalledAsItsOwnSchema) {
  target_.reset();
  EXPECT_THROW(open_duckdb({directory_ + "/tailrace.duckdb", 0}), Error);
}

TEST_F(DuckDbTargetTest, DeletesWholeRowsOfATableWithAColumnNamedRowid) {
  auto source = table(orders, "public", "orders", {column(1, "rowid", "int4"), column(2, "b", "int4")});
  create(source);
  auto whole = relation_of(source, ReplicaIdentity::full);
  apply_and_commit(Batch(whole).insert(row({"7", "1"})).insert(row({"7", "2"})).insert(row({nullptr, "3"})));
  apply_and_commit(Batch(whole).remove(row({"7", "1"})).remove(row({nullptr, "3"})));
  EXPECT_THAT(rows(), UnorderedElementsAre(row({"7", "2"})));
}

TEST_F(DuckDbTargetTest, KeepsWhatCountsOfACopy) {
  auto source = table(orders, "public", "orders", {column(1, "id", "int4")});
  target_->create_table(source);
  EXPECT_FALSE(record().copied);
  {
    auto given_up = target_->copy(orders, false, false);
    given_up->row("1");
  }
  auto first = target_->copy(orders, false, false);
  auto second = target_->copy(orders, false, false);
  first->row("2");
  second->row("3");
  first->finish();
  second->finish();
  target_->finish_copy(orders, {60}, 2);
  open();
  EXPECT_THAT(rows(), UnorderedElementsAre(row({"2"}), row({"3"})));
  EXPECT_TRUE(record().copied);
  target_->mark_for_copy(orders, "a test");
  open();
  EXPECT_FALSE(record().copied);
  target_->drop_table(orders);
  EXPECT_THAT(target_->tables(), IsEmpty());
  create(source);
  EXPECT_THAT(rows(), IsEmpty());
}

TEST_F(DuckDbTargetTest, ShowsTheStateBeforeUntilACopyIsWhole) {
  auto source = table(orders, "public", "orders", {column(1, "id", "int4")});
  create(source);
  apply_and_commit(Batch(relation_of(source)).insert(row({"1"})));
  target_->mark_for_copy(orders, "a test");
  target_->create_table(source);
  auto writer = target_->copy(orders, false, false);
  writer->row("2");
  writer->finish();
  EXPECT_THAT(rows(), UnorderedElementsAre(row({"1"})));
  EXPECT_FALSE(record().copied);
  open();
  EXPECT_THAT(rows(), UnorderedElementsAre(row({"1"})));
  EXPECT_FALSE(record().copied);
  create(source);
  EXPECT_THAT(rows(), IsEmpty());
}

TEST_F(DuckDbTargetTest, GivesEachNameBackOnceItIsFree) {
  auto one = table(1, "public", "one", {column(1, "id", "int4")});
  auto two = table(2, "public", "two", {column(1, "id", "int4")});
  create(one);
  create(two);
  auto rename = [&](const schema::Table& renamed, const char* name) {
    Evolution evolution;
    evolution.rename = name;
    evolution.columns = {recorded(renamed.columns[0])};
    target_->begin();
    target_->evolve(renamed.oid, evolution);
    commit();
  };
  rename(one, "two");
  rename(two, "one");
  for (const auto& each : target_->tables()) EXPECT_EQ(each.target_name, "\"public\".\"" + each.name + "\"");
  auto three = table(3, "public", "one", {column(1, "id", "int4")});
  create(three);
  target_->drop_table(2);
  for (const auto& each : target_->tables()) EXPECT_EQ(each.target_name, "\"public\".\"" + each.name + "\"");
}

TEST_F(DuckDbTargetTest, LeavesForeignFilesAlone) {
  target_.reset();
  std::string foreign = directory_ + "/foreign.duckdb";
  std::filesystem::copy_file(file_, foreign);
  EXPECT_NO_THROW(open_duckdb({foreign, 0}));
  std::filesystem::resize_file(foreign, 100);
  EXPECT_THROW(open_duckdb({foreign, 0}), Error);
}

}  // namespace
}  // namespace tailrace::target
