#include "source/backlog_stream.h"

#include <gtest/gtest.h>

namespace tailrace::source {
namespace {

constexpr std::uint64_t mb = 1 << 20;
constexpr std::uint64_t much = 100'000 * mb;

TEST(Bites, BeginSmallAndGoOnAsUsual) {
  Bites bites;
  EXPECT_EQ(bites.first(much, 0), 8 * mb);
  EXPECT_EQ(bites.next({much, 0, true, false}), 32 * mb);
  EXPECT_EQ(bites.next({much, 10 * mb, true, false}), 32 * mb);
}

TEST(Bites, GrowWithWhatEachReadsAgain) {
  Bites bites;
  EXPECT_EQ(bites.first(much, 200 * mb), 100 * mb);
  EXPECT_EQ(bites.next({much, 300 * mb, true, false}), 300 * mb);
  EXPECT_EQ(bites.next({much, 5 * mb, true, false}), 32 * mb);
}

TEST(Bites, AreAsLargeAsCanBeForATransactionThatDoesNotFit) {
  Bites bites;
  EXPECT_EQ(bites.first(much, 0), 8 * mb);
  EXPECT_EQ(bites.next({much, 8 * mb, false, false}), 512 * mb);
  // Then it has to be streamed while it is in progress.
  EXPECT_EQ(bites.next({much, 520 * mb, false, false}), 0);
}

TEST(Bites, AreUsualAgainAfterALargeTransaction) {
  Bites bites;
  bites.first(much, 0);
  bites.next({much, 8 * mb, false, false});
  EXPECT_EQ(bites.next({much, 0, true, false}), 32 * mb);
  EXPECT_EQ(bites.next({much, 0, false, false}), 512 * mb);
}

TEST(Bites, DoNotLetTheTargetWaitWhereChangesAreDense) {
  Bites bites;
  bites.first(much, 0);
  EXPECT_EQ(bites.most_messages(), 100'000U);
  bites.next({much, 0, true, false, 5'000});
  EXPECT_EQ(bites.most_messages(), 100'000U);
  // A large transaction has to fit.
  bites.next({much, 0, false, false, 6'000});
  EXPECT_EQ(bites.most_messages(), std::nullopt);
  bites.next({much, 0, true, false, 100'000});
  EXPECT_EQ(bites.most_messages(), std::nullopt);
}

TEST(Bites, EndWhereLittleIsLeftOrTooMuchIsReadAgain) {
  Bites bites;
  EXPECT_EQ(bites.first(much, 2'000 * mb), 0);
  bites.first(much, 0);
  EXPECT_EQ(bites.next({mb, 0, true, false}), 0);
  EXPECT_EQ(bites.next({0, 0, false, false}), 0);
  // Reading 400 MB again for 12 would take longer than the walsender takes.
  EXPECT_EQ(bites.next({12 * mb, 400 * mb, true, false}), 0);
  bites.first(much, 0);
  EXPECT_EQ(bites.next({60 * mb, 400 * mb, true, false}), 400 * mb);
  EXPECT_EQ(bites.next({much, 2'000 * mb, true, false}), 0);
}

TEST(Bites, EndWhereRowsAreWide) {
  Bites bites;
  bites.first(much, 0);
  EXPECT_EQ(bites.next({much, 0, true, true}), 0);
}

TEST(Bites, EndWhereItIsWrittenAsFastAsItIsRead) {
  Bites bites;
  bites.first(40 * mb, 0);
  EXPECT_EQ(bites.next({15 * mb, 0, true, false}), 32 * mb);
  EXPECT_EQ(bites.next({10 * mb, 0, true, false}), 0);
  // More than a bite is a backlog, whoever writes it.
  EXPECT_EQ(bites.next({50 * mb, 0, true, false}), 32 * mb);
}

}  // namespace
}  // namespace tailrace::source
