#include "source/transaction_assembler_fixture.h"

namespace tailrace::source {
namespace {

TEST_F(TransactionAssemblerTest, GathersWholeTransactions) {
  add({begin(1, 10), relation(orders, "orders", 2), plain.insert(orders, {text_cell("1"), text_cell("a")}),
       plain.update(orders, 'K', {text_cell("1"), {}}, {text_cell("2"), unchanged_cell()}), commit(10, 20)});
  EXPECT_FALSE(assembler_.in_transaction());
  EXPECT_EQ(assembler_.progress(), Lsn{20});
  add({begin(2, 30), plain.remove(orders, 'K', {text_cell("2"), {}}), plain.truncate({orders}, 3),
       commit(30, 40)});
  EXPECT_THAT(words(), ElementsAre("begin 1", "insert orders(1,a)", "update orders(1,null)(2,?)", "end 1 @20",
                                   "begin 2", "delete orders(2,null)", "truncate orders", "end 2 @40"));
  const ChangeBatch& batch = *sealed_[0];
  EXPECT_EQ(batch.progress, Lsn{40});
  EXPECT_EQ(batch.relations.size(), 1u);
  EXPECT_EQ(batch.transactions[0].commit_lsn, Lsn{10});
  EXPECT_EQ(batch.transactions[0].commit_time, PgTimestamp{7});
  EXPECT_TRUE(batch.truncates[0].cascade);
  EXPECT_TRUE(batch.truncates[0].restart_identity);
}

TEST_F(TransactionAssemblerTest, CopiesWhatItKeeps) {
  std::string message = insert(orders, "precious");
  add({begin(1, 10), relation(orders, "orders")});
  assembler_.add(message);
  message.assign(message.size(), 'x');
  add({commit(10, 20)});
  EXPECT_THAT(words(), ElementsAre("begin 1", "insert orders(precious)", "end 1 @20"));
}

TEST_F(TransactionAssemblerTest, HandsOnALongTransactionInParts) {
  add({begin(1, 10), relation(orders, "orders"), insert(orders, "a")});
  EXPECT_TRUE(assembler_.in_transaction());
  EXPECT_THAT(words(), ElementsAre("begin 1", "insert orders(a)"));
  add({insert(orders, "b")});
  EXPECT_THAT(words(), ElementsAre("insert orders(b)"));
  add({insert(orders, "c"), commit(10, 20), begin(2, 30), insert(orders, "d"), commit(30, 40)});
  EXPECT_THAT(words(),
              ElementsAre("insert orders(c)", "end 1 @20", "begin 2", "insert orders(d)", "end 2 @40"));
  // Until the end is here nothing of it may count as progress.
  EXPECT_EQ(sealed_[0]->progress, Lsn{});
  EXPECT_EQ(sealed_[1]->progress, Lsn{});
  EXPECT_EQ(sealed_[2]->progress, Lsn{40});
  EXPECT_EQ(sealed_[1]->transactions[0].commit_lsn, Lsn{10});
}

TEST_F(TransactionAssemblerTest, CutsATransactionThatBeganBehindAnother) {
  add({begin(1, 10), relation(orders, "orders"), insert(orders, "a"), commit(10, 20), begin(2, 30),
       insert(orders, "b")});
  EXPECT_THAT(words(), ElementsAre("begin 1", "insert orders(a)", "end 1 @20", "begin 2", "insert orders(b)"));
  EXPECT_EQ(sealed_[0]->progress, Lsn{20});
  add({insert(orders, "c"), commit(30, 40)});
  EXPECT_THAT(words(), ElementsAre("insert orders(c)", "end 2 @40"));
}

TEST_F(TransactionAssemblerTest, KeepsAPartThatHoldsNothingButTheEnd) {
  add({begin(1, 10), relation(orders, "orders"), insert(orders, "a")});
  words();
  add({commit(10, 20)});
  EXPECT_THAT(words(), ElementsAre("end 1 @20"));
}

TEST_F(TransactionAssemblerTest, TellsTheOriginInEveryPart) {
  add({begin(1, 10), plain.origin({5}, "elsewhere"), relation(orders, "orders"), insert(orders, "a")});
  words();
  add({commit(10, 20), begin(2, 30), commit(30, 40)});
  words();
  EXPECT_EQ(sealed_[0]->transactions[0].origin, "elsewhere");
  EXPECT_EQ(sealed_[1]->transactions[0].origin, "elsewhere");
  EXPECT_EQ(sealed_[1]->transactions[1].origin, "");
}

TEST_F(TransactionAssemblerTest, MovesOnWithEmptyTransactionsAndKeepalives) {
  add({begin(1, 10), commit(10, 20)});
  EXPECT_EQ(assembler_.progress(), Lsn{20});
  assembler_.advance({90});
  assembler_.advance({50});
  EXPECT_THAT(words(), ElementsAre("begin 1", "end 1 @20"));
  EXPECT_EQ(sealed_[0]->progress, Lsn{90});
}

TEST_F(TransactionAssemblerTest, KeepsVersionsOfARelationApart) {
  add({begin(1, 10), relation(orders, "orders", 1), insert(orders, "a"), relation(orders, "orders", 2),
       plain.insert(orders, {text_cell("b"), text_cell("c")}), relation(orders, "orders", 2),
       plain.insert(orders, {text_cell("d"), text_cell("e")}), commit(10, 20)});
  EXPECT_THAT(words(), ElementsAre("begin 1", "insert orders(a)", "insert orders(b,c)", "insert orders(d,e)",
                                   "end 1 @20"));
  const ChangeBatch& batch = *sealed_[0];
  ASSERT_EQ(batch.relations.size(), 2u);
  EXPECT_EQ(batch.relations[0]->columns.size(), 1u);
  EXPECT_EQ(batch.relations[1]->columns.size(), 2u);
  EXPECT_EQ(batch.changes[2].index, 1u);
}

TEST_F(TransactionAssemblerTest, KeepsOneObjectForARelationThatDidNotChange) {
  add({begin(1, 10), relation(orders, "orders"), relation(items, "items"), insert(items, "a"),
       insert(orders, "b"), commit(10, 20)});
  words();
  add({begin(2, 30), relation(orders, "orders"), insert(orders, "c"), insert(items, "d"), commit(30, 40)});
  EXPECT_THAT(words(), ElementsAre("begin 2", "insert orders(c)", "insert items(d)", "end 2 @40"));
  EXPECT_EQ(sealed_[0]->relations[1], sealed_[1]->relations[0]);
  EXPECT_EQ(sealed_[0]->relations[0], sealed_[1]->relations[1]);
}

TEST_F(TransactionAssemblerTest, CarriesMessagesInsideAndOutsideOfTransactions) {
  add({plain.message(false, {5}, "free", "1"), begin(1, 10), plain.message(true, {6}, "bound", "2"),
       commit(10, 20)});
  EXPECT_TRUE(assembler_.has_changes());
  EXPECT_THAT(words(), ElementsAre("begin 1", "message bound=2", "end 1 @20"));
  const auto& messages = sealed_[0]->messages;
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages[0].prefix, "free");
  EXPECT_FALSE(messages[0].transactional);
  EXPECT_EQ(messages[0].lsn, Lsn{5});
  EXPECT_EQ(messages[1].content, "2");
}

TEST_F(TransactionAssemblerTest, CountsTheBytesOfMessages) {
  std::string large(3 << 20, 'x');
  add({plain.message(false, {5}, "free", large)});
  EXPECT_GE(assembler_.bytes(), large.size());
}

TEST_F(TransactionAssemblerTest, RefusesWhatComesOutOfOrder) {
  expect_refused(insert(orders, "a"), "outside of a transaction");
  expect_refused(plain.truncate({orders}), "outside of a transaction");
  expect_refused(commit(10, 20), "never began");
  add({begin(1, 10)});
  expect_refused(begin(2, 20), "inside of another");
  expect_refused(insert(orders, "a"), "not described");
  expect_refused(plain.truncate({orders}), "not described");
  add({relation(orders, "orders", 2)});
  expect_refused(insert(orders, "a"), "number of columns");
  for (const auto& message :
       {plain.begin_prepare(3, {30}, {40}, "gid"), plain.stream_commit(3, {30}, {40}), plain.stream_abort(3, 3),
        plain.rollback_prepared(3, {30}, {40}, "gid"), plain.stream_start(3, true)}) {
    expect_refused(message, "inside of a transaction");
  }
}

TEST_F(TransactionAssemblerTest, RefusesAPrepareThatNeverBegan) {
  expect_refused(plain.prepare(5, {10}, {20}, "gid"), "never began");
}

TEST_F(TransactionAssemblerTest, RefusesAFrameInsideOfABlock) {
  MessageBuilder block(5);
  for (const auto& frame :
       {begin(1, 10), commit(10, 20), plain.stream_commit(5, {10}, {20}), plain.stream_abort(5, 5),
        plain.prepare(5, {10}, {20}, "gid"), plain.commit_prepared(5, {10}, {20}, "gid"),
        plain.begin_prepare(5, {10}, {20}, "gid")}) {
    TransactionAssembler assembler({.spool_directory = testing::TempDir()});
    assembler.add(plain.stream_start(5, true));
    EXPECT_THROW(assembler.add(frame), Error) << frame[0];
    TransactionAssembler preparing({.spool_directory = testing::TempDir()});
    preparing.add(plain.begin_prepare(5, {10}, {20}, "gid"));
    if (frame[0] == 'P') continue;
    EXPECT_THROW(preparing.add(frame), Error) << frame[0];
  }
}

// Streamed while in progress.

TEST_F(TransactionAssemblerTest, GivesAStreamedTransactionOutAtItsCommit) {
  MessageBuilder block(5);
  add({plain.stream_start(5, true), block.relation(make_relation(orders, "orders", 1, {0})),
       block.insert(orders, {text_cell("a")}), plain.stream_stop()});
  EXPECT_FALSE(assembler_.has_changes());
  EXPECT_FALSE(assembler_.in_transaction());
  add({plain.stream_start(5, false), block.insert(orders, {text_cell("b")}),
       block.message(true, {3}, "prefix", "content"), block.truncate({orders}), plain.stream_stop()});
  EXPECT_EQ(assembler_.progress(), Lsn{});
  add({plain.stream_commit(5, {10}, {20}, {7})});
  EXPECT_THAT(words(), ElementsAre("begin 5", "insert orders(a)", "insert orders(b)", "message prefix=content",
                                   "truncate orders", "end 5 @20"));
  EXPECT_EQ(sealed_[0]->transactions[0].commit_lsn, Lsn{10});
  EXPECT_EQ(sealed_[0]->transactions[0].commit_time, PgTimestamp{7});
  EXPECT_EQ(assembler_.progress(), Lsn{20});
}

TEST_F(TransactionAssemblerTest, ReadsALongStreamedTransactionBackInParts) {
  MessageBuilder block(5);
  add({plain.stream_start(5, true), block.relation(make_relation(orders, "orders", 1, {0}))});
  std::vector<std::string> expected = {"begin 5"};
  for (int i = 0; i < 2500; ++i) {
    add({block.insert(orders, {text_cell(std::to_string(i))})});
    expected.push_back(fmt::format("insert orders({})", i));
  }
  expected.push_back("end 5 @20");
  add({plain.stream_stop()});
  ASSERT_EQ(assembler_.add(plain.stream_commit(5, {10}, {20})), TransactionAssembler::Then::replay);
  std::vector<std::string> got;
  int parts = 0;
  for (bool more = true; more; ++parts) {
    more = assembler_.replay();
    EXPECT_EQ(assembler_.in_transaction(), more);
    for (auto& word : words()) got.push_back(std::move(word));
  }
  EXPECT_GE(parts, 3);
  EXPECT_EQ(got, expected);
}

TEST_F(TransactionAssemblerTest, KeepsInterleavedTransactionsApart) {
  MessageBuilder five(5);
  MessageBuilder six(6);
  Relation table = make_relation(orders, "orders", 1, {0});
  add({plain.stream_start(5, true), five.relation(table), five.insert(orders, {text_cell("5a")}),
       plain.stream_stop(), plain.stream_start(6, true), six.relation(table),
       six.insert(orders, {text_cell("6a")}), plain.stream_stop(), begin(7, 10), relation(orders, "orders"),
       insert(orders, "7a"), commit(10, 20), plain.stream_start(5, false),
       five.insert(orders, {text_cell("5b")}), plain.stream_stop(), plain.stream_commit(6, {30}, {40}),
       plain.stream_commit(5, {50}, {60})});
  EXPECT_THAT(words(),
              ElementsAre("begin 7", "insert orders(7a)", "end 7 @20", "begin 6", "insert orders(6a)",
                          "end 6 @40", "begin 5", "insert orders(5a)", "insert orders(5b)", "end 5 @60"));
}

TEST_F(TransactionAssemblerTest, LeavesOutAbortedSubtransactions) {
  MessageBuilder top(5);
  MessageBuilder first(6);
  MessageBuilder second(7);
  add({plain.stream_start(5, true), top.relation(make_relation(orders, "orders", 1, {0})),
       top.insert(orders, {text_cell("top")}), first.insert(orders, {text_cell("first")}),
       second.insert(orders, {text_cell("second")}), plain.stream_stop(), plain.stream_abort(5, 6),
       plain.stream_start(5, false), second.insert(orders, {text_cell("again")}), plain.stream_stop(),
       plain.stream_commit(5, {10}, {20})});
  EXPECT_THAT(words(), ElementsAre("begin 5", "insert orders(top)", "insert orders(second)",
                                   "insert orders(again)", "end 5 @20"));
}

TEST_F(TransactionAssemblerTest, ForgetsAnAbortedTransaction) {
  MessageBuilder block(5);
  add({plain.stream_start(5, true), block.relation(make_relation(orders, "orders", 1, {0})),
       block.insert(orders, {text_cell("a")}), plain.stream_stop(), plain.stream_abort(5, 5)});
  EXPECT_FALSE(assembler_.has_changes());
  // Its description went with it: the server describes the table again before the next use.
  add({begin(6, 10)});
  expect_refused(insert(orders, "b"), "not described");
}

// What a streamed transaction says of a table counts for itself, and for the others from its commit on.

TEST_F(TransactionAssemblerTest, KeepsAStreamedDescriptionPrivateUntilTheCommit) {
  MessageBuilder block(5);
  add({begin(1, 10), relation(orders, "orders", 1), commit(10, 20), plain.stream_start(5, true),
       block.relation(make_relation(orders, "orders", 2, {0})),
       block.insert(orders, {text_cell("a"), text_cell("b")}), plain.stream_stop(), begin(2, 30),
       insert(orders, "old shape"), commit(30, 40), plain.stream_commit(5, {50}, {60}), begin(3, 70),
       plain.insert(orders, {text_cell("new"), text_cell("shape")}), commit(70, 80)});
  EXPECT_THAT(words(), ElementsAre("begin 1", "end 1 @20", "begin 2", "insert orders(old shape)", "end 2 @40",
                                   "begin 5", "insert orders(a,b)", "end 5 @60", "begin 3",
                                   "insert orders(new,shape)", "end 3 @80"));
}

TEST_F(TransactionAssemblerTest, PrefersTheDescriptionThatCameLast) {
  MessageBuilder block(5);
  add({plain.stream_start(5, true), block.relation(make_relation(orders, "orders", 1, {0})),
       block.insert(orders, {text_cell("streamed")}), plain.stream_stop(), begin(2, 30),
       relation(orders, "orders", 2), plain.insert(orders, {text_cell("a"), text_cell("b")}), commit(30, 40),
       plain.stream_commit(5, {50}, {60}), begin(3, 70), plain.insert(orders, {text_cell("c"), text_cell("d")}),
       commit(70, 80)});
  EXPECT_THAT(words(),
              ElementsAre("begin 2", "insert orders(a,b)", "end 2 @40", "begin 5", "insert orders(streamed)",
                          "end 5 @60", "begin 3", "insert orders(c,d)", "end 3 @80"));
}

TEST_F(TransactionAssemblerTest, ForgetsTheDescriptionOfAnAbortedSubtransaction) {
  MessageBuilder top(5);
  MessageBuilder sub(6);
  add({plain.stream_start(5, true), top.relation(make_relation(orders, "orders", 1, {0})),
       top.insert(orders, {text_cell("a")}), sub.relation(make_relation(orders, "orders", 2, {0})),
       sub.insert(orders, {text_cell("x"), text_cell("y")}), plain.stream_stop(), plain.stream_abort(5, 6),
       plain.stream_start(5, false), top.relation(make_relation(orders, "orders", 1, {0})),
       top.insert(orders, {text_cell("b")}), plain.stream_stop(), plain.stream_commit(5, {10}, {20})});
  EXPECT_THAT(words(), ElementsAre("begin 5", "insert orders(a)", "insert orders(b)", "end 5 @20"));
}

TEST_F(TransactionAssemblerTest, SharesADescriptionThatAStreamedTransactionRepeats) {
  MessageBuilder block(5);
  add({begin(1, 10), relation(orders, "orders"), insert(orders, "a"), commit(10, 20),
       plain.stream_start(5, true), block.relation(make_relation(orders, "orders", 1, {0})),
       block.insert(orders, {text_cell("b")}), plain.stream_stop(), plain.stream_commit(5, {30}, {40})});
  words();
  // The same object, or the target would be prepared anew for nothing.
  for (const auto& relation : sealed_[0]->relations) EXPECT_EQ(relation, sealed_[0]->relations[0]);
}

// Two-phase commit.

TEST_F(TransactionAssemblerTest, HoldsAPreparedTransactionUntilItsOutcome) {
  add({plain.begin_prepare(5, {10}, {15}, "gid"), relation(orders, "orders"), insert(orders, "a"),
       plain.prepare(5, {10}, {15}, "gid")});
  EXPECT_FALSE(assembler_.has_changes());
  EXPECT_EQ(assembler_.acknowledge_below(), Lsn{10});
  // The description counts at once: the server will not repeat it.
  add({begin(6, 20), insert(orders, "b"), commit(20, 30)});
  EXPECT_THAT(words(), ElementsAre("begin 6", "insert orders(b)", "end 6 @30"));
  add({plain.commit_prepared(5, {40}, {50}, "gid")});
  EXPECT_FALSE(assembler_.acknowledge_below().valid());
  EXPECT_THAT(words(), ElementsAre("begin 5", "insert orders(a)", "end 5 @50"));
  EXPECT_EQ(sealed_[1]->transactions[0].commit_lsn, Lsn{40});
}

TEST_F(TransactionAssemblerTest, DropsAPreparedTransactionThatIsRolledBack) {
  add({plain.begin_prepare(5, {10}, {15}, "one"), relation(orders, "orders"), insert(orders, "a"),
       plain.prepare(5, {10}, {15}, "one"), plain.begin_prepare(6, {20}, {25}, "two"), insert(orders, "b"),
       plain.prepare(6, {20}, {25}, "two"), plain.rollback_prepared(5, {15}, {35}, "one")});
  EXPECT_EQ(assembler_.acknowledge_below(), Lsn{20});
  EXPECT_EQ(assembler_.progress(), Lsn{35});
  EXPECT_FALSE(assembler_.has_changes());
  expect_refused(plain.commit_prepared(5, {40}, {50}, "one"), "earlier reader");
  // A rollback of something that was never received, or is gone already, is nothing.
  add({plain.rollback_prepared(5, {15}, {60}, "one")});
  EXPECT_EQ(assembler_.progress(), Lsn{60});
}

TEST_F(TransactionAssemblerTest, HoldsAStreamedTransactionThatIsPrepared) {
  MessageBuilder block(5);
  MessageBuilder sub(6);
  add({plain.stream_start(5, true), block.relation(make_relation(orders, "orders", 1, {0})),
       block.insert(orders, {text_cell("a")}), sub.insert(orders, {text_cell("gone")}), plain.stream_stop(),
       plain.stream_abort(5, 6), plain.stream_prepare(5, {10}, {15}, "gid")});
  EXPECT_EQ(assembler_.acknowledge_below(), Lsn{10});
  add({plain.commit_prepared(5, {40}, {50}, "gid")});
  EXPECT_THAT(words(), ElementsAre("begin 5", "insert orders(a)", "end 5 @50"));
}

TEST_F(TransactionAssemblerTest, TakesAPrepareAgainThatTheServerSendsAgain) {
  for (int i = 0; i < 2; ++i) {
    add({plain.begin_prepare(5, {10}, {15}, "gid"), relation(orders, "orders"), insert(orders, "a"),
         plain.prepare(5, {10}, {15}, "gid")});
  }
  add({plain.commit_prepared(5, {40}, {50}, "gid")});
  EXPECT_THAT(words(), ElementsAre("begin 5", "insert orders(a)", "end 5 @50"));
}

/// What the target holds up to 50 comes again.
class SkippingAssemblerTest : public TransactionAssemblerTest {
 protected:
  SkippingAssemblerTest() : TransactionAssemblerTest(Lsn{50}) {}
};

TEST_F(SkippingAssemblerTest, LeavesOutWhatTheTargetHolds) {
  EXPECT_EQ(assembler_.progress(), Lsn{50});
  add({begin(1, 40), relation(orders, "orders"), insert(orders, "a"), plain.truncate({orders}),
       plain.message(true, {3}, "p", "c")});
  EXPECT_TRUE(assembler_.in_transaction());
  // In the middle of what is left out there is nothing to hand on, not even a beginning.
  EXPECT_THAT(words(), IsEmpty());
  add({insert(orders, "b"), commit(40, 50)});
  EXPECT_FALSE(assembler_.has_changes());
  EXPECT_EQ(assembler_.progress(), Lsn{50});
  // A transaction whose commit record starts where the last one ended is not in the target.
  add({begin(2, 50), insert(orders, "c"), commit(50, 60)});
  EXPECT_THAT(words(), ElementsAre("begin 2", "insert orders(c)", "end 2 @60"));
  EXPECT_EQ(assembler_.progress(), Lsn{60});
}

TEST_F(SkippingAssemblerTest, ReadsPastSpooledTransactionsThatTheTargetHolds) {
  MessageBuilder block(5);
  add({plain.stream_start(5, true), block.relation(make_relation(orders, "orders", 1, {0})),
       block.insert(orders, {text_cell("a")}), plain.stream_stop(), plain.stream_commit(5, {40}, {45}),
       plain.begin_prepare(6, {46}, {47}, "gid"), insert(orders, "b"), plain.prepare(6, {46}, {47}, "gid"),
       plain.commit_prepared(6, {48}, {50}, "gid")});
  EXPECT_THAT(words(), IsEmpty());
  // What they described holds for later ones.
  add({begin(7, 60), insert(orders, "c"), commit(60, 70)});
  EXPECT_THAT(words(), ElementsAre("begin 7", "insert orders(c)", "end 7 @70"));
}

TEST_F(SkippingAssemblerTest, AppliesAPrepareFromBeforeWhoseCommitComesAfter) {
  add({plain.begin_prepare(6, {30}, {35}, "gid"), relation(orders, "orders"), insert(orders, "a"),
       plain.prepare(6, {30}, {35}, "gid"), plain.commit_prepared(6, {60}, {70}, "gid")});
  EXPECT_THAT(words(), ElementsAre("begin 6", "insert orders(a)", "end 6 @70"));
}

/// Where servers do not filter by origin.
class LocalOnlyAssemblerTest : public TransactionAssemblerTest {
 protected:
  LocalOnlyAssemblerTest() : TransactionAssemblerTest(Lsn{5}, /*local_only=*/true) {}
};

TEST_F(LocalOnlyAssemblerTest, LeavesOutWhatNamesAnOriginAndMovesOn) {
  add({begin(1, 10), plain.origin({5}, "elsewhere"), relation(orders, "orders"), insert(orders, "a"),
       plain.truncate({orders}), plain.message(true, {3}, "p", "c")});
  EXPECT_THAT(words(), IsEmpty());
  add({insert(orders, "b"), commit(10, 20)});
  EXPECT_FALSE(assembler_.has_changes());
  EXPECT_EQ(assembler_.progress(), Lsn{20});
  EXPECT_EQ(assembler_.last_kept(), Lsn{});
  // What it described holds for later ones.
  add({begin(2, 30), insert(orders, "c"), commit(30, 40)});
  EXPECT_THAT(words(), ElementsAre("begin 2", "insert orders(c)", "end 2 @40"));
  EXPECT_EQ(sealed_[1]->progress, Lsn{40});
  EXPECT_EQ(assembler_.last_kept(), Lsn{40});
}

TEST_F(LocalOnlyAssemblerTest, LeavesOutWhatWasPrepared) {
  add({plain.begin_prepare(5, {10}, {15}, "gid"), plain.origin({5}, "elsewhere"), relation(orders, "orders"),
       insert(orders, "a"), plain.prepare(5, {10}, {15}, "gid"), begin(6, 20), insert(orders, "b"),
       commit(20, 30), plain.commit_prepared(5, {40}, {50}, "gid")});
  EXPECT_THAT(words(), ElementsAre("begin 6", "insert orders(b)", "end 6 @30"));
  EXPECT_EQ(assembler_.progress(), Lsn{50});
}

TEST_F(LocalOnlyAssemblerTest, RefusesAnOriginThatComesTooLate) {
  add({begin(1, 10), relation(orders, "orders"), insert(orders, "a")});
  expect_refused(plain.origin({5}, "elsewhere"), "in the middle");
}

}  // namespace
}  // namespace tailrace::source
