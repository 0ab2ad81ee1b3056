#include "source/transaction_spool.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "base/error.h"

namespace tailrace::source {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct Kept {
  std::uint64_t arrival = 0;
  std::string payload;

  bool operator==(const Kept&) const = default;
};

std::vector<Kept> read(std::unique_ptr<SpoolReader> reader) {
  std::vector<Kept> out;
  while (auto record = reader->next()) out.push_back({record->arrival, std::string(record->payload)});
  EXPECT_FALSE(reader->next().has_value());
  return out;
}

std::vector<std::string> payloads(std::unique_ptr<SpoolReader> reader) {
  std::vector<std::string> out;
  for (auto& kept : read(std::move(reader))) out.push_back(std::move(kept.payload));
  return out;
}

TEST(TransactionSpool, GivesBackWhatItWasGiven) {
  TransactionSpool spool(testing::TempDir());
  spool.add(5, 5, 1, "one", true);
  spool.add(6, 6, 2, "other", false);
  spool.add(5, 7, 3, "", true);
  spool.add(5, 5, 4, std::string("\0\xff", 2), true);
  auto reader = spool.take(5);
  EXPECT_TRUE(reader->with_xid());
  EXPECT_THAT(read(std::move(reader)),
              ElementsAre(Kept{1, "one"}, Kept{3, ""}, Kept{4, std::string("\0\xff", 2)}));
  reader = spool.take(6);
  EXPECT_FALSE(reader->with_xid());
  EXPECT_THAT(payloads(std::move(reader)), ElementsAre("other"));
  // Taken is gone.
  EXPECT_THAT(payloads(spool.take(5)), IsEmpty());
}

TEST(TransactionSpool, KeepsALargeTransactionInOrderThroughItsFile) {
  TransactionSpool spool(testing::TempDir());
  std::mt19937_64 random(1);
  std::vector<Kept> expected;
  std::size_t bytes = 0;
  for (std::uint64_t i = 0; bytes < (2 << 20); ++i) {
    // Small ones, some that are larger than a block, and bytes that do not compress.
    std::size_t size = random() % 100 == 0 ? random() % 600'000 : random() % 2000;
    std::string payload(size, 'x');
    if (random() % 2 == 0) {
      for (auto& c : payload) c = static_cast<char>(random());
    }
    bytes += size;
    Xid subxid = 10 + static_cast<Xid>(random() % 3);
    spool.add(5, subxid, i, payload, true);
    spool.add(6, 6, i, "noise", true);
    if (subxid != 11) expected.push_back({i, std::move(payload)});
  }
  spool.abort(5, 11);
  EXPECT_EQ(read(spool.take(5)), expected);
}

TEST(TransactionSpool, LeavesNothingBehindInItsDirectory) {
  std::string directory = testing::TempDir() + "tailrace_spool_test";
  std::filesystem::create_directory(directory);
  {
    TransactionSpool spool(directory);
    for (int i = 0; i < 100; ++i) spool.add(5, 5, 1, std::string(10'000, 'x'), true);
    EXPECT_TRUE(std::filesystem::is_empty(directory));
  }
  std::filesystem::remove(directory);
}

TEST(TransactionSpool, ForgetsAbortedTransactions) {
  TransactionSpool spool(testing::TempDir());
  spool.add(5, 5, 1, "one", true);
  spool.abort(5, 5);
  EXPECT_THAT(payloads(spool.take(5)), IsEmpty());
  // An abort of something that was never sent is nothing.
  spool.abort(6, 6);
  spool.abort(6, 7);
  // The same xid is another transaction after a wrap-around: what was aborted then does not count now.
  spool.add(6, 7, 2, "two", true);
  EXPECT_THAT(payloads(spool.take(6)), ElementsAre("two"));
}

TEST(TransactionSpool, KeepsPreparedTransactionsByName) {
  TransactionSpool spool(testing::TempDir());
  EXPECT_FALSE(spool.oldest_prepared().valid());
  spool.add(5, 5, 1, "five", false);
  spool.prepare(5, "b", {200});
  spool.prepare(6, "empty", {100});
  EXPECT_EQ(spool.oldest_prepared(), Lsn{100});
  EXPECT_TRUE(spool.has_prepared("b"));
  EXPECT_FALSE(spool.has_prepared("c"));
  EXPECT_THAT(payloads(spool.take_prepared("empty")), IsEmpty());
  EXPECT_EQ(spool.oldest_prepared(), Lsn{200});
  EXPECT_THAT(payloads(spool.take_prepared("b")), ElementsAre("five"));
  EXPECT_FALSE(spool.has_prepared("b"));
  EXPECT_THROW(spool.take_prepared("b"), Error);
}

TEST(TransactionSpool, TakesTheLaterOfTwoPreparesOfOneName) {
  TransactionSpool spool(testing::TempDir());
  // Larger than a block, so that both have files.
  spool.add(5, 5, 1, std::string(300'000, 'a'), false);
  spool.prepare(5, "gid", {100});
  spool.add(5, 5, 2, std::string(300'000, 'b'), false);
  spool.prepare(5, "gid", {100});
  EXPECT_THAT(payloads(spool.take_prepared("gid")), ElementsAre(std::string(300'000, 'b')));
}

std::size_t descriptors() {
  auto all = std::filesystem::directory_iterator("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

TEST(TransactionSpool, ManyTransactionsShareMemoryAndFiles) {
  auto before = descriptors();
  {
    TransactionSpool spool(testing::TempDir());
    constexpr Xid many = 400;
    auto part = [](Xid xid, int number) {
      return fmt::format("{} {} ", xid, number) + std::string(90'000, 'x');
    };
    for (int number = 0; number < 4; ++number) {
      for (Xid xid = 1; xid <= many; ++xid) spool.add(xid, xid, 1, part(xid, number), true);
    }
    for (Xid xid = 1; xid <= many; xid += 2) spool.prepare(xid, std::to_string(xid), {xid});
    EXPECT_LT(descriptors(), before + 40);
    for (Xid xid = 1; xid <= many; ++xid) {
      auto got = payloads(xid % 2 == 1 ? spool.take_prepared(std::to_string(xid)) : spool.take(xid));
      EXPECT_THAT(got, ElementsAre(part(xid, 0), part(xid, 1), part(xid, 2), part(xid, 3)));
    }
  }
  EXPECT_EQ(descriptors(), before);
}

TEST(TransactionSpool, SaysWhereThereIsNoRoom) {
  TransactionSpool spool("/nowhere/at/all");
  try {
    spool.add(5, 5, 1, std::string(300'000, 'x'), true);
    FAIL() << "wrote to a directory that is not there";
  } catch (const Error& error) {
    EXPECT_EQ(error.retry(), Retry::transient);
    EXPECT_THAT(error.message(), testing::HasSubstr("/nowhere/at/all"));
  }
}

}  // namespace
}  // namespace tailrace::source
