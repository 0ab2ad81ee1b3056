#include "base/bounded_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

namespace tailrace {
namespace {

using namespace std::chrono_literals;
using Queue = BoundedQueue<std::unique_ptr<int>>;

std::unique_ptr<int> item(int value) {
  return std::make_unique<int>(value);
}

TEST(BoundedQueue, HandsItemsOverInOrder) {
  Queue queue(100);
  for (int i = 0; i < 3; ++i) {
    auto next = item(i);
    EXPECT_TRUE(queue.try_push(next, 10));
    EXPECT_EQ(next, nullptr);
  }
  EXPECT_EQ(queue.bytes(), 30u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(**queue.try_pop(), i);
  EXPECT_FALSE(queue.try_pop().has_value());
  EXPECT_EQ(queue.bytes(), 0u);
  EXPECT_TRUE(queue.empty());
}

TEST(BoundedQueue, LeavesAnItemThatDoesNotFitUntouched) {
  Queue queue(100);
  auto first = item(1);
  auto second = item(2);
  EXPECT_TRUE(queue.try_push(first, 60));
  EXPECT_FALSE(queue.try_push(second, 41));
  ASSERT_NE(second, nullptr);
  EXPECT_FALSE(queue.push_for(second, 41, 1ms));
  EXPECT_TRUE(queue.try_push(second, 40));
}

TEST(BoundedQueue, LetsAnItemThatIsLargerThanItInAlone) {
  Queue queue(100);
  auto huge = item(1);
  auto small = item(2);
  EXPECT_TRUE(queue.try_push(huge, 1'000'000));
  EXPECT_FALSE(queue.try_push(small, 1));
  EXPECT_EQ(**queue.try_pop(), 1);
  EXPECT_TRUE(queue.try_push(small, 1));
  auto again = item(3);
  EXPECT_FALSE(queue.try_push(again, 1'000'000));
}

TEST(BoundedQueue, IsAwaitedWhileSomebodyWaitsAndNothingIsThere) {
  Queue queue(100);
  EXPECT_FALSE(queue.awaited());
  std::thread waiter([&] { EXPECT_TRUE(queue.pop_for(1h).has_value()); });
  while (!queue.awaited()) std::this_thread::yield();
  auto next = item(1);
  EXPECT_TRUE(queue.try_push(next, 1));
  waiter.join();
  EXPECT_FALSE(queue.awaited());
}

TEST(BoundedQueue, WaitsForRoom) {
  Queue queue(10);
  auto first = item(1);
  EXPECT_TRUE(queue.try_push(first, 10));
  std::jthread consumer([&] {
    std::this_thread::sleep_for(20ms);
    queue.try_pop();
  });
  auto second = item(2);
  EXPECT_TRUE(queue.push_for(second, 10, 10s));
}

TEST(BoundedQueue, GivesWhatItHoldsBeforeItEnds) {
  Queue queue(100);
  auto first = item(1);
  queue.try_push(first, 10);
  queue.close();
  EXPECT_TRUE(queue.closed());
  EXPECT_EQ(**queue.pop_for(10s), 1);
  EXPECT_FALSE(queue.pop_for(10s).has_value());
}

TEST(BoundedQueue, TellsTheProducersErrorAfterItsItems) {
  Queue queue(100);
  auto first = item(1);
  queue.try_push(first, 10);
  queue.close(std::make_exception_ptr(std::runtime_error("lost")));
  // The first error is the cause.
  queue.close(std::make_exception_ptr(std::logic_error("later")));
  EXPECT_EQ(**queue.pop_for(10s), 1);
  EXPECT_THROW(queue.pop_for(10s), std::runtime_error);
  EXPECT_THROW(queue.try_pop(), std::runtime_error);
}

TEST(BoundedQueue, LetsAProducerGoWhenItIsClosed) {
  Queue queue(10);
  auto first = item(1);
  auto second = item(2);
  queue.try_push(first, 10);
  std::jthread closing([&] {
    std::this_thread::sleep_for(20ms);
    queue.close();
  });
  EXPECT_TRUE(queue.push_for(second, 10, 10s));
  auto third = item(3);
  EXPECT_TRUE(queue.try_push(third, 1000));
  EXPECT_EQ(**queue.try_pop(), 1);
  EXPECT_FALSE(queue.try_pop().has_value());
}

TEST(BoundedQueue, LosesNothingBetweenThreads) {
  constexpr int count = 50'000;
  BoundedQueue<int> queue(64);
  std::atomic<std::size_t> most = 0;
  std::jthread producer([&] {
    for (int i = 0; i < count; ++i) {
      int next = i;
      while (!queue.push_for(next, static_cast<std::size_t>(i % 40 + 1), 50ms)) {
      }
      most = std::max(most.load(), queue.bytes());
    }
    queue.close();
  });
  int expected = 0;
  while (expected < count) {
    auto got = queue.pop_for(10s);
    ASSERT_TRUE(got.has_value());
    ASSERT_EQ(*got, expected++);
  }
  EXPECT_FALSE(queue.pop_for(10s).has_value());
  EXPECT_LE(most.load(), 64u);
}

}  // namespace
}  // namespace tailrace
