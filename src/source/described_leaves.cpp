#include "source/described_leaves.h"

#include <utility>

namespace tailrace::source {

void DescribedLeaves::describe(Oid relation) {
  before_ = std::exchange(last_, relation);
}

std::optional<Oid> DescribedLeaves::described_for(Oid relation) {
  bool is_leaf = before_ == relation && last_ != relation && last_ != 0;
  Oid leaf = last_;
  interrupt();
  return is_leaf ? std::optional(leaf) : std::nullopt;
}

std::optional<Oid> DescribedLeaves::leaf_of(Oid relation) {
  if (auto leaf = described_for(relation)) return leaf;
  if (later_.empty()) [[likely]]
    return std::nullopt;
  auto kept = later_.extract(relation);
  return kept ? std::optional(kept.mapped()) : std::nullopt;
}

void DescribedLeaves::keep_for_later(Oid relation) {
  if (auto leaf = described_for(relation)) later_.emplace(relation, *leaf);
}

}  // namespace tailrace::source
