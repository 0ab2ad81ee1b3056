#include "model/seen_transactions.h"

#include <gtest/gtest.h>

namespace tailrace {
namespace {

TEST(SeenTransactions, TellsWhatTheSnapshotShowed) {
  auto seen = SeenTransactions::parse("100:110:100,105 0/5000");
  ASSERT_TRUE(seen.has_value());
  Lsn before{0x4000};
  EXPECT_TRUE(seen->contains(99, before));
  EXPECT_FALSE(seen->contains(100, before));
  EXPECT_TRUE(seen->contains(101, before));
  EXPECT_FALSE(seen->contains(105, before));
  EXPECT_TRUE(seen->contains(109, before));
  EXPECT_FALSE(seen->contains(110, before));
  EXPECT_FALSE(seen->contains(111, before));
}

TEST(SeenTransactions, NothingThatCommitsLaterWasSeen) {
  auto seen = SeenTransactions::parse("100:110: 0/5000");
  ASSERT_TRUE(seen.has_value());
  EXPECT_TRUE(seen->contains(101, Lsn{0x4fff}));
  EXPECT_FALSE(seen->contains(101, Lsn{0x5000}));
}

TEST(SeenTransactions, NumbersGoRoundInTheStream) {
  // Epoch 3, a little beyond its beginning; the transaction is of the epoch before.
  std::uint64_t beginning = 3ULL << 32;
  SeenTransactions seen{beginning - 5, beginning + 5, {beginning - 5, beginning + 2}, Lsn{0x5000}};
  Lsn before{0x4000};
  EXPECT_TRUE(seen.contains(0xfffffff0, before));
  EXPECT_FALSE(seen.contains(0xfffffffb, before));
  EXPECT_TRUE(seen.contains(0xfffffffc, before));
  EXPECT_TRUE(seen.contains(1, before));
  EXPECT_FALSE(seen.contains(2, before));
  EXPECT_FALSE(seen.contains(5, before));
}

TEST(SeenTransactions, ComesBackFromItsText) {
  SeenTransactions seen{100, 110, {100, 105}, Lsn{0x5000}};
  EXPECT_EQ(seen.str(), "100:110:100,105 0/5000");
  EXPECT_EQ(SeenTransactions::parse(seen.str())->str(), seen.str());
  for (const char* broken : {"", "1:2:", "2:1: 0/1", "1:2:x 0/1", "1:2:1,, 0/1", "a:2: 0/1", "1:2: nowhere"})
    EXPECT_FALSE(SeenTransactions::parse(broken).has_value()) << broken;
}

}  // namespace
}  // namespace tailrace
