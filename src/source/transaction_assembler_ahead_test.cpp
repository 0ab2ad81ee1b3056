#include "source/transaction_assembler_fixture.h"

// A transaction that is handed out while it is in progress at the source.

namespace tailrace::source {
namespace {

class AheadTest : public TransactionAssemblerTest {
 protected:
  using Then = TransactionAssembler::Then;

  AheadTest() : TransactionAssemblerTest({}, false, true) {}

  static std::vector<std::string> block(Xid xid, bool first, const char* value) {
    MessageBuilder inside(xid);
    std::vector<std::string> out = {plain.stream_start(xid, first)};
    if (first) out.push_back(inside.relation(make_relation(orders, "orders", 1, {0})));
    out.push_back(inside.insert(orders, {text_cell(value)}));
    out.push_back(plain.stream_stop());
    return out;
  }
  /// The last part of what is handed out.
  std::shared_ptr<const ChangeBatch> part() { return assembler_.seal_ahead_part(); }
};

TEST_F(AheadTest, HandsOutPartsAndThenTheCommit) {
  add(block(5, true, "a"));
  auto first = part();
  EXPECT_THAT(words_of(first), ElementsAre("begin 5", "insert orders(a)"));
  add(block(5, false, "b"));
  // Another one commits meanwhile.
  add({begin(1, 10), relation(orders, "orders"), insert(orders, "x"), commit(10, 20)});
  EXPECT_THAT(words(), ElementsAre("begin 1", "insert orders(x)", "end 1 @20"));
  ASSERT_EQ(assembler_.add(plain.stream_commit(5, {30}, {40}, {7})), Then::commit_ahead);
  auto second = part();
  EXPECT_THAT(words_of(second), ElementsAre("insert orders(b)"));
  EXPECT_EQ(second->progress, Lsn{20});
  auto last = assembler_.seal_ahead_commit();
  EXPECT_THAT(words_of(last), ElementsAre("end 5 @40"));
  EXPECT_EQ(last->transactions[0].commit_lsn, Lsn{30});
  EXPECT_EQ(last->transactions[0].commit_time, PgTimestamp{7});
  EXPECT_EQ(last->progress, Lsn{20});
  EXPECT_EQ(first->ahead, last->ahead);
  last->ahead->commit();
  EXPECT_FALSE(assembler_.end_ahead());
  EXPECT_EQ(assembler_.progress(), Lsn{40});
  EXPECT_EQ(assembler_.last_kept(), Lsn{40});
  EXPECT_FALSE(assembler_.has_changes());
  EXPECT_FALSE(assembler_.in_transaction());
}

TEST_F(AheadTest, ForgetsWhatComesAgainFromItsBeginning) {
  add(block(5, true, "a"));
  add(block(6, true, "z"));
  auto before = part();
  assembler_.forget_unfinished();
  EXPECT_FALSE(before->ahead->open()) << "the target must not keep it";
  add(block(5, true, "a"));
  auto again = part();
  EXPECT_THAT(words_of(again), ElementsAre("begin 5", "insert orders(a)"));
  ASSERT_EQ(assembler_.add(plain.stream_commit(5, {30}, {40})), Then::commit_ahead);
  part();
  again->ahead->give_up();
  ASSERT_TRUE(assembler_.end_ahead());
  while (assembler_.replay()) {
  }
  EXPECT_THAT(words(), ElementsAre("begin 5", "insert orders(a)", "end 5 @40")) << "once";
  // Of the other one nothing is left.
  ASSERT_EQ(assembler_.add(plain.stream_commit(6, {50}, {60})), Then::replay);
  while (assembler_.replay()) {
  }
  EXPECT_THAT(words(), ElementsAre("begin 6", "end 6 @60"));
}

TEST_F(AheadTest, ReadsBackWhatTheTargetGaveUp) {
  add(block(5, true, "a"));
  part()->ahead->give_up();
  add(block(5, false, "b"));
  ASSERT_EQ(assembler_.add(plain.stream_commit(5, {30}, {40})), Then::commit_ahead);
  EXPECT_THAT(words_of(part()), IsEmpty()) << "nobody wants more of it";
  ASSERT_TRUE(assembler_.end_ahead());
  EXPECT_EQ(assembler_.progress(), Lsn{}) << "before all of it came";
  while (assembler_.replay()) {
  }
  EXPECT_THAT(words(), ElementsAre("begin 5", "insert orders(a)", "insert orders(b)", "end 5 @40"));
  EXPECT_EQ(assembler_.progress(), Lsn{40});
}

TEST_F(AheadTest, GivesUpWhatIsTakenBack) {
  for (Xid subxid : {Xid{6}, Xid{5}}) {
    add(block(5, true, "a"));
    auto given = part();
    add({plain.stream_abort(5, subxid)});
    EXPECT_FALSE(given->ahead->open());
    if (subxid == 5) continue;
    ASSERT_EQ(assembler_.add(plain.stream_commit(5, {10}, {20})), Then::replay);
    while (assembler_.replay()) {
    }
    EXPECT_THAT(words(), ElementsAre("begin 5", "insert orders(a)", "end 5 @20"));
  }
}

TEST_F(AheadTest, GivesUpWhatItCannotHandOut) {
  add(block(5, true, "a"));
  auto truncated = part();
  MessageBuilder inside(5);
  add({plain.stream_start(5, false), inside.truncate({orders}), plain.stream_stop()});
  EXPECT_FALSE(truncated->ahead->open());
  add({plain.stream_abort(5, 5)});
  add(block(7, true, "b"));
  auto prepared = part();
  add({plain.stream_prepare(7, {10}, {20}, "gid")});
  EXPECT_FALSE(prepared->ahead->open());
}

TEST_F(AheadTest, HandsOutOneAtATime) {
  add(block(5, true, "a"));
  add(block(6, true, "b"));
  EXPECT_THAT(words_of(part()), ElementsAre("begin 5", "insert orders(a)"));
  ASSERT_EQ(assembler_.add(plain.stream_commit(6, {10}, {20})), Then::replay);
  while (assembler_.replay()) {
  }
  EXPECT_THAT(words(), ElementsAre("begin 6", "insert orders(b)", "end 6 @20"));
  ASSERT_EQ(assembler_.add(plain.stream_commit(5, {30}, {40})), Then::commit_ahead);
  assembler_.seal_ahead_commit()->ahead->commit();
  EXPECT_FALSE(assembler_.end_ahead());
  // What it described counts from now on.
  add({begin(8, 50), insert(orders, "c"), commit(50, 60)});
  EXPECT_THAT(words(), ElementsAre("begin 8", "insert orders(c)", "end 8 @60"));
}

TEST_F(AheadTest, TellsWhenAPartIsWorthHandingOver) {
  add(block(5, true, "a"));
  EXPECT_FALSE(assembler_.ahead_part_due());
  add(block(5, false, std::string(5 << 20, 'x').c_str()));
  EXPECT_TRUE(assembler_.ahead_part_due());
  part();
  EXPECT_FALSE(assembler_.ahead_part_due());
}

}  // namespace
}  // namespace tailrace::source
