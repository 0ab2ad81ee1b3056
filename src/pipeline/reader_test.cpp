#include "pipeline/reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "pgoutput/message_builder.h"

// The reader between a stream that is written down here and a queue: nothing else is needed.

namespace tailrace::pipeline {
namespace {

using namespace std::chrono_literals;
using pgoutput::make_relation;
using pgoutput::MessageBuilder;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr Oid orders = 42;
const MessageBuilder plain;

/// Gives what the script says, one event after the other, and does in between what it says. At its end it asks
/// the reader to leave.
class ScriptedStream : public source::ChangeStream {
 public:
  struct Step {
    Event event = Event::drained;
    std::string payload = {};
    Lsn position = {};
    bool at_end = false;
    bool reply_requested = false;
    std::function<void()> before = {};
  };
  /// What the server heard, in order; outlives the stream.
  struct Heard {
    std::vector<Lsn> acknowledged;  ///< each value once
    int kept_alive = 0;
    int asked_position = 0;
    bool finished = false;
  };

  ScriptedStream(std::deque<Step> script, Heard& heard, StopSignal& stop, Lsn acknowledged = {})
      : script_(std::move(script)), heard_(heard), stop_(stop), acknowledged_(acknowledged) {}

  Event next(std::string_view& payload) override {
    if (script_.empty()) {
      stop_.request();
      return Event::drained;
    }
    step_ = std::move(script_.front());
    script_.pop_front();
    if (step_.before) step_.before();
    position_ = std::max(position_, step_.position);
    payload = step_.payload;
    return step_.event;
  }
  bool wait(std::chrono::microseconds, For) override { return false; }
  void wake_by(int) override {}
  void keep_alive() override {
    ++heard_.kept_alive;
    if (on_keep_alive) on_keep_alive();
  }
  void set_durable(Lsn lsn) override { acknowledged_ = std::max(acknowledged_, lsn); }
  void set_received(Lsn) override {}
  void send_status_if_changed() override {
    if (heard_.acknowledged.empty() || heard_.acknowledged.back() != acknowledged_)
      heard_.acknowledged.push_back(acknowledged_);
  }
  void ask_position() override { ++heard_.asked_position; }
  Lsn server_position() const override { return position_; }
  bool at_end() const override { return step_.at_end; }
  bool reply_requested() const override { return step_.reply_requested; }
  Lsn acknowledged() const override { return acknowledged_; }
  void finish() override { heard_.finished = true; }

  std::function<void()> on_keep_alive;

 private:
  std::deque<Step> script_;
  Heard& heard_;
  StopSignal& stop_;
  Lsn acknowledged_;
  Lsn position_;
  Step step_;
};

using Event = source::ChangeStream::Event;
using Script = std::deque<ScriptedStream::Step>;

class ReaderTest : public testing::Test {
 protected:
  explicit ReaderTest(std::size_t queue_bytes = 64 << 20) : queue_(queue_bytes) {}

  static ScriptedStream::Step message(std::string payload) { return {Event::message, std::move(payload)}; }

  static void add(Script& script, const std::vector<std::string>& messages) {
    for (const auto& payload : messages) script.push_back(message(payload));
  }
  static std::vector<std::string> transaction(Xid xid, std::uint64_t commit, const std::string& value) {
    return {plain.begin(xid, {commit}), plain.relation(make_relation(orders, "orders", 1, {0})),
            plain.insert(orders, {text_cell(value)}), plain.commit({commit}, {commit + 5})};
  }

  /// The first part of a transaction that is streamed before it commits.
  static std::vector<std::string> in_progress(Xid xid, const char* value) {
    MessageBuilder inside(xid);
    return {plain.stream_start(xid, true), inside.relation(make_relation(orders, "orders", 1, {0})),
            inside.insert(orders, {text_cell(value)}), plain.stream_stop()};
  }

  void run(Script script, bool ahead = false, Reader::GoOn go_on = {}) {
    auto stream = std::make_unique<ScriptedStream>(std::move(script), heard_, stop_, acknowledged_before_);
    stream->on_keep_alive = on_keep_alive_;
    Reader reader(std::move(stream), std::move(go_on),
                  source::TransactionAssembler({.spool_directory = testing::TempDir(), .ahead = ahead}), queue_,
                  feedback_, board_, stop_);
    reader.run();
    left_at_ = reader.left_at();
  }

  /// Each batch that was handed on, as "xid ... @progress", with + where a part of a transaction is missing and
  /// ! at the end of what there was.
  std::vector<std::string> delivered() {
    std::vector<std::string> out;
    while (auto batch = queue_.try_pop()) {
      std::string words;
      for (const auto& transaction : (*batch)->transactions) {
        words +=
            fmt::format("{}{}{} ", transaction.begins ? "" : "+", transaction.xid, transaction.ends ? "" : "+");
      }
      out.push_back(fmt::format("{}{}@{}{}", (*batch)->ahead ? "ahead " : "", words, (*batch)->progress.value,
                                (*batch)->caught_up ? "!" : ""));
    }
    return out;
  }

