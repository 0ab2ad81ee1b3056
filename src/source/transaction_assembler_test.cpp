#include "source/transaction_assembler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pgoutput/message_builder.h"

namespace tailrace::source {
namespace {

using pgoutput::make_relation;
using pgoutput::MessageBuilder;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr Oid orders = 42;
constexpr Oid items = 43;

const MessageBuilder plain;

/// An assembler whose batches are read as short words: "begin 1", "insert orders(a,b)", "end 1 @30".
class TransactionAssemblerTest : public testing::Test {
 protected:
  explicit TransactionAssemblerTest(Lsn applied = {}, bool local_only = false, bool ahead = false)
      : assembler_({.spool_directory = testing::TempDir(),
                    .applied = applied,
                    .local_only = local_only,
                    .ahead = ahead}) {}

  /// Adds messages and reads spooled transactions back where it is time to.
  void add(const std::vector<std::string>& messages) {
    for (const auto& message : messages) {
      if (assembler_.add(message) != TransactionAssembler::Then::replay) continue;
      while (assembler_.replay()) {
      }
    }
  }

  std::vector<std::string> words() { return words_of(assembler_.seal()); }

  std::vector<std::string> words_of(std::shared_ptr<const ChangeBatch> batch) {
    std::vector<std::string> out;
    for (const auto& transaction : batch->transactions) {
      if (transaction.begins) out.push_back(fmt::format("begin {}", transaction.xid));
      for (std::size_t i = 0; i < transaction.change_count; ++i) {
        out.push_back(describe(*batch, batch->changes[transaction.first_change + i]));
      }
      if (transaction.ends)
        out.push_back(fmt::format("end {} @{}", transaction.xid, transaction.end_lsn.value));
    }
    sealed_.push_back(std::move(batch));
    return out;
  }

  static std::string describe(const ChangeBatch& batch, const Change& change) {
    static constexpr const char* names[] = {"insert", "update", "delete", "truncate", "message"};
    std::string out = names[static_cast<std::size_t>(change.kind)];
    if (change.kind == ChangeKind::truncate) {
      for (auto relation : batch.truncates[change.index].relations)
        out += " " + batch.relations[relation]->name;
      return out;
    }
    if (change.kind == ChangeKind::message) {
      const auto& message = batch.messages[change.index];
      return fmt::format("message {}={}", message.prefix, message.content);
    }
    out += " " + batch.relations[change.index]->name;
    if (change.old_tuple.present()) out += show(change.old_tuple);
    if (change.new_tuple.present()) out += show(change.new_tuple);
    return out;
  }

  static std::string show(const TupleData& tuple) {
    std::string out = "(";
    for (TupleWalker columns(tuple); !columns.done();) {
      Value value = columns.next();
      if (out.size() > 1) out += ",";
      out += value.kind == ValueKind::null        ? "null"
             : value.kind == ValueKind::unchanged ? "?"
                                                  : std::string(value.bytes);
    }
    return out + ")";
  }

  void expect_refused(const std::string& message, const std::string& why) {
    try {
      assembler_.add(message);
      ADD_FAILURE() << "was accepted; expected: " << why;
    } catch (const Error& error) {
      EXPECT_THAT(error.message(), HasSubstr(why));
    }
  }

  static std::string begin(Xid xid, std::uint64_t commit) { return plain.begin(xid, {commit}, {7}); }
  static std::string commit(std::uint64_t commit, std::uint64_t end) {
    return plain.commit({commit}, {end}, {7});
  }
  static std::string relation(Oid oid, const char* name, std::size_t columns = 1) {
    return plain.relation(make_relation(oid, name, columns, {0}));
  }
  static std::string insert(Oid oid, const char* value) { return plain.insert(oid, {text_cell(value)}); }

  TransactionAssembler assembler_;
  std::vector<std::shared_ptr<const ChangeBatch>> sealed_;
};

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

// Handed out ahead.

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
