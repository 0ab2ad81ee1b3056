#include "source/described_leaves.h"

#include <gtest/gtest.h>

#include <set>

namespace tailrace::source {
namespace {

constexpr Oid root = 1;
constexpr Oid leaf = 2;
constexpr Oid other = 3;

TEST(DescribedLeaves, TheOneThatIsDescribedAfterTheRowsTable) {
  DescribedLeaves leaves;
  leaves.describe(root);
  leaves.describe(leaf);
  EXPECT_EQ(leaves.leaf_of(root), leaf);
  EXPECT_EQ(leaves.leaf_of(root), std::nullopt);
  leaves.describe(root);
  leaves.describe(other);
  EXPECT_EQ(leaves.leaf_of(root), other);
}

TEST(DescribedLeaves, ATableOfItsOwnHasNone) {
  DescribedLeaves leaves;
  leaves.describe(root);
  EXPECT_EQ(leaves.leaf_of(root), std::nullopt);
  leaves.describe(root);
  leaves.describe(other);
  EXPECT_EQ(leaves.leaf_of(other), std::nullopt);
  EXPECT_EQ(leaves.leaf_of(root), std::nullopt);
}

TEST(DescribedLeaves, WhatIsTruncatedTogetherIsNoLeaf) {
  DescribedLeaves leaves;
  leaves.describe(root);
  leaves.describe(other);
  leaves.interrupt();
  EXPECT_EQ(leaves.leaf_of(root), std::nullopt);
}

TEST(DescribedLeaves, WhatIsLeftOutIsToldWithTheNextRow) {
  DescribedLeaves leaves;
  for (Oid each : {leaf, other}) {
    leaves.describe(root);
    leaves.describe(each);
    leaves.keep_for_later(root);
  }
  EXPECT_EQ(leaves.leaf_of(other), std::nullopt);
  std::set<Oid> told;
  while (auto one = leaves.leaf_of(root)) told.insert(*one);
  EXPECT_EQ(told, (std::set{leaf, other}));
}

}  // namespace
}  // namespace tailrace::source