  StopSignal stop_;
  Feedback feedback_;
  StatusBoard board_;
  BatchQueue queue_;
  ScriptedStream::Heard heard_;
  Lsn acknowledged_before_;
  Lsn left_at_;
  std::function<void()> on_keep_alive_;
};

TEST_F(ReaderTest, HandsOnWhatGatheredWhenThereIsNoMore) {
  Script script;
  add(script, transaction(1, 10, "a"));
  add(script, transaction(2, 20, "b"));
  script.push_back({.event = Event::drained, .position = {25}, .at_end = true});
  run(std::move(script));
  EXPECT_THAT(delivered(), ElementsAre("1 2 @25!"));
  EXPECT_TRUE(heard_.finished);
}

TEST_F(ReaderTest, KeepsATransactionUntilItIsWhole) {
  Script script;
  auto messages = transaction(1, 10, "a");
  messages.pop_back();
  add(script, messages);
  script.push_back({.event = Event::drained, .at_end = true});
  run(std::move(script));
  EXPECT_THAT(delivered(), IsEmpty());
}

TEST_F(ReaderTest, AcknowledgesWhatIsDurableAndNoMore) {
  Script script;
  add(script, transaction(1, 10, "a"));
  script.push_back({.event = Event::drained, .position = {15}, .at_end = true});
  script.push_back({.event = Event::drained, .before = [this] { feedback_.set_durable({15}); }});
  add(script, transaction(2, 20, "b"));
  script.push_back({.event = Event::drained, .position = {25}, .at_end = true});
  feedback_.set_commits_wait(Feedback::Awaited::alone);  // without a pause between two acknowledgements
  run(std::move(script));
  EXPECT_THAT(heard_.acknowledged, ElementsAre(Lsn{0}, Lsn{15}));
  EXPECT_EQ(left_at_, Lsn{15});
}

TEST_F(ReaderTest, TheSlotStaysBeforeAPreparedTransaction) {
  Script script;
  add(script,
      {plain.begin_prepare(7, {10}, {15}, "gid"), plain.relation(make_relation(orders, "orders", 1, {0})),
       plain.insert(orders, {text_cell("a")}), plain.prepare(7, {10}, {15}, "gid")});
  add(script, transaction(8, 20, "b"));
  script.push_back({.event = Event::drained, .position = {25}, .at_end = true});
  script.push_back({.event = Event::drained, .before = [this] { feedback_.set_durable({25}); }});
  script.push_back({.event = Event::drained});
  feedback_.set_commits_wait(Feedback::Awaited::alone);
  run(std::move(script));
  EXPECT_THAT(delivered(), ElementsAre("8 @25!"));
  EXPECT_LT(left_at_, Lsn{15}) << "the spool alone has it";
}

TEST_F(ReaderTest, TheSlotStaysUntilPreparedTransactionsCameAgain) {
  // The target is at 100; the slot is read again from before it.
  feedback_.set_durable({100});
  acknowledged_before_ = Lsn{40};
  feedback_.set_commits_wait(Feedback::Awaited::alone);
  Script script;
  script.push_back({.event = Event::keepalive, .position = {60}});
  script.push_back({.event = Event::drained});
  script.push_back({.event = Event::keepalive, .position = {100}});
  script.push_back({.event = Event::drained});
  run(std::move(script));
  EXPECT_THAT(heard_.acknowledged, ElementsAre(Lsn{40}, Lsn{100}));
}

TEST_F(ReaderTest, APositionWithoutChangesIsHandedOnAtOnceToWhoWaits) {
  Script script;
  script.push_back({.event = Event::keepalive, .position = {50}});
  script.push_back({.event = Event::drained});
  feedback_.want_position(Feedback::Waiter::barrier, true);
  run(std::move(script));
  EXPECT_THAT(delivered(), ElementsAre("@50!"));
  EXPECT_GT(heard_.asked_position, 0);
}

TEST_F(ReaderTest, NobodyIsAskedForAPositionThatNobodyWants) {
  Script script;
  script.push_back({.event = Event::keepalive, .position = {50}});
  script.push_back({.event = Event::drained});
  feedback_.want_position(Feedback::Waiter::end, true);
  feedback_.want_position(Feedback::Waiter::end, false);
  run(std::move(script));
  EXPECT_EQ(heard_.asked_position, 0);
}

TEST_F(ReaderTest, AServerThatShutsDownGetsThePositionThatItAsksFor) {
  Script script;
  script.push_back({.event = Event::keepalive, .position = {50}, .reply_requested = true});
  run(std::move(script));
  EXPECT_THAT(delivered(), ElementsAre("@50!"));
}

/// The queue lets one batch in, whatever its size, and no other before somebody took that.
class ReaderOfAFullQueue : public ReaderTest {
 protected:
  ReaderOfAFullQueue() : ReaderTest(1) {}

  static Script two_batches() {
    Script script;
    add(script, transaction(1, 10, "a"));
    script.push_back({.event = Event::drained, .position = {15}, .at_end = true});
    add(script, transaction(2, 20, "b"));
    script.push_back({.event = Event::drained, .position = {25}, .at_end = true});
    return script;
  }
};

TEST_F(ReaderOfAFullQueue, GoesOnAcknowledging) {
  feedback_.set_commits_wait(Feedback::Awaited::alone);  // without a pause between two acknowledgements
  int waits = 0;
  std::vector<Lsn> acknowledged_meanwhile;
  on_keep_alive_ = [&] {
    feedback_.set_durable({15});
    if (++waits != 2) return;
    acknowledged_meanwhile = heard_.acknowledged;
    EXPECT_EQ((*queue_.try_pop())->progress, Lsn{15});
  };
  run(two_batches());
  EXPECT_THAT(acknowledged_meanwhile, ElementsAre(Lsn{0}, Lsn{15}));
  EXPECT_THAT(delivered(), ElementsAre("2 @25!"));
}

TEST_F(ReaderOfAFullQueue, LeavesWhenItIsClosed) {
  on_keep_alive_ = [&] { queue_.close(); };
  run(two_batches());
  EXPECT_THAT(delivered(), ElementsAre("1 @15!"));
}

TEST_F(ReaderTest, WhatEndsTheStreamReachesWhoeverTakesTheBatches) {
  Script script;
  add(script, transaction(1, 10, "a"));
  script.push_back({.event = Event::drained, .position = {15}, .at_end = true});
  script.push_back({.event = Event::drained, .before = [] { throw Error(Retry::transient, "cut"); }});
  run(std::move(script));
  EXPECT_EQ((*queue_.try_pop())->progress, Lsn{15}) << "what came before is whole";
  EXPECT_THROW(queue_.try_pop(), Error);
  EXPECT_FALSE(left_at_.valid());
}

TEST_F(ReaderTest, AServerThatEndsTheStreamIsTriedAgain) {
  run({{.event = Event::ended}});
  try {
    queue_.try_pop();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.retry(), Retry::transient);
  }
}

TEST_F(ReaderTest, AnotherStreamGoesOnAfterTheLastWholeTransaction) {
  Script script;
  add(script, transaction(1, 10, "a"));
  add(script, in_progress(5, "b"));
  script.push_back({.event = Event::handed_over, .position = {15}});
  std::vector<Lsn> asked;
  ScriptedStream::Heard second;
  run(std::move(script), false, [&](Lsn start, Lsn acknowledged) {
    asked = {start, acknowledged};
    Script rest;
    add(rest, in_progress(5, "b"));
    rest.push_back(message(plain.stream_commit(5, {30}, {40})));
    rest.push_back({.event = Event::drained, .position = {40}, .at_end = true});
    return std::make_unique<ScriptedStream>(std::move(rest), second, stop_);
  });
  EXPECT_THAT(asked, ElementsAre(Lsn{15}, Lsn{0}));
  EXPECT_TRUE(heard_.finished);
  EXPECT_EQ((*queue_.try_pop())->progress, Lsn{15});
  auto rest = *queue_.try_pop();
  EXPECT_EQ(rest->progress, Lsn{40});
  EXPECT_EQ(rest->changes.size(), 1U) << "what was in progress came again from its beginning";
}

TEST_F(ReaderTest, ALargeTransactionComesInParts) {
  Script script;
  script.push_back(message(plain.begin(1, {10})));
  script.push_back(message(plain.relation(make_relation(orders, "orders", 1, {0}))));
  for (int i = 0; i < 9; ++i)
    script.push_back(message(plain.insert(orders, {text_cell(std::string(1 << 20, 'x'))})));
  script.push_back(message(plain.commit({10}, {15})));
  script.push_back({.event = Event::drained, .position = {15}, .at_end = true});
  run(std::move(script));
  auto parts = delivered();
  ASSERT_GE(parts.size(), 3U);
  EXPECT_EQ(parts.front(), "1+ @0");
  EXPECT_EQ(parts.back(), "+1 @15!");
}

TEST_F(ReaderTest, WhatTheTargetGaveUpAheadComesWhole) {
  MessageBuilder inside(5);
  Script script;
  add(script,
      {plain.stream_start(5, true), inside.relation(make_relation(orders, "orders", 1, {0})),
       inside.insert(orders, {text_cell("a")}), plain.stream_stop(), plain.stream_commit(5, {30}, {40})});
  script.push_back({.event = Event::drained, .position = {40}, .at_end = true});
  // The reader waits for the fate, and keeps the connection alive meanwhile.
  std::vector<std::string> ahead;
  on_keep_alive_ = [&] {
    while (auto batch = queue_.try_pop()) {
      ahead.emplace_back((*batch)->transactions.empty() ? "nothing" : "part");
      if ((*batch)->ahead) (*batch)->ahead->give_up();
    }
  };
  run(std::move(script), /*ahead=*/true);
  EXPECT_FALSE(ahead.empty());
  EXPECT_THAT(delivered(), ElementsAre("5 @40!"));
}

}  // namespace
}  // namespace tailrace::pipeline
